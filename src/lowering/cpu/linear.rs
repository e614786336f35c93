//! Products with a checkpoint's matrices.

use super::norms::biased;
use crate::error::Result;
use crate::lowering::onnx::builder::{GraphBuilder, Operators, Value};
use crate::lowering::onnx::proto::AttributeProto;
use crate::options::Arithmetic;
use crate::transformer::{Linear, Matrix, Vector};

/// `x · Wᵀ`, W as the checkpoint holds it: (outputs, inputs). (…, inputs) -> (…, outputs). A bias is left to the node that
/// follows, which adds it in the same pass.
pub fn linear(builder: &mut GraphBuilder, name: &str, x: &Value, weight: &Matrix) -> Result<Value> {
    match (builder.arithmetic(), builder.operators()) {
        (Arithmetic::Int8, Operators::Usual | Operators::OwnAttention | Operators::Own) => {
            quantized_linear(builder, name, &[x], weight)
        }
        (Arithmetic::Bfloat16, Operators::Usual | Operators::OwnAttention | Operators::Own) => {
            rounded(builder, name, x, weight, None)
        }
        (Arithmetic::Float32 | Arithmetic::Float16, Operators::Usual | Operators::OwnAttention) => {
            let weight = builder.matrix(weight)?;
            builder.contrib(name, "FusedMatMul", &[x, &weight], &[AttributeProto::int("transB", 1)])
        }
        (Arithmetic::Float32 | Arithmetic::Float16, Operators::Own) => {
            let weight = builder.table(weight)?;
            builder.own(name, "Linear", &[x, &weight], &[])
        }
    }
}

/// `x · Wᵀ + bias`, where there is one: in one operator where it is ours.
pub fn biased_linear(builder: &mut GraphBuilder, name: &str, x: &Value, how: &Linear) -> Result<Value> {
    match (builder.arithmetic(), builder.operators(), &how.bias) {
        (Arithmetic::Float32 | Arithmetic::Float16, Operators::Own, Some(bias)) => {
            let (weight, bias) = (builder.table(&how.weight)?, builder.vector(bias)?);
            builder.own(name, "Linear", &[x, &weight, &bias], &[])
        }
        (Arithmetic::Bfloat16, Operators::Usual | Operators::OwnAttention | Operators::Own, bias) => {
            rounded(builder, name, x, &how.weight, bias.as_ref())
        }
        (Arithmetic::Int8, Operators::Usual | Operators::OwnAttention | Operators::Own, Some(bias)) => {
            let bias = builder.vector(bias)?;
            quantized_linear(builder, name, &[x, &bias], &how.weight)
        }
        (Arithmetic::Float32 | Arithmetic::Float16, Operators::Own, None)
        | (Arithmetic::Float32 | Arithmetic::Float16, Operators::Usual | Operators::OwnAttention, Some(_) | None)
        | (Arithmetic::Int8, Operators::Usual | Operators::OwnAttention | Operators::Own, None) => {
            let product = linear(builder, name, x, &how.weight)?;
            biased(builder, product, how.bias.as_ref())
        }
    }
}

/// The product of both in bfloat16: an operator that is ours alone.
fn rounded(builder: &mut GraphBuilder, name: &str, x: &Value, weight: &Matrix, bias: Option<&Vector>) -> Result<Value> {
    let mut inputs = vec![x.clone(), builder.rounded_weight(weight)?];
    if let Some(bias) = bias {
        inputs.push(builder.vector(bias)?);
    }
    builder.own(name, "Linear", &inputs.iter().collect::<Vec<_>>(), &[AttributeProto::int("rounded", 1)])
}

/// The same in int8, by the operator that holds the matrix.
fn quantized_linear(builder: &mut GraphBuilder, name: &str, inputs: &[&Value], weight: &Matrix) -> Result<Value> {
    let matrix = AttributeProto::int("matrix", builder.quantized_matrix(weight)?);
    builder.own(name, "QuantizedLinear", inputs, &[matrix])
}
