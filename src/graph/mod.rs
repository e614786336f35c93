//! A [`Spec`] and the places of its tensors in, an ONNX model as bytes out: inputs as [`inputs`] names them, one output
//! [`OUTPUT`] of shape (B, P, H), float32. Refused: weights that do not fit the config.

mod bert;
pub mod builder;
mod layers;
mod pooling;
pub mod proto;

use crate::error::Result;
use crate::model::{Architecture, Spec};
use crate::weights::Weights;

/// The graph's inputs, by name.
pub mod inputs {
    /// (B, L) int32: token ids, padded on the right with 0.
    pub const INPUT_IDS: &str = "input_ids";
    /// (B, L) int32: 1 for a token, 0 for padding.
    pub const ATTENTION_MASK: &str = "attention_mask";
    /// (B, P', L) float32: what each token weighs in each pooled vector but the maximum. Absent where P' is 0.
    pub const POOL_WEIGHTS: &str = "pool_weights";
    /// (B, L, 1) float32: 0 for a token that the maximum sees, -inf else. Absent without `max` pooling.
    pub const POOL_BIAS: &str = "pool_bias";
}

/// The graph's output: (B, P, H) float32, pooled, not normalised.
pub const OUTPUT: &str = "pooled";

/// Writes the graph.
pub fn synthesize(spec: &Spec, weights: &Weights) -> Result<Vec<u8>> {
    let mut builder = builder::GraphBuilder::new("ironvec", weights);
    let hidden_states = match &spec.architecture {
        Architecture::Bert(config) => bert::encoder(&mut builder, config)?,
    };
    pooling::pool(&mut builder, &hidden_states, &spec.pooling, spec.architecture.hidden_size())?;
    Ok(builder.finish())
}
