//! The modules between the pooled row and the finished one, on the host, so that every session has them: a module is one
//! file and one line of `checkpoint/head.rs`. In: rows, one after the other. Out: rows, of another width perhaps.

mod dense;
mod layer_norm;

pub use dense::{Activation, Dense, Residual};
pub use layer_norm::LayerNorm;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use super::pool::norm_of;
use crate::error::{Error, Result};

/// The modules of a checkpoint after its pooling, in order, each with the file that describes it.
#[derive(Debug, Clone, Default)]
pub struct Head {
    steps: Vec<(PathBuf, Arc<dyn HeadModule>)>,
}

impl Head {
    /// Adds a module behind the others.
    pub fn push(&mut self, described_by: PathBuf, module: Arc<dyn HeadModule>) {
        self.steps.push((described_by, module));
    }

    /// Components that come out for so many pooled ones. Refused: a module that takes another number.
    pub fn outputs(&self, pooled: usize) -> Result<usize> {
        self.steps.iter().try_fold(pooled, |width, (path, module)| match module.inputs() {
            Some(expected) if expected != width => {
                let supported = format!("{width}, the components of what comes before it");
                Err(Error::unsupported(path, "the module's input", expected.to_string(), supported))
            }
            Some(_) | None => Ok(module.outputs(width)),
        })
    }

    /// Rows of `width` components, one after the other, through every module.
    pub fn apply<'r>(&self, rows: &'r [f32], mut width: usize) -> Cow<'r, [f32]> {
        let mut rows = Cow::Borrowed(rows);
        for (_, module) in &self.steps {
            rows = Cow::Owned(module.apply(rows.into_owned(), width));
            width = module.outputs(width);
        }
        rows
    }
}

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
