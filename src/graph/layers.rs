//! Parts that architectures share.

use super::builder::{GraphBuilder, Value};
use super::model::Arithmetic;
use super::proto::AttributeProto;
use super::quantized;
use crate::error::{Error, Result};

/// `x · Wᵀ`, W as the checkpoint holds it: (outputs, inputs). (…, inputs) -> (…, outputs). The bias, if any, is left to
/// the node that follows, which adds it in the same pass.
pub fn linear(builder: &mut GraphBuilder, name: &str, x: &Value, tensor: &str, shape: [usize; 2]) -> Result<Value> {
    match builder.arithmetic() {
        Arithmetic::Int8 => quantized::linear(builder, name, x, tensor, shape),
        Arithmetic::Float32 => {
            let weight = builder.weight(tensor, &shape)?;
            builder.contrib(name, "FusedMatMul", &[x, &weight], &[AttributeProto::int("transB", 1)])
        }
        Arithmetic::Float16 => {
            Err(Error::Graph { problem: format!("`{name}`: this graph has no products in float16") })
        }
    }
}

/// Scale and shift of a LayerNorm, (H) each. Checkpoints that came from TensorFlow call them gamma and beta.
pub fn layer_norm_weights(builder: &mut GraphBuilder, norm: &str, hidden_size: usize) -> Result<[Value; 2]> {
    let (scale, shift) =
        if builder.has_weight(&format!("{norm}.gamma")) { ("gamma", "beta") } else { ("weight", "bias") };
    Ok([
        builder.weight(&format!("{norm}.{scale}"), &[hidden_size])?,
        builder.weight(&format!("{norm}.{shift}"), &[hidden_size])?,
    ])
}

/// `LayerNorm(x + bias + residual)`. Three nodes: onnxruntime's SkipLayerNormalization does the same in one, and took three
/// to four times as long for 1,024 tokens of 384 (`benches/choices.py`). A Gemm that adds the bias itself, on states of rank 2, changed nothing.
pub fn add_and_norm(
    builder: &mut GraphBuilder,
    name: &str,
    [x, residual]: [&Value; 2],
    bias_tensor: &str,
    norm: &str,
    hidden_size: usize,
    epsilon: f32,
) -> Result<Value> {
    let [gamma, beta] = layer_norm_weights(builder, norm, hidden_size)?;
    let bias = builder.weight(bias_tensor, &[hidden_size])?;
    let biased = builder.op(&format!("{name}.biased"), "Add", &[x, &bias], &[])?;
    let sum = builder.op(&format!("{name}.sum"), "Add", &[&biased, residual], &[])?;
    let attributes = [AttributeProto::int("axis", -1), AttributeProto::float("epsilon", epsilon)];
    builder.op(name, "LayerNormalization", &[&sum, &gamma, &beta], &attributes)
}
