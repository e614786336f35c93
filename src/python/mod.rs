//! `ironvec._core`: arguments in, NumPy arrays out, errors as exceptions; the GIL is released while Rust works. The
//! public face over it is `python/ironvec/embedder.py`; docstrings are in `_core.pyi`.

mod arguments;
mod cache;
mod calls;
mod encode;
mod errors;
mod exit;
mod inspect;
mod interrupts;
mod report;
mod texts;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use numpy::{PyArray1, PyArrayMethods, ToPyArray};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use self::arguments::{check_calibration, checked_out, new_rows, parse_dtype, parse_on_truncate, quantize, warn};
use self::encode::encode_into;
use self::errors::{ModelError, ProviderError};
use self::exit::detached;
use self::interrupts::{find_numpy, heeding};
use self::texts::{Texts, borrow_texts};
use crate::architectures;
use crate::batches::precision::Precision;
use crate::embedder;
use crate::lowering::export::ExportOptions;
use crate::options::{EncodeOptions, LoadOptions};
use crate::sessions::onnx_file;

#[pyclass(name = "Embedder", module = "ironvec._core", frozen)]
struct PyEmbedder {
    inner: embedder::Embedder,
}

#[pymethods]
impl PyEmbedder {
    #[new]
    #[pyo3(signature = (folder, *, runtime_dirs, provider="auto", dtype="float32", max_length=None, truncate_dim=None,
                        threads=None, file_name=None, prompt_cache=true, memory_map=true, memory="fast"))]
    #[expect(clippy::too_many_arguments, reason = "they are the Python signature")]
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        runtime_dirs: Vec<PathBuf>,
        provider: &str,
        dtype: &str,
        max_length: Option<usize>,
        truncate_dim: Option<usize>,
        threads: Option<usize>,
        file_name: Option<String>,
        prompt_cache: bool,
        memory_map: bool,
        memory: &str,
    ) -> PyResult<Self> {
        let (provider, arithmetic) = (provider.parse()?, parse_dtype(dtype)?);
        let (folder, onnx_file) = onnx_file::folder_and_file(folder, file_name);
        let options = LoadOptions {
            runtime_folders: runtime_dirs,
            onnx_file,
            arithmetic,
            memory: memory.parse()?,
            copies_weights: !memory_map,
            without_prompt_cache: !prompt_cache,
            max_length,
            truncate_dim,
            threads,
            provider,
        };
        let inner = detached(py, || embedder::Embedder::load(&folder, &options))?;
        Ok(PyEmbedder { inner })
    }

    #[getter]
    fn dimension(&self) -> usize {
        self.inner.dimension()
    }

    #[getter]
    fn max_length(&self) -> usize {
        self.inner.max_length()
    }

    #[getter]
    fn provider(&self) -> &'static str {
        self.inner.session().facts().provider.name()
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        self.inner.arithmetic().name()
    }

    #[getter]
    fn pooling(&self) -> String {
        self.inner.session().facts().pooling_name()
    }

    #[getter]
    fn normalize(&self) -> bool {
        self.inner.spec().normalize
    }

    #[getter]
    fn prompts(&self) -> BTreeMap<String, String> {
        self.inner.spec().prompts.clone()
    }

    #[getter]
    fn default_prompt_name(&self) -> Option<String> {
        self.inner.spec().default_prompt_name.clone()
    }

    #[getter]
    fn similarity_fn_name(&self) -> String {
        self.inner.spec().similarity.clone()
    }

    #[pyo3(signature = (texts, *, prompt=None, batch_size=None, normalize=None, truncate_dim=None, max_length=None,
                        precision="float32", out=None, on_truncate="ignore", progress=None))]
    #[expect(clippy::too_many_arguments, reason = "they are the Python signature")]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        prompt: Option<String>,
        batch_size: Option<usize>,
        normalize: Option<bool>,
        truncate_dim: Option<usize>,
        max_length: Option<usize>,
        precision: &str,
        out: Option<&Bound<'py, PyAny>>,
        on_truncate: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let precision: Precision = precision.parse()?;
        let texts = Texts::borrow(texts)?;
        let numbered = texts.numbered()?;
        let options = EncodeOptions {
            prompt: prompt.unwrap_or_default(),
            batch_size,
            normalize,
            truncate_dim,
            max_length,
            on_truncate: parse_on_truncate(on_truncate)?,
        };
        if precision.is_calibrated() {
            check_calibration(py, precision, texts.len())?;
        }
        let dimension = self.inner.checked_dimension(truncate_dim)?;
        let shape = [texts.len(), dimension];
        let array = match (out, precision) {
            (None, _) => new_rows(py, shape)?,
            (Some(out), Precision::Float32) => checked_out(out, shape)?,
            (Some(_), Precision::Int8 | Precision::Uint8 | Precision::Binary | Precision::Ubinary) => {
                return Err(PyValueError::new_err("out= takes float32 rows: leave precision at \"float32\""));
            }
        };
        let mut target = array
            .try_readwrite()
            .map_err(|error| PyValueError::new_err(format!("out: {error} (it must be writeable and not in use)")))?;
        let encoded = encode_into(&self.inner, py, &numbered, &options, &mut target, progress)?;
        drop(target);
        if encoded.truncated > 0 && on_truncate == "warn" {
            let most = options.max_length.unwrap_or(self.inner.max_length());
            warn(py, format!("{} of {} texts were cut at max_length={most} tokens", encoded.truncated, texts.len()))?;
        }
        // The caller gets its own `out` back, which may be of a subclass (np.memmap).
        match out {
            Some(out) => Ok(out.clone()),
            None => quantize(py, &array, precision, dimension),
        }
    }

    /// Token ids as the model sees them.
    #[pyo3(signature = (texts, max_length=None))]
    fn token_rows(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyList>,
        max_length: Option<usize>,
    ) -> PyResult<Vec<Vec<i32>>> {
        let texts = borrow_texts(texts)?;
        heeding(py, |heed| self.inner.token_rows(&texts, max_length, heed))
    }

    /// Tokens of each text before any cut, special tokens included.
    fn count_tokens<'py>(&self, py: Python<'py>, texts: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let texts = borrow_texts(texts)?;
        let counts = heeding(py, |heed| self.inner.count_tokens(&texts, heed))?;
        Ok(counts.into_iter().map(|count| count as i64).collect::<Vec<_>>().to_pyarray(py))
    }

    /// Writes the graph and its weights as an ONNX file.
    #[pyo3(signature = (path, *, flavour="cpu", length=None, batch=None, dtype="float32"))]
    fn export(
        &self,
        py: Python<'_>,
        path: PathBuf,
        flavour: &str,
        length: Option<usize>,
        batch: Option<usize>,
        dtype: &str,
    ) -> PyResult<Vec<OsString>> {
        let options = ExportOptions { flavour: flavour.to_owned(), length, batch, dtype: dtype.to_owned() };
        let files = detached(py, || self.inner.export(&path, &options))?;
        Ok(files.into_iter().map(PathBuf::into_os_string).collect())
    }

    fn device_report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        report::device_report(py, &self.inner)
    }
}

#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::cache::{cache_entries, cache_folder, remove_cache_entry};
    #[pymodule_export]
    use super::inspect::{graph_facts, inspect, model_facts, weight_facts};
    use super::*;
    #[pymodule_export]
    use super::{ModelError, ProviderError, PyEmbedder};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        exit::register();
        find_numpy(module.py())
    }

    /// The package's version.
    #[pyfunction]
    fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// The `model_type`s that run from their checkpoints.
    #[pyfunction]
    fn model_types() -> Vec<&'static str> {
        architectures::model_types().collect()
    }

    /// models/registry.toml: alias to what is known of the model.
    #[pyfunction]
    fn registry<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        report::registry(py)
    }
}
