//! A batch in, pooled rows out, through graphs of fixed shape: one session for each bucket of lengths, made when a row
//! first needs it, over one file of weights. What the CoreML provider runs; the CPU provider can stand in for it, for
//! tests. Every session proves itself on a row whose vector is known before it serves. Refused: a row longer than the
//! longest bucket, a session whose vectors are not the known ones.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use ort::value::PrimitiveTensorElementType;
use prost::Message;

use crate::batch::PaddedBatch;
use crate::buckets::{self, Kept};
use crate::cache;
use crate::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::graph::coreml::{self, DATA_FILE, HIDDEN, StaticShape};
use crate::graph::proto::{ElementType, StringStringEntryProto};
use crate::held::{HeldFile, HeldFiles};
use crate::identity::Digest;
use crate::model::{Architecture, Spec};
use crate::onnx_file::{CACHE_KEY, cache_key, write_file, write_weights};
use crate::pool;
use crate::provider::{Proof, Provider};
use crate::runtime::Runtime;
use crate::session::{Arguments, SharedSession, argument, inference_error, session_error};
use crate::weights::Weights;

/// B. Ten rows and more gave wrong vectors on some of Apple's GPUs, and one row of a bucket fills them.
pub const ROWS: usize = 1;

/// A model in graphs of fixed shape.
pub struct BucketedSession {
    spec: Spec,
    weights: Weights,
    embeddings: Embeddings,
    hidden_size: usize,
    runtime: Runtime,
    threads: usize,
    provider: Provider,
    element: ElementType,
    lengths: Vec<usize>,
    kept: Mutex<Kept<SharedSession>>,
    /// Holds the weights, each bucket's graph, and what the provider compiles them to.
    folder: PathBuf,
    nodes: usize,
    proof: Proof,
}

impl BucketedSession {
    /// Writes the weights where no earlier run has, and opens the shortest bucket that holds the proof's row.
    pub fn open(
        spec: &Spec,
        runtime: &Runtime,
        threads: usize,
        (provider, element): (Provider, ElementType),
        proof: Proof,
    ) -> Result<Self> {
        let hidden_size = match &spec.architecture {
            Architecture::Bert(config) => config.hidden_size,
            Architecture::Qwen3(config) => config.hidden_size,
            Architecture::Export(file) => {
                let problem = format!("it runs checkpoints, and {} is an ONNX file", file.path.display());
                return Err(Error::ProviderFailed { asked: provider.name().to_owned(), problem });
            }
        };
        let weights = Weights::open(&spec.folder)?;
        let identity = Digest::of_weights(&weights)?.and(format!("{:?} {element:?}", spec.architecture).as_bytes());
        let (lengths, most) = buckets::of(&spec.architecture);
        let mut session = BucketedSession {
            embeddings: Embeddings::open(spec, &weights)?,
            spec: spec.clone(),
            weights,
            hidden_size,
            runtime: runtime.clone(),
            threads,
            provider,
            element,
            lengths,
            kept: Mutex::new(Kept::new(most)),
            folder: cache::folder().join("coreml").join(identity.name()),
            nodes: 0,
            proof,
        };
        session.nodes = session.write_weights()?;
        session.session(session.bucket(session.proof.batch.length)?)?;
        Ok(session)
    }

    /// Writes the file of weights, unless a whole one is there; counts the graph's nodes.
    fn write_weights(&self) -> Result<usize> {
        let unwritable =
            |source: std::io::Error| Error::Unwritable { path: self.folder.clone(), source: source.into() };
        fs::create_dir_all(&self.folder).map_err(unwritable)?;
        let draft = coreml::draft(&self.spec, &self.weights, self.shape(self.lengths[0]))?;
        let path = self.folder.join(DATA_FILE);
        let whole = draft.folded.last().map_or(0, |last| last.offset + last.length);
        if !fs::metadata(&path).is_ok_and(|facts| facts.len() == whole) {
            write_weights(&path, &draft.folded, &self.weights)?;
        }
        Ok(draft.model.graph.map_or(0, |graph| graph.node.len()))
    }

    fn shape(&self, length: usize) -> StaticShape {
        StaticShape { rows: ROWS, length, element: self.element }
    }

    /// The shortest bucket that holds a row.
    fn bucket(&self, length: usize) -> Result<usize> {
        let fitting = self.lengths.iter().find(|bucket| **bucket >= length);
        fitting.copied().ok_or_else(|| {
            let longest = self.lengths.last().copied().unwrap_or(0);
            let provider = self.provider.name();
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
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(length, || {
            let mut draft = coreml::draft(&self.spec, &self.weights, self.shape(length))?;
            // The provider knows its compiled models by this key: their names and inputs are alike in every model.
            let key = cache_key(&draft.model, &self.weights)?;
            draft.model.metadata_props.push(StringStringEntryProto::new(CACHE_KEY, key));
            // In a file and not in memory, so that every release of the provider finds the weights beside it.
            let path = self.folder.join(format!("{length}.onnx"));
            write_file(&path, &draft.model.encode_to_vec())?;
            let opened = self.runtime.open_static(&path, self.threads, self.provider, self.element);
            let session = SharedSession::new(opened.map_err(|error| match self.provider {
                Provider::CoreMl => Error::ProviderFailed {
                    asked: self.provider.name().to_owned(),
                    problem: error.to_string().trim_end().to_owned(),
                },
                _ => session_error(&path)(error),
            })?);
            if self.proof.batch.length <= length {
                let found = self.run_rows(&session, length, &self.proof.batch, 0)?;
                let remedy = format!("at {length} tokens (if {} is damaged, remove it)", self.folder.display());
                self.proof.check(&found, self.provider, &remedy)?;
            }
            Ok(session)
        })
    }

    /// Runs a batch and hands its pooled rows, (B, P·H) one after the other, to `take`.
    pub fn run(&self, batch: &PaddedBatch, skipped: usize, take: impl FnOnce(&[f32])) -> Result<()> {
        let length = self.bucket(batch.length)?;
        let session = self.session(length)?;
        take(&self.run_rows(&session, length, batch, skipped)?);
        Ok(())
    }

    fn run_rows(
        &self,
        session: &SharedSession,
        length: usize,
        batch: &PaddedBatch,
        skipped: usize,
    ) -> Result<Vec<f32>> {
        let mut pooled = Vec::with_capacity(batch.rows * self.spec.pooling.len() * self.hidden_size);
        for row in 0..batch.rows {
            let ids = &batch.input_ids[row * batch.length..][..batch.lengths[row]];
            let inputs = self.inputs(ids, length, skipped);
            let failed = inference_error(batch);
            match self.element {
                ElementType::Float16 => {
                    let halves = |values: Vec<f32>| values.into_iter().map(f16::from_f32).collect::<Vec<_>>();
                    let inputs: Vec<Input<f16>> =
                        inputs.into_iter().map(|(name, shape, values)| (name, shape, halves(values))).collect();
                    run_one(session, &inputs, |values: &[f16]| pooled.extend(values.iter().map(|value| value.to_f32())))
                }
                _ => run_one(session, &inputs, |values: &[f32]| pooled.extend_from_slice(values)),
            }
            .map_err(failed)?;
        }
        Ok(pooled)
    }

    /// One row as the graph takes it, padded to the bucket.
    fn inputs(&self, ids: &[i32], length: usize, skipped: usize) -> Vec<Input<f32>> {
        let row = PaddedBatch { length, ..PaddedBatch::single(ids) };
        let pooling = pool::pooling_inputs(&self.spec.pooling, &row, skipped);
        let mut embedded = vec![0.0; length * self.hidden_size];
        self.embeddings.embed(ids, &mut embedded);
        let mut inputs = vec![(coreml::INPUTS_EMBEDS, vec![ROWS, length, self.hidden_size], embedded)];
        if matches!(self.spec.architecture, Architecture::Bert(_)) {
            let bias = (0..length).map(|at| if at < ids.len() { 0.0 } else { HIDDEN }).collect();
            inputs.push((coreml::MASK_BIAS, vec![ROWS, 1, 1, length], bias));
        }
        if !pooling.weights.is_empty() {
            let shape = vec![ROWS, pooling.weights.len() / length, length];
            inputs.push((coreml::POOL_W, shape, pooling.weights));
        }
        if let Some(bias) = pooling.bias {
            let finite = bias.into_iter().map(|value| value.max(HIDDEN)).collect();
            inputs.push((coreml::POOL_BIAS, vec![ROWS, length, 1], finite));
        }
        inputs
    }

    /// The files that its sessions, and the lookup of embeddings, read.
    pub fn held_files(&self) -> Result<HeldFiles> {
        let path = self.folder.join(DATA_FILE);
        let mut files = self.weights.held_files()?;
        files.push((DATA_FILE.to_owned(), Arc::new(HeldFile::open(&path, &path)?)));
        HeldFiles::new(files, false)
    }

    /// H.
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    /// Nodes of each bucket's graph, all of them the provider's.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The lengths that rows are padded to, and those whose sessions are open.
    pub fn buckets(&self) -> (Vec<usize>, Vec<usize>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (self.lengths.clone(), kept.lengths())
    }

    /// The folder of weights, graphs and compiled models.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }
}

/// An input's name, shape and numbers.
type Input<T> = (&'static str, Vec<usize>, Vec<T>);

fn run_one<T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
    session: &SharedSession,
    inputs: &[Input<T>],
    take: impl FnOnce(&[T]),
) -> Result<(), ort::Error> {
    let mut arguments = Arguments::new();
    for (name, shape, values) in inputs {
        argument(&mut arguments, *name, shape, values)?;
    }
    let mut session = session.lock();
    let outputs = session.run(arguments)?;
    let output = outputs.get(coreml::OUTPUT).ok_or_else(|| ort::Error::new("no output of pooled rows"))?;
    take(output.try_extract_tensor::<T>()?.1);
    Ok(())
}
