//! A [`Spec`] and the places of its tensors in, an ONNX model as bytes out: inputs as [`inputs`] names them, one output
//! [`OUTPUT`] of shape (B, P, H), float32. Refused: weights that do not fit the config.

pub mod coreml;
mod cpu;
pub mod export;
pub mod onnx;
pub mod quantize;

pub use onnx::model::{Arithmetic, Model};

use crate::checkpoint::weights::Weights;
use crate::error::{Error, Result};
use crate::spec::{Architecture, Spec};

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

    // A decoder's, where S is the tokens of a row in this run, P those of the shared prefix before them, T = P + S, and
    // G the query heads of a key/value head.

    /// (S, D/2) float32: cosines of the rotation at each of the run's positions.
    pub const COS: &str = "cos";
    /// (S, D/2) float32: sines.
    pub const SIN: &str = "sin";
    /// (G·S, T) float32: 0 where a query sees a key, -inf where it does not, the same for each of G heads.
    pub const CAUSAL_BIAS: &str = "causal_bias";
    /// (2) int64: P and S.
    pub const SCORE_SIZES: &str = "score_sizes";
    /// (2) int64: 1, and how many of the first row's tokens' keys and values to put out.
    pub const CAPTURE: &str = "capture";
    /// (B, 1) int64: each row's last token. Where only that one is pooled.
    pub const LAST_INDEX: &str = "last_index";
    /// (B, 1, G, T) float32: what each row's last token sees. Where only that one is pooled.
    pub const LAST_BIAS: &str = "last_bias";

    /// (1, N/G, P, D) float32: the prefix's keys in a layer.
    pub fn past_key(layer: usize) -> String {
        format!("past_key.{layer}")
    }

    /// (1, N/G, P, D) float32: the prefix's values in a layer.
    pub fn past_value(layer: usize) -> String {
        format!("past_value.{layer}")
    }

    /// Output, (1, N/G, captured, D) float32: keys of the first row's first tokens.
    pub fn present_key(layer: usize) -> String {
        format!("present_key.{layer}")
    }

    /// Output, (1, N/G, captured, D) float32: values of the first row's first tokens.
    pub fn present_value(layer: usize) -> String {
        format!("present_value.{layer}")
    }
}

/// The graph's output: (B, P, H) float32, pooled, not normalised.
pub const OUTPUT: &str = "pooled";

/// Writes the graph.
pub fn synthesize(spec: &Spec, weights: &Weights, arithmetic: Arithmetic) -> Result<Model> {
    let mut builder = onnx::builder::GraphBuilder::new("ironvec", weights, arithmetic);
    match &spec.architecture {
        Architecture::Bert(config) => {
            let hidden_states = cpu::bert::encoder(&mut builder, config)?;
            cpu::pooling::pool(&mut builder, &hidden_states, &spec.pooling, config.hidden_size)?;
        }
        Architecture::Qwen3(config) => cpu::qwen3::decoder(&mut builder, config, &spec.pooling)?,
        Architecture::Export(file) => {
            return Err(Error::Graph { problem: format!("{} has a graph already", file.path.display()) });
        }
    }
    Ok(builder.finish())
}
