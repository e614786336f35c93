//! `ironvec._core.inspect`: a path and sizes in, a report as a Python dict out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::exit::detached;
use crate::inspect::coverage::{InspectOptions, inspect_file};
use crate::inspect::lean::Fixed;

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
    let json = detached(py, || -> PyResult<String> {
        let report = inspect_file(&path, &options)?;
        serde_json::to_string(&report).map_err(|error| PyRuntimeError::new_err(error.to_string()))
    })?;
    py.import("json")?.call_method1("loads", (json,))
}
