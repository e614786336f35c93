//! `ironvec._core.inspect` and what else says of files what they are: paths in, a Python dict out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde::Serialize;

use super::exit::detached;
use crate::error::Error;
use crate::inspect::coverage::{InspectOptions, inspect_file};
use crate::inspect::lean::Fixed;
use crate::inspect::{graph, model};
use crate::sessions::onnx_file::folder_and_file;

/// What a model's graph is made of and what CoreML would take of it.
#[pyfunction]
#[pyo3(signature = (path, *, runtime_dirs, dimensions=None, shapes=None, static_shapes=true))]
pub(super) fn inspect<'py>(
    py: Python<'py>,
    path: PathBuf,
    runtime_dirs: Vec<PathBuf>,
    dimensions: Option<BTreeMap<String, i64>>,
    shapes: Option<BTreeMap<String, Vec<i64>>>,
    static_shapes: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let options = InspectOptions {
        runtime_folders: runtime_dirs,
        fixed: Fixed { dimensions: dimensions.unwrap_or_default(), shapes: shapes.unwrap_or_default() },
        dynamic_shapes: !static_shapes,
    };
    as_dict(py, || inspect_file(&path, &options))
}

/// What an ONNX file says of itself.
#[pyfunction]
pub(super) fn graph_facts(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    as_dict(py, || graph::graph_facts(&path))
}

/// What a model's folder, or the ONNX file in it, says of the model.
#[pyfunction]
#[pyo3(signature = (folder, file_name=None))]
pub(super) fn model_facts(py: Python<'_>, folder: PathBuf, file_name: Option<String>) -> PyResult<Bound<'_, PyAny>> {
    let (folder, onnx_file) = folder_and_file(folder, file_name);
    as_dict(py, || model::model_facts(&folder, onnx_file.as_deref()))
}

/// What the weight files of a folder hold.
#[pyfunction]
pub(super) fn weight_facts(py: Python<'_>, folder: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    as_dict(py, || model::weight_facts(&folder))
}

fn as_dict<T: Serialize>(
    py: Python<'_>,
    facts: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<Bound<'_, PyAny>> {
    let json = detached(py, || -> PyResult<String> {
        serde_json::to_string(&facts()?).map_err(|error| PyRuntimeError::new_err(error.to_string()))
    })?;
    py.import("json")?.call_method1("loads", (json,))
}
