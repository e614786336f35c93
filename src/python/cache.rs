//! The cache's entries as dictionaries, and their removal.

use std::time::UNIX_EPOCH;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::checkpoint::cache;
use crate::error::Result;

/// The cache's folder, where there is one.
#[pyfunction]
pub(super) fn cache_folder() -> PyResult<Option<String>> {
    Ok(cache::folder()?.map(|folder| folder.display().to_string()))
}

/// What the cache holds, the entry used last first.
#[pyfunction]
pub(super) fn cache_entries(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let entries = super::exit::detached(py, || -> Result<_> {
        cache::folder()?.map_or(Ok(Vec::new()), |folder| cache::entries(&folder))
    })?;
    let as_dictionary = |entry: cache::Entry| {
        let facts = PyDict::new(py);
        facts.set_item("name", entry.name)?;
        facts.set_item("folder", entry.folder.display().to_string())?;
        facts.set_item("model", entry.about.model)?;
        facts.set_item("dtype", entry.about.dtype)?;
        facts.set_item("bytes", entry.bytes)?;
        facts.set_item("used", entry.used.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()))?;
        facts.set_item("in_use", entry.in_use)?;
        Ok(facts)
    };
    entries.into_iter().map(as_dictionary).collect()
}

/// Removes an entry; False where it is in use or not there.
#[pyfunction]
pub(super) fn remove_cache_entry(py: Python<'_>, name: &str) -> PyResult<bool> {
    let removed = super::exit::detached(py, || -> Result<_> {
        cache::folder()?.map_or(Ok(false), |folder| cache::remove(&folder, name))
    })?;
    Ok(removed)
}
