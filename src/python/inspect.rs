//! `ironvec._core.inspect` and what else says of files what they are: paths in, a Python dict out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde::Serialize;

use super::calls::call;
use super::exit::detached;
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
    let report = detached(py, || inspect_file(&path, &options))?;
    dict_of(py, &report)
}

/// What an ONNX file says of itself.
#[pyfunction]
pub(super) fn graph_facts(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let facts = detached(py, || graph::graph_facts(&path))?;
    dict_of(py, &facts)
}

/// What a model's folder, or the ONNX file in it, says of the model.
#[pyfunction]
#[pyo3(signature = (folder, file_name=None))]
pub(super) fn model_facts(py: Python<'_>, folder: PathBuf, file_name: Option<String>) -> PyResult<Bound<'_, PyAny>> {
    let (folder, onnx_file) = folder_and_file(folder, file_name);
    let facts = detached(py, || model::model_facts(&folder, onnx_file.as_deref()))?;
    let found = dict_of(py, &facts)?;
    found.set_item("path", facts.path.as_os_str())?;
    found.set_item("tokenizer_folder", facts.tokenizer_folder.as_os_str())?;
    Ok(found)
}

/// What the weight files of a folder hold.
#[pyfunction]
pub(super) fn weight_facts(py: Python<'_>, folder: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let facts = detached(py, || model::weight_facts(&folder))?;
    let found = dict_of(py, &facts)?;
    found.set_item("files", facts.files.iter().map(|file| file.as_os_str()).collect::<Vec<_>>())?;
    Ok(found)
}

fn dict_of<'py, T: Serialize>(py: Python<'py>, facts: &T) -> PyResult<Bound<'py, PyAny>> {
    let json = serde_json::to_string(facts).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    call(&py.import("json")?.getattr("loads")?, &(json,).into_pyobject(py)?)
}
