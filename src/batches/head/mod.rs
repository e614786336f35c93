//! The modules between the pooled row and the finished one, on the host, so that every session has them: a module is one
//! file and one line of `checkpoint/head.rs`. In: rows, one after the other. Out: rows, of another width perhaps.

mod dense;
mod layer_norm;

pub use dense::{Activation, Dense, Residual};
pub use layer_norm::LayerNorm;

use super::pool::norm_of;

/// One step of the head.
pub trait HeadModule: Send + Sync + std::fmt::Debug {
    /// Components of a row that it takes.
    fn inputs(&self) -> Option<usize>;

    /// Components of a row that it gives for one of `inputs`.
    fn outputs(&self, inputs: usize) -> usize;

    /// Rows of `inputs` components in, rows out.
    fn apply(&self, rows: Vec<f32>, inputs: usize) -> Vec<f32>;
}

/// Rows scaled to length 1, where something follows; the last one is the caller's choice.
#[derive(Debug)]
pub struct Normalize;

impl HeadModule for Normalize {
    fn inputs(&self) -> Option<usize> {
        None
    }

    fn outputs(&self, inputs: usize) -> usize {
        inputs
    }

    fn apply(&self, mut rows: Vec<f32>, inputs: usize) -> Vec<f32> {
        for row in rows.chunks_exact_mut(inputs.max(1)) {
            let norm = norm_of(row);
            row.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
        }
        rows
    }
}
