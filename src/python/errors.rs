//! ironvec's errors as Python's.

use pyo3::exceptions::{PyFileNotFoundError, PyMemoryError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::error::Error;

pyo3::create_exception!(
    ironvec,
    ModelError,
    pyo3::exceptions::PyException,
    "A model file that is broken or unsupported."
);
pyo3::create_exception!(
    ironvec,
    ProviderError,
    pyo3::exceptions::PyException,
    "An execution provider, or ONNX Runtime itself, that cannot be used."
);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::FileMissing { .. } => PyFileNotFoundError::new_err(message),
            Error::Malformed { .. }
            | Error::Unsupported { .. }
            | Error::Tensor { .. }
            | Error::TokenOutOfRange { .. }
            | Error::Tokenize { .. }
            | Error::Session { .. }
            | Error::NotFinite { .. } => ModelError::new_err(message),
            Error::TextTooLong { .. } | Error::Texts { .. } | Error::Argument { .. } => PyValueError::new_err(message),
            Error::Memory { .. } => PyMemoryError::new_err(message),
            Error::Unwritable { .. } => PyOSError::new_err(message),
            Error::Runtime { .. } | Error::Provider { .. } | Error::ProviderFailed { .. } => {
                ProviderError::new_err(message)
            }
            Error::Graph { .. } | Error::Inference { .. } | Error::Interrupted => PyRuntimeError::new_err(message),
        }
    }
}
