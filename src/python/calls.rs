//! Calls of what may let go of the GIL (Python code, NumPy's large allocations): a callable and its arguments in, its
//! result out. Before 3.14, Python ends a thread that wants the GIL back while the interpreter ends by unwinding the
//! thread's stack (`pthread_exit`). That must not reach frames of Rust: PyO3 catches whatever unwinds, and glibc then ends
//! the process with "FATAL: exception not rethrown". PyO3 guards its own attaching so, but no calls.

use std::{mem, thread};

#[cfg(windows)] // where threads end without unwinding
use pyo3::ffi::PyObject_CallObject;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

// Declared anew: PyO3's own declaration promises that nothing unwinds through it.
#[cfg(not(windows))]
unsafe extern "C-unwind" {
    fn PyObject_CallObject(
        callable: *mut pyo3::ffi::PyObject,
        arguments: *mut pyo3::ffi::PyObject,
    ) -> *mut pyo3::ffi::PyObject;
}

/// Keeps the thread for good where its stack is unwound, as Python does from 3.14 on.
struct Stay;

impl Drop for Stay {
    fn drop(&mut self) {
        loop {
            thread::park();
        }
    }
}

/// `callable(*arguments)`.
pub(super) fn call<'py>(callable: &Bound<'py, PyAny>, arguments: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    let stay = Stay;
    // SAFETY: both objects outlive the call, in a thread that is attached. Panics do not come out of it: whatever Rust
    // Python calls in turn makes exceptions of them.
    let result = unsafe { PyObject_CallObject(callable.as_ptr(), arguments.as_ptr()) };
    mem::forget(stay);
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(callable.py(), result) }
}
