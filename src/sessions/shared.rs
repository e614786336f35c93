//! One ONNX Runtime session behind a lock, and what every run of one needs: options, arguments, outputs held against the
//! shapes they are read by, the names of failures. `ort` lets one thread run a session at a time; inside a run ONNX
//! Runtime spreads the work over its own threads, so callers that queue here lose little.

use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionOutputs};
use ort::value::PrimitiveTensorElementType;

use super::arguments::{Arguments, argument};
use crate::batches::plan::PaddedBatch;
use crate::batches::pool::PoolingInputs;
use crate::error::{Error, Result};
use crate::lowering::inputs;
use crate::memory;

/// A session that several threads may take turns with.
pub struct SharedSession {
    /// Not dropped in a forked child: releasing a session joins its threads, and the child has none of them.
    session: ManuallyDrop<Mutex<Session>>,
    process: u32,
}

impl SharedSession {
    /// Takes the session over.
    pub fn new(session: Session) -> Self {
        SharedSession { session: ManuallyDrop::new(Mutex::new(session)), process: std::process::id() }
    }

    /// This thread's turn.
    pub fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SharedSession {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // SAFETY: dropped once, here, and not used again.
            unsafe { ManuallyDrop::drop(&mut self.session) }
        }
    }
}

/// Adds the pooling inputs that there are, for B rows of `length` tokens.
pub fn pooling_arguments<'a>(
    arguments: &mut Arguments<'a>,
    batch: &PaddedBatch,
    pooling: &'a PoolingInputs,
) -> Result<(), ort::Error> {
    let (rows, length) = (batch.rows, batch.length);
    if !pooling.weights.is_empty() {
        let shape = [rows, pooling.weights.len() / (rows * length), length];
        argument(arguments, inputs::POOL_WEIGHTS, &shape, &pooling.weights)?;
    }
    if let Some(bias) = &pooling.bias {
        argument(arguments, inputs::POOL_BIAS, &[rows, length, 1], bias)?;
    }
    Ok(())
}

/// The options of a batch's run, which puts out `wanted`.
pub fn run_options(batch: &PaddedBatch, wanted: OutputSelector) -> Result<RunOptions<HasSelectedOutputs>, ort::Error> {
    let mut options = RunOptions::new()?.with_outputs(wanted);
    if batch.frees_memory {
        options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    }
    Ok(options)
}

/// The numbers of an output of our own graphs, refused where its shape is not the one that they are read by: what lies
/// elsewhere than it is looked for is a wrong vector without a word.
pub fn output<'o, T: PrimitiveTensorElementType>(
    outputs: &'o SessionOutputs<'_>,
    name: &str,
    shape: &[usize],
    batch: &PaddedBatch,
) -> Result<&'o [T]> {
    let Some(output) = outputs.get(name) else {
        return Err(Error::Graph { problem: format!("no output `{name}`") });
    };
    let (found, values) = output.try_extract_tensor::<T>().map_err(inference_error(batch))?;
    match is_shape(found, shape) {
        true => Ok(values),
        false => Err(Error::Graph { problem: format!("output `{name}` is of shape {found:?}, not {shape:?}") }),
    }
}

/// Whether ONNX Runtime's shape is this one.
pub fn is_shape(found: &[i64], expected: &[usize]) -> bool {
    found.iter().map(|size| usize::try_from(*size)).eq(expected.iter().map(|size| Ok(*size)))
}

/// What a failed run is called.
pub fn inference_error(batch: &PaddedBatch) -> impl Fn(ort::Error) -> Error + Copy {
    let (rows, length) = (batch.rows, batch.length);
    move |source| match memory::is_missing(&source) {
        true => Error::Memory { purpose: format!("to run {rows} rows x {length} tokens"), source: source.into() },
        false => Error::Inference { rows, length, source: source.into() },
    }
}

/// What a refused model is called.
pub fn session_error(path: &Path) -> impl FnOnce(ort::Error) -> Error {
    let path = path.to_owned();
    move |source| match memory::is_missing(&source) {
        true => Error::Memory { purpose: format!("to open {}", path.display()), source: source.into() },
        false => Error::Session { path, source: source.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_every_size_in_its_place() {
        assert!(is_shape(&[2, 7, 32], &[2, 7, 32]) && is_shape(&[], &[]));
        let others: [&[i64]; 5] = [&[7, 2, 32], &[2, 7], &[2, 7, 32, 1], &[2, 7, 31], &[2, 7, -1]];
        for other in others {
            assert!(!is_shape(other, &[2, 7, 32]), "{other:?}");
        }
    }
}
