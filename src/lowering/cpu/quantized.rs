//! Matrix products in int8. A row of activations is divided by its largest magnitude, rounded to 8 bits, multiplied in
//! integers, and scaled back: every row has its own scale, so that no row depends on those it is batched with. Against
//! one scale for the whole batch (onnxruntime's DynamicQuantizeMatMul) that costs 7 % of MiniLM's throughput, and brings
//! its mean cosine to float32 from 0.9937 to 0.9975 (`benches/choices.py`).

use crate::error::Result;
use crate::lowering::onnx::builder::{GraphBuilder, Value};
use crate::lowering::onnx::proto::{AttributeProto, ElementType};
use crate::transformer::Matrix;

/// Activations take ±127 around this: unsigned, because int8 weights with unsigned activations have the fast kernels.
const ZERO_POINT: u8 = 128;

/// `x · Wᵀ`. (…, inputs) -> (…, outputs).
pub fn linear(builder: &mut GraphBuilder, name: &str, x: &Value, weight: &Matrix) -> Result<Value> {
    let activations = quantized_rows(builder, x)?;
    let [values, scales] = builder.quantized_weight(weight)?;
    let product = builder.contrib(
        &format!("{name}.unscaled"),
        "MatMulIntegerToFloat",
        &[&activations.values, &values, &activations.step, &scales, &activations.zero_point],
        &[],
    )?;
    builder.op(name, "Mul", &[&product, &activations.peaks], &[])
}

struct QuantizedRows {
    /// (…, inputs), uint8.
    values: Value,
    /// (…, 1): what `values` times `step` is to be multiplied with.
    peaks: Value,
    step: Value,
    zero_point: Value,
}

/// Quantizes each row of `x`, once for all products that read it.
fn quantized_rows(builder: &mut GraphBuilder, x: &Value) -> Result<QuantizedRows> {
    let step = builder.scalar("int8.step", ElementType::Float32, &(1.0_f32 / 127.0).to_le_bytes())?;
    let zero_point = builder.scalar("int8.zero_point", ElementType::Uint8, &[ZERO_POINT])?;
    let (values_name, peaks_name) = (format!("{}.int8", x.name()), format!("{}.peaks", x.name()));
    if let (Some(values), Some(peaks)) = (builder.named(&values_name), builder.named(&peaks_name)) {
        return Ok(QuantizedRows { values, peaks, step, zero_point });
    }
    let last_axis = match builder.named("int8.last_axis") {
        Some(axis) => axis,
        None => builder.integers("int8.last_axis", &[-1])?,
    };
    let magnitudes = builder.op(&format!("{}.magnitudes", x.name()), "Abs", &[x], &[])?;
    let keep = AttributeProto::int("keepdims", 1);
    let peaks = builder.op(&peaks_name, "ReduceMax", &[&magnitudes, &last_axis], &[keep])?;
    // A row of zeros is 0/0 here, any integer then, and 0 again once multiplied with its peak.
    let unit = builder.op(&format!("{}.unit", x.name()), "Div", &[x, &peaks], &[])?;
    let values = builder.op(&values_name, "QuantizeLinear", &[&unit, &step, &zero_point], &[])?;
    Ok(QuantizedRows { values, peaks, step, zero_point })
}
