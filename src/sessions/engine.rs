//! What runs a model's batches: a session on a graph that ironvec wrote, or on one that somebody exported. In: a padded
//! batch and the prefix before it. Out: pooled rows.

use std::path::PathBuf;
use std::sync::Arc;

use ort::session::Session;

use crate::batches::plan::{self, Limits, PaddedBatch, TokenRow};
use crate::batches::pool;
use crate::batches::prefix::{self, Prefix, Shared};
use crate::checkpoint::external_data;
use crate::checkpoint::held::HeldFiles;
use crate::checkpoint::pooling::PoolingMode;
use crate::checkpoint::weights::Weights;
use crate::ending::Turn;
use crate::error::{Error, Result};
use crate::interrupt::Heed;
use crate::lowering::cpu;
use crate::lowering::onnx::folding::FloatType;
use crate::lowering::quantize::quantize_all;
use crate::options::{Arithmetic, FixedShapes, Provider};
use crate::sessions::bucketed::{self, BucketedSession};
use crate::sessions::decoder::DecoderSession;
use crate::sessions::onnx_file::{ExportSession, Vectors};
use crate::sessions::proof::Proof;
use crate::sessions::runtime::{Initializer, Runtime};
use crate::sessions::session::{EncoderSession, session_error};
use crate::sessions::static_table::StaticTableSession;
use crate::spec::{Network, Spec};
use crate::transformer::{Matrix, Transformer};

/// A model, ready to run.
pub struct Engine {
    kind: Kind,
    /// What the session reads, which must outlive it.
    files: HeldFiles,
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
    Static(StaticTableSession),
}

impl Engine {
    /// Opens the model that a spec describes.
    pub fn open(spec: &Spec, runtime: &Runtime, arithmetic: Arithmetic, threads: usize) -> Result<Self> {
        let _turn = Turn::take();
        let mut pooling = spec.pooling.clone();
        let mut nodes = None;
        let (kind, files, hidden_size) = match &spec.network {
            Network::Checkpoint(network, weights) => {
                let of = (network.as_ref(), weights.as_ref());
                let (session, files) = open_checkpoint(of, &pooling, runtime, arithmetic, threads, &mut nodes)?;
                let kind = match network.is_causal() {
                    true => Kind::Decoder(DecoderSession::new(session, Arc::clone(network), &pooling)),
                    false => Kind::Encoder(EncoderSession::new(session, Arc::clone(network), pooling.len())),
                };
                (kind, files, network.output_size())
            }
            Network::OnnxFile(file) => {
                match arithmetic {
                    Arithmetic::Float32 => {}
                    Arithmetic::Int8 | Arithmetic::Float16 => {
                        let expected =
                            "\"float32\" for an ONNX file, which is run as it is; int8 is made from a checkpoint";
                        return Err(Error::Argument {
                            argument: "dtype",
                            found: format!("{:?}", arithmetic.name()),
                            expected: expected.to_owned(),
                        });
                    }
                }
                let mut files = HeldFiles::new(external_data::held_files(&file.path)?, runtime.copies_weights())?;
                let opened = runtime.open_file(&file.path, files.copies(), threads);
                files.settle()?;
                let session = opened.map_err(session_error(&file.path))?;
                let export = ExportSession::new(session, file)?;
                if export.pools() {
                    pooling.clear();
                } else if export.is_decoder() && !spec.pooling_is_stated {
                    pooling = vec![PoolingMode::LastToken];
                }
                let hidden_size = export.hidden_size();
                (Kind::Export(export), files, hidden_size)
            }
            Network::StaticTable(table) => {
                let session = StaticTableSession::new(table, arithmetic, runtime.provider())?;
                let mut files = HeldFiles::new(table.weights().held_files()?, false)?;
                files.settle()?;
                (Kind::Static(session), files, table.width())
            }
        };
        let dimension = hidden_size * pooling.len().max(1);
        Ok(Engine { kind, files, dimension, pooling, provider: runtime.provider(), nodes })
    }

    /// Opens a checkpoint in graphs of fixed shape, on a provider that takes them.
    pub fn open_bucketed(
        spec: &Spec,
        runtime: &Runtime,
        threads: usize,
        (provider, dtype): (FixedShapes, FloatType),
        proof: Proof,
    ) -> Result<Self> {
        let _turn = Turn::take();
        let session = BucketedSession::open(spec, runtime, threads, (provider, dtype), proof)?;
        let (pooling, dimension) = (spec.pooling.clone(), session.output_size() * spec.pooling.len());
        Ok(Engine {
            nodes: Some(session.nodes()),
            files: session.held_files()?,
            kind: Kind::Bucketed(Box::new(session)),
            pooling,
            dimension,
            provider: provider.provider(),
        })
    }

    /// Rows of a run at most: the caller's wish, and what the graph was made for.
    fn rows_per_run(&self, asked: Option<usize>) -> Option<usize> {
        match &self.kind {
            Kind::Bucketed(_) => Some(asked.map_or(bucketed::ROWS, |rows| rows.min(bucketed::ROWS))),
            Kind::Encoder(_) | Kind::Decoder(_) | Kind::Export(_) | Kind::Static(_) => asked,
        }
    }

    /// How the batches of a call may be cut: apart by length where padding would enter the vectors.
    pub fn limits(&self, batch_size: Option<usize>, threads: usize) -> Limits {
        Limits {
            token_budget: plan::TOKEN_BUDGET,
            max_rows: self.rows_per_run(batch_size),
            equal_lengths: match &self.kind {
                Kind::Export(export) => !export.hides_padding(),
                Kind::Encoder(_) | Kind::Decoder(_) | Kind::Bucketed(_) | Kind::Static(_) => false,
            },
            threads,
        }
    }

    /// What runs it.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Where and how it runs.
    pub fn report(&self) -> Report {
        // Fixed graphs are refused unless the provider takes every node, and the CPU takes whatever it is given; of
        // CUDA's graphs ONNX Runtime keeps some nodes that compute shapes for the CPU.
        let whole = match self.provider {
            Provider::Cuda => false,
            Provider::Auto | Provider::Cpu | Provider::CoreMl | Provider::CoreMlOnCpu => true,
        };
        let (buckets, cache_folder) = match &self.kind {
            Kind::Bucketed(session) => (session.buckets(), Some(session.folder().to_owned())),
            Kind::Encoder(_) | Kind::Decoder(_) | Kind::Export(_) | Kind::Static(_) => Default::default(),
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
        let decoder = match &self.kind {
            Kind::Decoder(decoder) => decoder,
            Kind::Encoder(_) | Kind::Export(_) | Kind::Bucketed(_) | Kind::Static(_) => return Ok(None),
        };
        if !decoder.shares_prefixes() {
            return Ok(None);
        }
        let Some(shared) = prefix::find(rows, prompt, decoder.bytes_per_token()) else { return Ok(None) };
        self.files.check()?;
        let tokens = shared.rows.first().and_then(|&row| rows[row].ids.get(..shared.length)).unwrap_or_default();
        let _turn = Turn::take();
        Ok(Some((decoder.prefix(tokens)?, shared)))
    }

    /// Runs a batch that follows a prefix and hands its pooled rows, one after the other, to `take`. `skipped` leading
    /// tokens stay out of the pooling. Refused, before and after: weight files that changed since they were loaded. `heed`
    /// may end a run that would not end by itself.
    pub fn run(
        &self,
        batch: &PaddedBatch,
        past: &Prefix,
        skipped: usize,
        heed: &mut Heed<'_>,
        take: impl FnOnce(&[f32]),
    ) -> Result<()> {
        let _turn = Turn::take();
        let pooling = pool::pooling_inputs(&self.pooling, batch, skipped);
        self.files.check()?;
        match &self.kind {
            Kind::Bucketed(session) => session.run(batch, skipped, take)?,
            Kind::Static(table) => table.run(batch, take),
            Kind::Encoder(encoder) => encoder.run(batch, &pooling, take)?,
            Kind::Decoder(decoder) => decoder.run(batch, past, &pooling, take)?,
            Kind::Export(export) => match export.run(batch, heed)? {
                Vectors::Rows(rows) => take(&rows),
                Vectors::Tokens(states) => take(&pool::pool_hidden_states(&states, &self.pooling, batch, &pooling)),
            },
        }
        self.files.check()
    }

    /// The pooled rows of a batch that follows no prefix.
    pub fn pooled(&self, batch: &PaddedBatch) -> Result<Vec<f32>> {
        let mut vectors = Vec::new();
        let heed = &mut || std::ops::ControlFlow::Continue(());
        self.run(batch, &Prefix::default(), 0, heed, |rows| vectors.extend_from_slice(rows))?;
        Ok(vectors)
    }
}

fn open_checkpoint(
    (network, weights): (&Transformer, &Weights),
    modes: &[PoolingMode],
    runtime: &Runtime,
    arithmetic: Arithmetic,
    threads: usize,
    nodes: &mut Option<usize>,
) -> Result<(Session, HeldFiles)> {
    let mut files = HeldFiles::new(weights.held_files()?, runtime.copies_weights())?;
    let model = cpu::lower(network, modes, weights, arithmetic)?;
    *nodes = Some(model.node_count());
    let bytes = model.bytes();
    let matrices: Vec<Matrix> = model.quantized.iter().map(|weight| weight.matrix.clone()).collect();
    let quantized = quantize_all(weights, &matrices, threads)?;
    let given = model.quantized.into_iter().zip(quantized).flat_map(|(weight, made)| {
        let (outputs, inputs) = (weight.matrix.outputs(), weight.matrix.inputs);
        [
            Initializer::new(weight.values_name, [inputs, outputs], made.values),
            Initializer::new(weight.scales_name, [outputs], made.scales),
        ]
    });
    let opened = given
        .collect::<Result<Vec<_>, _>>()
        .and_then(|given| runtime.open(&bytes, weights.data_folder(), given, files.copies(), threads));
    // First: a session on files that changed meanwhile may fail, or not, for no other reason.
    files.settle()?;
    Ok((opened.map_err(session_error(weights.path()))?, files))
}
