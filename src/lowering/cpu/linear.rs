//! Products with a checkpoint's matrices.

use super::quantized;
use crate::error::Result;
use crate::lowering::onnx::builder::{GraphBuilder, Operators, Value};
use crate::lowering::onnx::proto::AttributeProto;
use crate::options::Arithmetic;
use crate::transformer::Matrix;

/// `x · Wᵀ`, W as the checkpoint holds it: (outputs, inputs). (…, inputs) -> (…, outputs). A bias is left to the node that
/// follows, which adds it in the same pass.
pub fn linear(builder: &mut GraphBuilder, name: &str, x: &Value, weight: &Matrix) -> Result<Value> {
    match builder.arithmetic() {
        Arithmetic::Int8 => quantized::linear(builder, name, x, weight),
        Arithmetic::Float32 | Arithmetic::Float16 => {
            // Where they lie, 16-bit weights are half of what ONNX Runtime would make of them.
            if builder.operators() == Operators::Own && builder.is_narrow(weight)? {
                let weight = builder.table(weight)?;
                return builder.own(name, "Linear", &[x, &weight], &[]);
            }
            let weight = builder.matrix(weight)?;
            builder.contrib(name, "FusedMatMul", &[x, &weight], &[AttributeProto::int("transB", 1)])
        }
    }
}
