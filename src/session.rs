//! A batch in, pooled rows out: one ONNX Runtime session behind a lock. `ort` lets one thread run a session at a time;
//! inside a run ONNX Runtime spreads the work over its own threads, so callers that queue here lose little.

use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

use crate::batch::PaddedBatch;
use crate::error::{Error, Result};
use crate::graph::{OUTPUT, inputs};
use crate::pool::PoolingInputs;
use crate::runtime::Runtime;

/// The model, ready to run.
pub struct EncoderSession {
    /// Not dropped in a forked child: releasing a session joins its threads, and the child has none of them.
    session: ManuallyDrop<Mutex<Session>>,
    process: u32,
    threads: usize,
    pooled_vectors: usize,
}

impl EncoderSession {
    /// Opens a session on a synthesised graph whose weights lie in `data_folder`.
    pub fn open(
        runtime: &Runtime,
        model: &[u8],
        data_folder: &Path,
        threads: usize,
        pooled_vectors: usize,
    ) -> Result<Self> {
        let session = runtime
            .open(model, data_folder, threads)
            .map_err(|source| Error::Session { path: data_folder.to_owned(), source: source.into() })?;
        let session = ManuallyDrop::new(Mutex::new(session));
        Ok(EncoderSession { session, process: std::process::id(), threads, pooled_vectors })
    }

    /// Threads of a run.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs a batch and hands its pooled rows, (B, P·H) one after the other, to `take` while they are still in the
    /// runtime's memory.
    pub fn run(&self, batch: &PaddedBatch, pooling: &PoolingInputs, take: impl FnOnce(&[f32])) -> Result<()> {
        let failed =
            |source: ort::Error| Error::Inference { rows: batch.rows, length: batch.length, source: source.into() };
        let (rows, length) = (batch.rows, batch.length);
        let ids = TensorRef::from_array_view(([rows, length], batch.input_ids.as_slice())).map_err(failed)?;
        let mask = TensorRef::from_array_view(([rows, length], batch.attention_mask.as_slice())).map_err(failed)?;
        let mut arguments: Vec<(&str, SessionInputValue<'_>)> =
            vec![(inputs::INPUT_IDS, ids.into()), (inputs::ATTENTION_MASK, mask.into())];
        if !pooling.weights.is_empty() {
            let summed = self.pooled_vectors - usize::from(pooling.bias.is_some());
            let weights = TensorRef::from_array_view(([rows, summed, length], pooling.weights.as_slice()));
            arguments.push((inputs::POOL_WEIGHTS, weights.map_err(failed)?.into()));
        }
        if let Some(bias) = &pooling.bias {
            let bias = TensorRef::from_array_view(([rows, length, 1], bias.as_slice()));
            arguments.push((inputs::POOL_BIAS, bias.map_err(failed)?.into()));
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(arguments).map_err(failed)?;
        let Some(output) = outputs.get(OUTPUT) else {
            return Err(Error::Graph { problem: format!("no output `{OUTPUT}`") });
        };
        let (_, pooled) = output.try_extract_tensor::<f32>().map_err(failed)?;
        take(pooled);
        Ok(())
    }
}

impl Drop for EncoderSession {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // SAFETY: dropped once, here, and not used again.
            unsafe { ManuallyDrop::drop(&mut self.session) }
        }
    }
}
