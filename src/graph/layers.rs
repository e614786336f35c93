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

/// Scale and shift of a LayerNorm, (H) each. Checkpoints that came from TensorFlow call them gamma and beta.
pub fn layer_norm_weights(builder: &mut GraphBuilder, norm: &str, hidden_size: usize) -> Result<[Value; 2]> {
    let (scale, shift) =
        if builder.has_weight(&format!("{norm}.gamma")) { ("gamma", "beta") } else { ("weight", "bias") };
    Ok([
        builder.weight(&format!("{norm}.{scale}"), &[hidden_size])?,
        builder.weight(&format!("{norm}.{shift}"), &[hidden_size])?,
    ])
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
    let [gamma, beta] = layer_norm_weights(builder, norm, hidden_size)?;
    let bias = builder.weight(bias_tensor, &[hidden_size])?;
    builder.contrib(
        name,
        "SkipLayerNormalization",
        &[x, residual, &gamma, &beta, &bias],
        &[AttributeProto::float("epsilon", epsilon)],
    )
}
