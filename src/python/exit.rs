//! Work without the GIL, and the end of the interpreter: what is still at work then is waited for by `crate::ending`.

use std::sync::Once;

use pyo3::ffi;
use pyo3::marker::Ungil;
use pyo3::prelude::*;

use crate::ending;

static REGISTERED: Once = Once::new();

/// Has the process wait for runs of ONNX Runtime at its end. Python calls this after it has ended itself, so that every
/// `atexit` function and every thread that it waits for may still encode, and before the C library tears down statics.
pub(super) fn register() {
    REGISTERED.call_once(|| {
        // SAFETY: the function is called without the GIL and touches no Python object. It fails where 32 libraries have
        // one already; the end is then as abrupt as ONNX Runtime's own.
        unsafe { ffi::Py_AtExit(Some(end)) };
    });
}

extern "C" fn end() {
    ending::end();
}

/// Releases the GIL for `work`. It is not taken again once there is no interpreter left that has one.
pub(super) fn detached<R: Ungil>(py: Python<'_>, work: impl FnOnce() -> R + Send) -> R {
    py.detach(|| {
        let done = work();
        ending::stay_if_begun();
        done
    })
}
