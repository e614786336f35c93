//! What is known of a loaded model and of the models by name, as dictionaries.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::embedder::Embedder;
use crate::registry::entries;

/// Where and how a model runs.
pub(super) fn device_report<'py>(py: Python<'py>, embedder: &Embedder) -> PyResult<Bound<'py, PyDict>> {
    let (session, runtime) = (embedder.session(), embedder.runtime());
    let (facts, buckets) = (session.facts(), session.buckets());
    let report = PyDict::new(py);
    report.set_item("provider", facts.provider.name())?;
    report.set_item("dtype", embedder.arithmetic().name())?;
    report.set_item("threads", embedder.threads())?;
    report.set_item("kernels", &facts.kernels)?;
    report.set_item("nodes", facts.nodes)?;
    report.set_item("nodes_placed", facts.nodes_placed())?;
    report.set_item("partitions", facts.partitions())?;
    report.set_item("buckets", buckets.as_ref().map_or(&[][..], |buckets| &buckets.lengths))?;
    report.set_item("open_buckets", buckets.as_ref().map_or(&[][..], |buckets| &buckets.open))?;
    report.set_item("cache_folder", buckets.map(|buckets| buckets.folder.as_os_str()))?;
    report.set_item("available_providers", runtime.providers().iter().map(|it| it.name()).collect::<Vec<_>>())?;
    report.set_item("runtime_version", runtime.version())?;
    report.set_item("runtime_library", runtime.library().as_os_str())?;
    report.set_item("runtime_build", ort::info())?;
    Ok(report)
}

/// models/registry.toml: alias to what is known of the model.
pub(super) fn registry(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let models = PyDict::new(py);
    let entries = entries().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    for (alias, entry) in entries {
        let model = PyDict::new(py);
        model.set_item("hub_id", entry.hub_id)?;
        model.set_item("dimension", entry.dimension)?;
        model.set_item("max_length", entry.max_length)?;
        model.set_item("parameters", entry.parameters)?;
        model.set_item("license", entry.license)?;
        model.set_item("package", entry.package)?;
        model.set_item("package_path", entry.package_path)?;
        model.set_item("pypi", entry.pypi)?;
        model.set_item("sha256", entry.sha256)?;
        model.set_item("prompts", entry.prompts)?;
        models.set_item(alias, model)?;
    }
    Ok(models)
}
