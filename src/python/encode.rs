//! Texts in, rows of the caller's memory filled: the one long call, which hears Ctrl-C and tells of its progress.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use numpy::PyReadwriteArray2;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::calls::call;
use super::exit::detached;
use crate::embedder::Embedder;
use crate::options::{EncodeOptions, Encoded};
use crate::texts::tokenize::NumberedText;

/// How often a running call takes the GIL to hear Ctrl-C and to report progress.
const ATTENTION: Duration = Duration::from_millis(50);

/// Encodes into `target` with the GIL released, taking it every [`ATTENTION`] for signals and progress.
pub(super) fn encode_into(
    embedder: &Embedder,
    py: Python<'_>,
    texts: &[NumberedText<'_>],
    options: &EncodeOptions,
    target: &mut PyReadwriteArray2<'_, f32>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Encoded> {
    let slots = target.as_slice_mut().map_err(|error| PyValueError::new_err(format!("out: {error}")))?;
    let mut raised: Option<PyErr> = None;
    let mut last = Instant::now();
    let mut unreported = 0;
    let report = |rows: usize| -> PyResult<()> {
        let heard = Python::try_attach(|py| {
            py.check_signals()?;
            match &progress {
                Some(progress) if rows > 0 => call(progress.bind(py), &(rows,).into_pyobject(py)?).map(drop),
                _ => Ok(()),
            }
        });
        // Without an interpreter, in a thread that outlives it, nobody hears.
        heard.unwrap_or(Ok(()))
    };
    let result = detached(py, || {
        embedder.encode(texts.iter().copied(), options, slots, &mut |rows| {
            unreported += rows;
            if last.elapsed() < ATTENTION {
                return ControlFlow::Continue(());
            }
            last = Instant::now();
            match report(std::mem::take(&mut unreported)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    raised = Some(error);
                    ControlFlow::Break(())
                }
            }
        })
    });
    match raised {
        Some(error) => Err(error),
        None => {
            let encoded = result?;
            report(unreported)?;
            Ok(encoded)
        }
    }
}
