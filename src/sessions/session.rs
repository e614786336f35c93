//! What every model is once it is open, whichever way it runs: batches in, pooled rows out. One file for each kind stands
//! beside this one, and `open.rs` chooses.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::batches::plan::{self, Limits, PaddedBatch, TokenRow};
use crate::batches::prefix::{Prefix, Shared};
use crate::checkpoint::held::HeldFiles;
use crate::checkpoint::pooling::PoolingMode;
use crate::ending::Turn;
use crate::error::Result;
use crate::interrupt::Heed;
use crate::kernels::processor::Choice;
use crate::options::Provider;

/// A model, ready to run. Any number of threads may call it.
pub trait Session: Send + Sync {
    /// What was known when it was opened.
    fn facts(&self) -> &Facts;

    /// Runs a batch and hands its pooled rows, one after the other, to `take`. Callers want `run`, which checks the files.
    fn compute(&self, batch: &PaddedBatch, call: &mut Call<'_>, take: &mut dyn FnMut(&[f32])) -> Result<()>;

    /// Rows of a run at most, where the graph was made for so many.
    fn rows_per_run(&self) -> Option<usize> {
        None
    }

    /// Whether padding stays out of the vectors; else rows of different lengths must not meet in a batch.
    fn hides_padding(&self) -> bool {
        true
    }

    /// The prefix that rows share and that is worth a run of its own. `prompt` is its tokens, or empty.
    fn shared_prefix(&self, _rows: &[TokenRow], _prompt: &[i32]) -> Result<Option<(Arc<Prefix>, Shared)>> {
        Ok(None)
    }

    /// Where rows are padded to fixed lengths.
    fn buckets(&self) -> Option<Buckets<'_>> {
        None
    }
}

/// What a run is given beside its batch.
pub struct Call<'c> {
    /// What every row of the batch follows.
    pub past: &'c Prefix,
    /// Leading tokens that stay out of the pooling.
    pub skipped: usize,
    /// May end a run that would not end by itself.
    pub heed: &'c mut Heed<'c>,
}

/// What is known of a session, of whatever kind.
pub struct Facts {
    /// The provider that runs it.
    pub provider: Provider,
    /// The pooled vectors that are concatenated, in order; empty where the graph pools by itself.
    pub pooling: Vec<PoolingMode>,
    /// Components of a pooled row.
    pub dimension: usize,
    /// Nodes of the graph as ironvec wrote it; unknown for others'.
    pub nodes: Option<usize>,
    /// Whose kernels compute it, and what instructions those of ours are written for.
    pub kernels: String,
    /// What the session reads, which must outlive it.
    pub files: HeldFiles,
}

/// The fixed lengths of a session.
pub struct Buckets<'s> {
    /// What rows are padded to.
    pub lengths: Vec<usize>,
    /// Those that are open.
    pub open: Vec<usize>,
    /// The folder of weights, graphs and compiled models.
    pub folder: &'s Path,
}

impl Facts {
    /// Of a network whose vectors have `hidden_size` components, pooled in these ways.
    pub fn new(provider: Provider, pooling: Vec<PoolingMode>, hidden_size: usize, files: HeldFiles) -> Self {
        let dimension = hidden_size * pooling.len().max(1);
        Facts { provider, pooling, dimension, nodes: None, kernels: Choice::ONNX_RUNTIME.to_owned(), files }
    }

    /// Whether every node is known to run on the provider.
    fn whole(&self) -> bool {
        // Fixed graphs are refused unless the provider takes every node, and the CPU takes whatever it is given; of
        // CUDA's graphs ONNX Runtime keeps some nodes that compute shapes for the CPU.
        match self.provider {
            Provider::Cuda => false,
            Provider::Auto | Provider::Cpu | Provider::CoreMl | Provider::CoreMlOnCpu => true,
        }
    }

    /// How many nodes the provider runs; unknown where ONNX Runtime may share them with the CPU.
    pub fn nodes_placed(&self) -> Option<usize> {
        self.nodes.filter(|_| self.whole())
    }

    /// The runs of nodes that the provider got in one piece each; unknown as above.
    pub fn partitions(&self) -> Option<usize> {
        self.whole().then_some(1)
    }

    /// The pooling in sentence-transformers' names, joined by `+`.
    pub fn pooling_name(&self) -> String {
        match self.pooling.as_slice() {
            [] => "sentence_embedding".to_owned(),
            modes => modes.iter().map(|mode| mode.name()).collect::<Vec<_>>().join("+"),
        }
    }
}

impl dyn Session {
    /// Runs a batch that follows a prefix and hands its pooled rows, one after the other, to `take`. Refused, before and
    /// after: weight files that changed since they were loaded.
    pub fn run(&self, batch: &PaddedBatch, mut call: Call<'_>, mut take: impl FnMut(&[f32])) -> Result<()> {
        let _turn = Turn::take();
        self.facts().files.check()?;
        self.compute(batch, &mut call, &mut take)?;
        self.facts().files.check()
    }

    /// The pooled rows of a batch that follows no prefix.
    pub fn pooled(&self, batch: &PaddedBatch) -> Result<Vec<f32>> {
        let mut vectors = Vec::new();
        let heed = &mut || ControlFlow::Continue(());
        let call = Call { past: &Prefix::default(), skipped: 0, heed };
        self.run(batch, call, |rows| vectors.extend_from_slice(rows))?;
        Ok(vectors)
    }

    /// How the batches of a call may be cut: apart by length where padding would enter the vectors, and in no more rows
    /// than the caller wants or the graph was made for.
    pub fn limits(&self, batch_size: Option<usize>, threads: usize) -> Limits {
        Limits {
            token_budget: plan::TOKEN_BUDGET,
            max_rows: batch_size.into_iter().chain(self.rows_per_run()).min(),
            equal_lengths: !self.hides_padding(),
            threads,
        }
    }
}
