//! A batch in, pooled rows out, through graphs of fixed shape: one session for each bucket of lengths, made when a row
//! first needs it, over one file of weights. What the CoreML provider runs; the CPU provider can stand in for it, for
//! tests. Every session proves itself on rows whose vectors are known before it serves. Refused: a row longer than the
//! longest bucket, a session whose vectors are not the known ones, a machine without a place for the files.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use half::f16;
use ort::value::PrimitiveTensorElementType;
use prost::Message;

use super::session::{Buckets, Call, Facts, Session};
use super::shared::{SharedSession, inference_error, output, session_error};
use crate::batches::plan::PaddedBatch;
use crate::batches::pool;
use crate::checkpoint::cache::{self, About, Held};
use crate::checkpoint::held::{HeldFile, HeldFiles};
use crate::checkpoint::identity::Digest;
use crate::checkpoint::weights::Weights;
use crate::checkpoint::whole_file::write_file;
use crate::error::{Error, Result};
use crate::lowering::coreml::{self, DATA_FILE, HIDDEN, StaticShape};
use crate::lowering::inputs;
use crate::lowering::onnx::files::{CACHE_KEY, cache_key, write_weights};
use crate::lowering::onnx::folding::FloatType;
use crate::lowering::onnx::proto::StringStringEntryProto;
use crate::options::FixedShapes;
use crate::sessions::arguments::{Arguments, argument};
use crate::sessions::buckets::{self, Kept};
use crate::sessions::embeddings::EmbeddingTables;
use crate::sessions::proof::Proof;
use crate::sessions::runtime::Runtime;
use crate::spec::{Network, Spec};
use crate::transformer::Transformer;

/// B. Ten rows and more gave wrong vectors on some of Apple's GPUs, and one row of a bucket fills them.
const ROWS: usize = 1;

/// A model in graphs of fixed shape.
pub struct BucketedSession {
    network: Arc<Transformer>,
    weights: Arc<Weights>,
    embeddings: EmbeddingTables,
    runtime: Runtime,
    threads: usize,
    provider: FixedShapes,
    element: FloatType,
    lengths: Vec<usize>,
    kept: Kept<SharedSession>,
    /// The weights, each bucket's graph, and what the provider compiles them to.
    files: Held,
    proof: Proof,
    facts: Facts,
}

impl BucketedSession {
    /// Writes the weights where no earlier run has, and opens the shortest bucket.
    pub fn open(
        spec: &Spec,
        runtime: &Runtime,
        threads: usize,
        (provider, element): (FixedShapes, FloatType),
        proof: Proof,
    ) -> Result<Self> {
        let (network, weights) = match &spec.network {
            Network::Checkpoint(network, weights) => (Arc::clone(network), Arc::clone(weights)),
            Network::OnnxFile(file) => {
                let problem = format!("it runs checkpoints, and {} is an ONNX file", file.path.display());
                return Err(failed(provider, problem));
            }
            Network::StaticTable(_) => {
                let problem = "the model is a static table, which has no graph to run".to_owned();
                return Err(failed(provider, problem));
            }
        };
        let identity = Digest::of_weights(&weights)?.and(format!("{network:?} {element:?}").as_bytes());
        let (lengths, most) = buckets::of(&network);
        let Some(cache) = cache::folder()? else { return Err(failed(provider, cache::NO_FOLDER)) };
        let model: PathBuf = std::path::absolute(&spec.folder).iter().flat_map(|folder| folder.components()).collect();
        let about = About { model: model.display().to_string(), dtype: element.name().to_owned() };
        let files = cache::hold(&cache, &identity.name(), &about)?;
        let shape = StaticShape { rows: ROWS, length: lengths[0], element };
        let draft = coreml::draft(&network, &spec.pooling, &weights, shape)?;
        let data = files.folder().join(DATA_FILE);
        let whole = draft.folded.last().map_or(0, |last| last.offset + last.length);
        if !fs::metadata(&data).is_ok_and(|facts| facts.len() == whole) {
            write_weights(&data, &draft.folded, &weights)?;
        }
        let mut read = weights.held_files()?;
        read.push((DATA_FILE.to_owned(), Arc::new(HeldFile::open(&data, &data)?)));
        let read = HeldFiles::new(read, false)?;
        let facts = Facts {
            nodes: draft.model.graph.map(|graph| graph.node.len()),
            ..Facts::new(provider.provider(), spec.pooling.clone(), network.output_size(), read)
        };
        let session = BucketedSession {
            embeddings: EmbeddingTables::open(&network.embeddings, &weights)?,
            network,
            weights,
            runtime: runtime.clone(),
            threads,
            provider,
            element,
            lengths,
            kept: Kept::new(most),
            files,
            proof,
            facts,
        };
        session.session(session.lengths[0])?;
        Ok(session)
    }

    /// The shortest bucket that holds a row.
    fn bucket(&self, length: usize) -> Result<usize> {
        let fitting = self.lengths.iter().find(|bucket| **bucket >= length);
        fitting.copied().ok_or_else(|| {
            let longest = self.lengths.last().copied().unwrap_or(0);
            let provider = self.provider.provider().name();
            Error::Argument {
                argument: "texts",
                found: format!("a text of {length} tokens"),
                expected: format!(
                    "at most {longest} tokens with provider={provider:?}; max_length={longest} cuts there, and \
                     provider=\"cpu\" has no such limit"
                ),
            }
        })
    }

    /// The session of a bucket, opened and proven where it is not kept.
    fn session(&self, length: usize) -> Result<Arc<SharedSession>> {
        self.kept.get(length, || self.open_bucket(length))
    }

    fn open_bucket(&self, length: usize) -> Result<SharedSession> {
        // First, so that the CPU's session is closed again before this one is opened. Half of the shortest bucket is
        // padding in every bucket; the other row fills this one, up to its last position.
        let short = self.proof.tokens().min(self.lengths[0].div_ceil(2));
        let rows = self.proof.rows(&[short, length])?;
        let shape = StaticShape { rows: ROWS, length, element: self.element };
        let mut draft = coreml::draft(&self.network, &self.facts.pooling, &self.weights, shape)?;
        // The provider knows its compiled models by this key: their names and inputs are alike in every model.
        let key = cache_key(&draft.model, &self.weights)?;
        draft.model.metadata_props.push(StringStringEntryProto::new(CACHE_KEY, key));
        // In a file and not in memory, so that every release of the provider finds the weights beside it.
        let path = self.files.folder().join(format!("{length}.onnx"));
        write_file(&path, &draft.model.encode_to_vec())?;
        let opened = self.runtime.open_static(&path, self.threads, self.provider, self.element);
        let session = SharedSession::new(opened.map_err(|error| match self.provider {
            FixedShapes::CoreMl => failed(self.provider, error.to_string().trim_end()),
            FixedShapes::CoreMlOnCpu => session_error(&path)(error),
        })?);
        let folder = self.files.folder().display();
        let place = format!("at {length} tokens (if {folder} is damaged, remove it)");
        for row in rows {
            let found = self.run_rows(&session, length, &row.batch, 0)?;
            row.check(&found, self.element, self.provider.provider(), &place)?;
        }
        Ok(session)
    }

    fn run_rows(
        &self,
        session: &SharedSession,
        length: usize,
        batch: &PaddedBatch,
        skipped: usize,
    ) -> Result<Vec<f32>> {
        let shape = [ROWS, self.facts.pooling.len(), self.network.output_size()];
        let mut pooled = Vec::with_capacity(batch.rows * self.facts.dimension);
        for row in 0..batch.rows {
            let ids = &batch.input_ids[row * batch.length..][..batch.lengths[row]];
            let inputs = self.inputs(ids, length, skipped);
            match self.element {
                FloatType::Float16 => {
                    let halves = |values: Vec<f32>| values.into_iter().map(f16::from_f32).collect::<Vec<_>>();
                    let inputs: Vec<Input<f16>> =
                        inputs.into_iter().map(|(name, shape, values)| (name, shape, halves(values))).collect();
                    let take = |values: &[f16]| pooled.extend(values.iter().map(|value| value.to_f32()));
                    run_one(session, &inputs, &shape, batch, take)?;
                }
                FloatType::Float32 => {
                    run_one(session, &inputs, &shape, batch, |values: &[f32]| pooled.extend_from_slice(values))?;
                }
            }
        }
        Ok(pooled)
    }

    /// One row as the graph takes it, padded to the bucket.
    fn inputs(&self, ids: &[i32], length: usize, skipped: usize) -> Vec<Input<f32>> {
        let row = PaddedBatch { length, ..PaddedBatch::single(ids) };
        let pooling = pool::pooling_inputs(&self.facts.pooling, &row, skipped);
        let mut embedded = vec![0.0; length * self.network.hidden_size];
        self.embeddings.embed(ids, &mut embedded);
        let mut given = vec![(inputs::INPUTS_EMBEDS, vec![ROWS, length, self.network.hidden_size], embedded)];
        // Causality hides the padding by itself.
        if !self.network.is_causal() {
            let bias = (0..length).map(|at| if at < ids.len() { 0.0 } else { HIDDEN }).collect();
            given.push((inputs::MASK_BIAS, vec![ROWS, 1, 1, length], bias));
        }
        if !pooling.weights.is_empty() {
            let shape = vec![ROWS, pooling.weights.len() / length, length];
            given.push((inputs::POOL_WEIGHTS, shape, pooling.weights));
        }
        if let Some(bias) = pooling.bias {
            let finite = bias.into_iter().map(|value| value.max(HIDDEN)).collect();
            given.push((inputs::POOL_BIAS, vec![ROWS, length, 1], finite));
        }
        given
    }
}

impl Session for BucketedSession {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn compute(&self, batch: &PaddedBatch, call: &mut Call<'_>, take: &mut dyn FnMut(&[f32])) -> Result<()> {
        let length = self.bucket(batch.length)?;
        let session = self.session(length)?;
        take(&self.run_rows(&session, length, batch, call.skipped)?);
        Ok(())
    }

    fn rows_per_run(&self) -> Option<usize> {
        Some(ROWS)
    }

    fn buckets(&self) -> Option<Buckets<'_>> {
        Some(Buckets { lengths: self.lengths.clone(), open: self.kept.lengths(), folder: self.files.folder() })
    }
}

fn failed(provider: FixedShapes, problem: impl Into<String>) -> Error {
    Error::ProviderFailed { asked: provider.provider().name().to_owned(), problem: problem.into() }
}

/// An input's name, shape and numbers.
type Input<T> = (&'static str, Vec<usize>, Vec<T>);

fn run_one<T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
    session: &SharedSession,
    inputs: &[Input<T>],
    output_shape: &[usize],
    batch: &PaddedBatch,
    take: impl FnOnce(&[T]),
) -> Result<()> {
    let failed = inference_error(batch);
    let mut arguments = Arguments::new();
    for (name, shape, values) in inputs {
        argument(&mut arguments, *name, shape, values).map_err(failed)?;
    }
    let mut session = session.lock();
    let outputs = session.run(arguments).map_err(failed)?;
    take(output(&outputs, inputs::OUTPUT, output_shape, batch)?);
    Ok(())
}
