//! The flavour of a graph that ONNX Runtime's CoreML provider takes whole: only operators that it knows, fixed shapes,
//! ranks up to 4, the embedding table outside, constants folded into the weights. In: a description, its weights' places,
//! what is pooled, a [`StaticShape`]. Out: a [`Draft`], a graph whose weights are yet to be written.
//!
//! Inputs, all of the graph's own float type: `inputs_embeds`, `mask_bias` unless the model is causal, `pool_weights` and
//! `pool_bias` as the pooling needs them. Output: `pooled`, (B, P, H).

mod attention;
mod layers;
mod parts;
mod pooling;

use crate::checkpoint::pooling::PoolingMode;
use crate::checkpoint::weights::Weights;
use crate::error::Result;
use crate::lowering::onnx::folding::{FloatType, Folded};
use crate::lowering::onnx::proto::ModelProto;
use crate::transformer::Transformer;

pub use parts::HIDDEN;

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
pub fn draft(network: &Transformer, modes: &[PoolingMode], weights: &Weights, shape: StaticShape) -> Result<Draft> {
    let mut graph = parts::StaticGraph::new(weights, shape);
    let hidden_states = layers::hidden_states(&mut graph, network)?;
    pooling::pool(&mut graph, &hidden_states, modes, network.output_size())?;
    Ok(graph.finish())
}

/// The longest row whose graph can be written: a table of visibility holds all queries of a group.
pub fn longest(network: &Transformer) -> usize {
    (MOST_PER_DIMENSION / network.largest_group()).min(network.max_positions)
}
