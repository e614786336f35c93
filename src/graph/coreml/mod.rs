//! The flavour of a graph that ONNX Runtime's CoreML provider takes whole: only operators that it knows, fixed shapes,
//! ranks up to 4, the embedding table outside, constants folded into the weights. In: a [`Spec`], its weights and a
//! [`StaticShape`]. Out: a [`Draft`], a graph whose weights are yet to be written. Refused: somebody else's export.
//!
//! Inputs, all of the graph's own float type: [`INPUTS_EMBEDS`], [`MASK_BIAS`] for encoders, [`POOL_W`] and
//! [`POOL_BIAS`] as the pooling needs them. Output: [`OUTPUT`], (B, P, H).

mod bert;
mod parts;
mod pooling;
mod qwen3;

use super::folding::{FloatType, Folded};
use super::proto::ModelProto;
use crate::error::{Error, Result};
use crate::model::{Architecture, Spec};
use crate::weights::Weights;

pub use super::OUTPUT;
pub use parts::HIDDEN;

/// (B, L, H): the embedded tokens, zeros in the padding; for BERT word + position + type, before their LayerNorm.
pub const INPUTS_EMBEDS: &str = "inputs_embeds";
/// (B, 1, 1, L): 0 for a token, [`HIDDEN`] for padding. Encoders only: causality hides a decoder's padding.
pub const MASK_BIAS: &str = "mask_bias";
/// (B, P', L): what each token weighs in each pooled vector but the maximum. Absent where P' is 0.
pub const POOL_W: &str = "pool_w";
/// (B, L, 1): 0 for a token that the maximum sees, [`HIDDEN`] else. Absent without `max` pooling.
pub const POOL_BIAS: &str = "pool_bias";
/// Where a draft's weights lie until a writer says otherwise.
pub const DATA_FILE: &str = "weights.bin";
/// No dimension of an initializer is larger: wider tensors stay on the CPU in practice.
pub const MOST_PER_DIMENSION: usize = 16_384;

/// The numbers that are fixed when the graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StaticShape {
    /// B.
    pub rows: usize,
    /// L.
    pub length: usize,
    /// The type of every number.
    pub element: FloatType,
}

/// A graph and the weights that are to be written beside it.
pub struct Draft {
    /// The graph; its folded initializers point into [`DATA_FILE`].
    pub model: ModelProto,
    /// The folded initializers, in the order of their offsets. The same for every length.
    pub folded: Vec<Folded>,
}

/// Writes the graph.
pub fn draft(spec: &Spec, weights: &Weights, shape: StaticShape) -> Result<Draft> {
    let mut graph = parts::StaticGraph::new(weights, shape);
    let (hidden_states, hidden_size) = match &spec.architecture {
        Architecture::Bert(config) => (bert::encoder(&mut graph, config)?, config.hidden_size),
        Architecture::Qwen3(config) => (qwen3::decoder(&mut graph, config)?, config.hidden_size),
        Architecture::Export(file) => {
            return Err(Error::Graph { problem: format!("{} has a graph already", file.path.display()) });
        }
    };
    pooling::pool(&mut graph, &hidden_states, &spec.pooling, hidden_size)?;
    Ok(graph.finish())
}

/// The longest row whose graph can be written: a decoder's causal table holds all queries of a group.
pub fn longest(architecture: &Architecture) -> usize {
    let group = match architecture {
        Architecture::Qwen3(config) => config.num_attention_heads / config.num_key_value_heads,
        Architecture::Bert(_) | Architecture::Export(_) => 1,
    };
    (MOST_PER_DIMENSION / group).min(architecture.max_positions())
}
