//! Parts that architectures share.

use super::builder::{GraphBuilder, Value};
use super::proto::AttributeProto;
use crate::error::Result;

/// `x · Wᵀ`, W as the checkpoint holds it: (outputs, inputs). (…, inputs) -> (…, outputs). The bias, if any, is left to
/// the node that follows, which adds it in the same pass.
pub fn linear(builder: &mut GraphBuilder, name: &str, x: &Value, tensor: &str, shape: [usize; 2]) -> Result<Value> {
    let weight = builder.weight(tensor, &shape)?;
    builder.contrib(name, "FusedMatMul", &[x, &weight], &[AttributeProto::int("transB", 1)])
}

/// `LayerNorm(x + bias + residual)` in one node.
pub fn add_and_norm(
    builder: &mut GraphBuilder,
    name: &str,
    [x, residual]: [&Value; 2],
    bias_tensor: &str,
    norm: &str,
    hidden_size: usize,
    epsilon: f32,
) -> Result<Value> {
    let gamma = builder.weight(&format!("{norm}.weight"), &[hidden_size])?;
    let beta = builder.weight(&format!("{norm}.bias"), &[hidden_size])?;
    let bias = builder.weight(bias_tensor, &[hidden_size])?;
    builder.contrib(
        name,
        "SkipLayerNormalization",
        &[x, residual, &gamma, &beta, &bias],
        &[AttributeProto::float("epsilon", epsilon)],
    )
}
