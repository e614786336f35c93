//! Ctrl-C while Rust works: heard now and then with the GIL taken back, and an exception like any other.

use std::ops::ControlFlow;

use numpy::PyArray1;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;

use super::exit::detached;
use crate::error::Result;
use crate::guard::guarded;
use crate::interrupt::Heed;

/// Works with the GIL released; `heed` takes it to hear Ctrl-C.
pub(super) fn heeding<R: Send>(py: Python<'_>, work: impl FnOnce(&mut Heed<'_>) -> Result<R> + Send) -> PyResult<R> {
    let mut raised = None;
    let result = detached(py, || {
        // Without an interpreter, in a thread that outlives it, nobody hears.
        work(&mut || match Python::try_attach(|py| py.check_signals()).unwrap_or(Ok(())) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                raised = Some(error);
                ControlFlow::Break(())
            }
        })
    });
    raised.map_or_else(|| Ok(result?), Err)
}

/// Finds NumPy's C API, which the first use of an array would do with a panic where Ctrl-C comes just then.
pub(super) fn find_numpy(py: Python<'_>) -> PyResult<()> {
    let found = guarded(|| {
        PyArray1::<f32>::zeros(py, 0, false);
        Ok(())
    });
    found.map_err(|failure| match failure.to_string() {
        message if message.contains("KeyboardInterrupt") => PyKeyboardInterrupt::new_err(()),
        message => PyRuntimeError::new_err(message),
    })
}
