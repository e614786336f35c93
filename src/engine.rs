//! What runs a model's batches: a session on a graph that ironvec wrote, or on one that somebody exported. In: a padded
//! batch and the prefix before it. Out: pooled rows.

use std::path::PathBuf;
use std::sync::Arc;

use ort::session::Session;

use crate::batch::PaddedBatch;
use crate::bucketed::{self, BucketedSession};
use crate::decoder::DecoderSession;
use crate::ending::Turn;
use crate::error::{Error, Result};
use crate::export::{ExportSession, Vectors};
use crate::graph::proto::ElementType;
use crate::graph::{self, Arithmetic};
use crate::model::pooling::PoolingMode;
use crate::model::{Architecture, Spec};
use crate::pool;
use crate::prefix::{self, Prefix, Shared};
use crate::provider::{Proof, Provider};
use crate::quantize::{Matrix, quantize_all};
use crate::runtime::{Initializer, Runtime};
use crate::session::{EncoderSession, session_error};
use crate::tokenize::TokenRow;
use crate::weights::Weights;

/// A model, ready to run.
pub struct Engine {
    kind: Kind,
    /// The pooled vectors that are concatenated, in order; empty where the graph pools by itself.
    pooling: Vec<PoolingMode>,
    dimension: usize,
    provider: Provider,
    /// Of the graph that ironvec wrote; unknown for others'.
    nodes: Option<usize>,
}

/// Where and how a model runs.
#[derive(Debug)]
pub struct Report {
    /// The provider that runs it.
    pub provider: Provider,
    /// Nodes of the graph as ironvec wrote it; unknown for others'.
    pub nodes: Option<usize>,
    /// How many of them the provider runs; unknown where ONNX Runtime may share them with the CPU.
    pub nodes_placed: Option<usize>,
    /// The runs of nodes that the provider got in one piece each; unknown as above.
    pub partitions: Option<usize>,
    /// Lengths that rows are padded to, and those that are open; empty where any length runs.
    pub buckets: (Vec<usize>, Vec<usize>),
    /// The folder of weights, graphs and compiled models.
    pub cache_folder: Option<PathBuf>,
}

enum Kind {
    Encoder(EncoderSession),
    Decoder(DecoderSession),
    Export(ExportSession),
    Bucketed(Box<BucketedSession>),
}

impl Engine {
    /// Opens the model that a spec describes.
    pub fn open(spec: &Spec, runtime: &Runtime, arithmetic: Arithmetic, threads: usize) -> Result<Self> {
        let _turn = Turn::take();
        let mut pooling = spec.pooling.clone();
        let mut nodes = None;
        let (kind, hidden_size) = match &spec.architecture {
            Architecture::Bert(config) => {
                let session = open_checkpoint(spec, runtime, arithmetic, threads, &mut nodes)?;
                (Kind::Encoder(EncoderSession::new(session)), config.hidden_size)
            }
            Architecture::Qwen3(config) => {
                let session = open_checkpoint(spec, runtime, arithmetic, threads, &mut nodes)?;
                (Kind::Decoder(DecoderSession::new(session, config, &pooling)), config.hidden_size)
            }
            Architecture::Export(file) => {
                if arithmetic != Arithmetic::Float32 {
                    let expected =
                        "\"float32\" for an ONNX file, which is run as it is; int8 is made from a checkpoint";
                    return Err(Error::Argument {
                        argument: "dtype",
                        found: "\"int8\"".to_owned(),
                        expected: expected.to_owned(),
                    });
                }
                let session = runtime.open_file(&file.path, threads).map_err(session_error(&file.path))?;
                let export = ExportSession::new(session, &file.path, file.hidden_size)?;
                if export.pools() {
                    pooling.clear();
                } else if export.is_decoder() && !spec.pooling_is_stated {
                    pooling = vec![PoolingMode::LastToken];
                }
                let hidden_size = export.hidden_size();
                (Kind::Export(export), hidden_size)
            }
        };
        let dimension = hidden_size * pooling.len().max(1);
        Ok(Engine { kind, dimension, pooling, provider: runtime.provider(), nodes })
    }

    /// Opens a checkpoint in graphs of fixed shape, on a provider that takes them.
    pub fn open_bucketed(
        spec: &Spec,
        runtime: &Runtime,
        threads: usize,
        (provider, dtype): (Provider, ElementType),
        proof: Proof,
    ) -> Result<Self> {
        let _turn = Turn::take();
        let session = BucketedSession::open(spec, runtime, threads, (provider, dtype), proof)?;
        let (pooling, dimension) = (spec.pooling.clone(), session.hidden_size() * spec.pooling.len());
        Ok(Engine {
            nodes: Some(session.nodes()),
            kind: Kind::Bucketed(Box::new(session)),
            pooling,
            dimension,
            provider,
        })
    }

    /// Rows of a run at most: the caller's wish, and what the graph was made for.
    pub fn rows_per_run(&self, asked: Option<usize>) -> Option<usize> {
        match &self.kind {
            Kind::Bucketed(_) => Some(asked.map_or(bucketed::ROWS, |rows| rows.min(bucketed::ROWS))),
            _ => asked,
        }
    }

    /// Where and how it runs.
    pub fn report(&self) -> Report {
        // Fixed graphs are refused unless the provider takes every node, and the CPU takes whatever it is given; of
        // CUDA's graphs ONNX Runtime keeps some nodes that compute shapes for the CPU.
        let whole = self.provider != Provider::Cuda;
        let (buckets, cache_folder) = match &self.kind {
            Kind::Bucketed(session) => (session.buckets(), Some(session.folder().to_owned())),
            _ => Default::default(),
        };
        Report {
            provider: self.provider,
            nodes: self.nodes,
            nodes_placed: self.nodes.filter(|_| whole),
            partitions: whole.then_some(1),
            buckets,
            cache_folder,
        }
    }

    /// The provider that runs it.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Components of a pooled row.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The pooling in sentence-transformers' names, joined by `+`.
    pub fn pooling_name(&self) -> String {
        match self.pooling.as_slice() {
            [] => "sentence_embedding".to_owned(),
            modes => modes.iter().map(|mode| mode.name()).collect::<Vec<_>>().join("+"),
        }
    }

    /// The prefix that rows share and that is worth a run of its own. `prompt` is its tokens, or empty.
    pub fn shared_prefix(&self, rows: &[TokenRow], prompt: &[i32]) -> Result<Option<(Arc<Prefix>, Shared)>> {
        let Kind::Decoder(decoder) = &self.kind else { return Ok(None) };
        if !decoder.shares_prefixes() {
            return Ok(None);
        }
        let Some(shared) = prefix::find(rows, prompt, decoder.bytes_per_token()) else { return Ok(None) };
        let tokens = shared.rows.first().and_then(|&row| rows[row].ids.get(..shared.length)).unwrap_or_default();
        let _turn = Turn::take();
        Ok(Some((decoder.prefix(tokens)?, shared)))
    }

    /// Runs a batch that follows a prefix and hands its pooled rows, one after the other, to `take`. `skipped` leading
    /// tokens stay out of the pooling.
    pub fn run(&self, batch: &PaddedBatch, past: &Prefix, skipped: usize, take: impl FnOnce(&[f32])) -> Result<()> {
        let _turn = Turn::take();
        let pooling = pool::pooling_inputs(&self.pooling, batch, skipped);
        match &self.kind {
            Kind::Bucketed(session) => session.run(batch, skipped, take),
            Kind::Encoder(encoder) => encoder.run(batch, &pooling, take),
            Kind::Decoder(decoder) => decoder.run(batch, past, &pooling, take),
            Kind::Export(export) => {
                match export.run(batch)? {
                    Vectors::Rows(rows) => take(&rows),
                    Vectors::Tokens(states) => take(&pool::pool_hidden_states(&states, &self.pooling, batch, &pooling)),
                }
                Ok(())
            }
        }
    }
}

fn open_checkpoint(
    spec: &Spec,
    runtime: &Runtime,
    arithmetic: Arithmetic,
    threads: usize,
    nodes: &mut Option<usize>,
) -> Result<Session> {
    let weights = Weights::open(&spec.folder)?;
    let model = graph::synthesize(spec, &weights, arithmetic)?;
    *nodes = Some(model.node_count());
    let bytes = model.bytes();
    let matrices: Vec<Matrix> = model.quantized.iter().map(|weight| weight.matrix.clone()).collect();
    let quantized = quantize_all(&weights, &matrices, threads)?;
    let given = model.quantized.into_iter().zip(quantized).flat_map(|(weight, made)| {
        let Matrix { outputs, inputs, .. } = weight.matrix;
        [
            Initializer::new(weight.values_name, [inputs, outputs], made.values),
            Initializer::new(weight.scales_name, [outputs], made.scales),
        ]
    });
    given
        .collect::<Result<Vec<_>, _>>()
        .and_then(|given| runtime.open(&bytes, weights.data_folder(), given, threads))
        .map_err(session_error(weights.path()))
}
