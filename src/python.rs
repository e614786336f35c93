//! `ironvec._core`: arguments in, NumPy arrays out, errors as exceptions; the GIL is released while Rust works. The
//! public face over it is `python/ironvec/embedder.py`; docstrings are in `_core.pyi`.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadwriteArray2, PyUntypedArrayMethods, ToPyArray};
use pyo3::exceptions::{PyFileNotFoundError, PyRuntimeError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyList, PyString};

use crate::embedder::{self, EncodeOptions, LoadOptions, OnTruncate};
use crate::error::Error;
use crate::export;
use crate::precision::{self, Precision};
use crate::registry::entries;

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

/// How often a running call takes the GIL to hear Ctrl-C and to report progress.
const ATTENTION: Duration = Duration::from_millis(50);

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
            | Error::Session { .. } => ModelError::new_err(message),
            Error::TextTooLong { .. } | Error::Argument { .. } => PyValueError::new_err(message),
            Error::Runtime { .. } | Error::Provider { .. } => ProviderError::new_err(message),
            Error::Graph { .. } | Error::Inference { .. } | Error::Interrupted => PyRuntimeError::new_err(message),
        }
    }
}

#[pyclass(name = "Embedder", module = "ironvec._core", frozen)]
struct PyEmbedder {
    inner: embedder::Embedder,
}

#[pymethods]
impl PyEmbedder {
    #[new]
    #[pyo3(signature = (folder, *, runtime_dirs, provider="auto", dtype="float32", max_length=None, truncate_dim=None,
                        threads=None, file_name=None, prompt_cache=true))]
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
    ) -> PyResult<Self> {
        check_provider(provider)?;
        check_dtype(dtype)?;
        let (folder, onnx_file) = match folder.extension().is_some_and(|end| end == "onnx") && folder.is_file() {
            true => export::split_path(&folder).map_or((folder, None), |(folder, file)| (folder, Some(file))),
            false => (folder, file_name),
        };
        let options = LoadOptions {
            runtime_folders: runtime_dirs,
            onnx_file,
            without_prompt_cache: !prompt_cache,
            max_length,
            truncate_dim,
            threads,
        };
        let inner = py.detach(|| embedder::Embedder::load(&folder, &options))?;
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
        "cpu"
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        "float32"
    }

    #[getter]
    fn pooling(&self) -> String {
        self.inner.pooling_name()
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
        texts: &Bound<'py, PyList>,
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
        let texts = borrow_texts(texts)?;
        let options = EncodeOptions {
            prompt: prompt.unwrap_or_default(),
            batch_size,
            normalize,
            truncate_dim,
            max_length,
            on_truncate: parse_on_truncate(on_truncate)?,
        };
        if matches!(precision, Precision::Int8 | Precision::Uint8) {
            check_calibration(py, precision, texts.len())?;
        }
        let dimension = self.inner.checked_dimension(truncate_dim)?;
        let shape = [texts.len(), dimension];
        let array = match out {
            None => PyArray2::<f32>::zeros(py, shape, false),
            Some(_) if precision != Precision::Float32 => {
                return Err(PyValueError::new_err("out= takes float32 rows: leave precision at \"float32\""));
            }
            Some(out) => checked_out(out, shape)?,
        };
        let mut target = array
            .try_readwrite()
            .map_err(|error| PyValueError::new_err(format!("out: {error} (it must be writeable and not in use)")))?;
        let encoded = self.fill(py, &texts, &options, &mut target, progress)?;
        drop(target);
        if encoded.truncated > 0 && on_truncate == "warn" {
            let most = options.max_length.unwrap_or(self.inner.max_length());
            warn(py, format!("{} of {} texts were cut at max_length={most} tokens", encoded.truncated, texts.len()))?;
        }
        match (precision, out) {
            (Precision::Float32, Some(out)) => Ok(out.clone()),
            (Precision::Float32, None) => Ok(array.into_any()),
            (quantized, _) => quantize(py, &array, quantized, dimension),
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
        let rows = py.detach(|| self.inner.token_rows(&texts, max_length))?;
        Ok(rows.into_iter().map(|row| row.ids).collect())
    }

    /// Tokens of each text before any cut, special tokens included.
    fn count_tokens<'py>(&self, py: Python<'py>, texts: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let texts = borrow_texts(texts)?;
        let rows = py.detach(|| self.inner.token_rows(&texts, None))?;
        let counts: Vec<i64> = rows.iter().map(|row| row.full_length as i64).collect();
        Ok(counts.to_pyarray(py))
    }

    fn device_report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let report = PyDict::new(py);
        report.set_item("provider", self.provider())?;
        report.set_item("threads", self.inner.threads())?;
        report.set_item("runtime_library", self.inner.runtime_library().display().to_string())?;
        report.set_item("runtime_build", ort::info())?;
        Ok(report)
    }
}

impl PyEmbedder {
    /// Encodes into `target` with the GIL released, taking it every [`ATTENTION`] for signals and progress.
    fn fill(
        &self,
        py: Python<'_>,
        texts: &[PyBackedStr],
        options: &EncodeOptions,
        target: &mut PyReadwriteArray2<'_, f32>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<embedder::Encoded> {
        let slots = target.as_slice_mut().map_err(|error| PyValueError::new_err(format!("out: {error}")))?;
        let mut raised: Option<PyErr> = None;
        let mut last = Instant::now();
        let mut unreported = 0;
        let report = |rows: usize| -> PyResult<()> {
            Python::attach(|py| {
                py.check_signals()?;
                match &progress {
                    Some(progress) if rows > 0 => progress.call1(py, (rows,)).map(drop),
                    _ => Ok(()),
                }
            })
        };
        let result = py.detach(|| {
            self.inner.encode(texts, options, slots, &mut |rows| {
                unreported += rows;
                if last.elapsed() < ATTENTION {
                    return ControlFlow::Continue(());
                }
                last = Instant::now();
                match report(std::mem::take(&mut unreported)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        raised = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })
        });
        match raised {
            Some(error) => Err(error),
            None => {
                let encoded = result?;
                report(unreported)?;
                Ok(encoded)
            }
        }
    }
}

fn check_provider(provider: &str) -> PyResult<()> {
    match provider {
        "auto" | "cpu" => Ok(()),
        "coreml" | "cuda" => {
            Err(Error::Provider { asked: provider.to_owned(), available: "\"auto\", \"cpu\"".to_owned() }.into())
        }
        _ => Err(argument("provider", provider, "\"auto\", \"cpu\", \"coreml\" or \"cuda\"")),
    }
}

fn check_dtype(dtype: &str) -> PyResult<()> {
    if dtype == "float32" { Ok(()) } else { Err(argument("dtype", dtype, "\"float32\"")) }
}

fn parse_on_truncate(on_truncate: &str) -> PyResult<OnTruncate> {
    match on_truncate {
        "ignore" | "warn" => Ok(OnTruncate::Cut),
        "error" => Ok(OnTruncate::Refuse),
        _ => Err(argument("on_truncate", on_truncate, "\"ignore\", \"warn\" or \"error\"")),
    }
}

fn argument(argument: &'static str, found: &str, expected: &str) -> PyErr {
    Error::Argument { argument, found: format!("{found:?}"), expected: expected.to_owned() }.into()
}

/// The texts as UTF-8 that Python owns, not copied. Refused: what is not a str, and what UTF-8 cannot hold.
fn borrow_texts(texts: &Bound<'_, PyList>) -> PyResult<Vec<PyBackedStr>> {
    let mut borrowed = Vec::with_capacity(texts.len());
    for (index, item) in texts.iter().enumerate() {
        let Ok(text) = item.cast::<PyString>() else {
            let kind = item.get_type().name()?;
            return Err(PyTypeError::new_err(format!("texts[{index}] is {kind}, not str")));
        };
        borrowed.push(PyBackedStr::try_from(text.clone()).map_err(|_| {
            PyValueError::new_err(format!(
                "texts[{index}] holds a lone surrogate, which is not text; \
                 text.encode(\"utf-8\", \"replace\").decode() replaces it"
            ))
        })?);
    }
    Ok(borrowed)
}

/// int8 and uint8 take each dimension's range from the rows of the call: one row has none, few give a poor one.
fn check_calibration(py: Python<'_>, precision: Precision, rows: usize) -> PyResult<()> {
    let name = if precision == Precision::Int8 { "int8" } else { "uint8" };
    match rows {
        1 => Err(PyValueError::new_err(format!(
            "precision={name:?} takes each dimension's range from the rows of the call, and one row has none"
        ))),
        2..100 => {
            warn(py, format!("precision={name:?} takes its ranges from only {rows} rows; 100 or more are advised"))
        }
        _ => Ok(()),
    }
}

fn checked_out<'py>(out: &Bound<'py, PyAny>, shape: [usize; 2]) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let refusal = |found: String| {
        PyValueError::new_err(format!("out: expected a C-contiguous float32 array of shape {shape:?}, found {found}"))
    };
    let Ok(array) = out.cast::<PyArray2<f32>>() else {
        let attribute = |name| out.getattr(name).map_or_else(|_| "none".to_owned(), |value| value.to_string());
        let kind = out.get_type().name()?;
        return Err(refusal(format!("{kind} with dtype {} and shape {}", attribute("dtype"), attribute("shape"))));
    };
    if array.shape() != shape {
        return Err(refusal(format!("shape {:?}", array.shape())));
    }
    if !array.is_c_contiguous() {
        return Err(refusal("one that is not contiguous".to_owned()));
    }
    Ok(array.clone())
}

fn quantize<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyArray2<f32>>,
    precision: Precision,
    dimension: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let values = array.try_readonly().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let values = values.as_slice().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let rows = array.shape()[0];
    let (bytes, signed) = match precision {
        Precision::Int8 | Precision::Uint8 => (precision::to_steps(values, dimension), precision == Precision::Int8),
        _ => (precision::to_bits(values, dimension), precision == Precision::Binary),
    };
    let columns = bytes.len().checked_div(rows).unwrap_or(match precision {
        Precision::Int8 | Precision::Uint8 => dimension,
        _ => dimension.div_ceil(8),
    });
    if signed {
        let shifted: Vec<i8> = bytes.into_iter().map(|byte| byte.wrapping_sub(128) as i8).collect();
        Ok(shifted.to_pyarray(py).reshape([rows, columns])?.into_any())
    } else {
        Ok(bytes.to_pyarray(py).reshape([rows, columns])?.into_any())
    }
}

fn warn(py: Python<'_>, message: String) -> PyResult<()> {
    let message = CString::new(message).map_err(|error| PyValueError::new_err(error.to_string()))?;
    // Level 2: the caller of the public face.
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &message, 2)
}

#[pymodule(gil_used = true)]
mod _core {
    use super::*;
    #[pymodule_export]
    use super::{ModelError, ProviderError, PyEmbedder};

    /// The package's version.
    #[pyfunction]
    fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// models/registry.toml: alias to what is known of the model.
    #[pyfunction]
    fn registry<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let models = PyDict::new(py);
        let entries = entries().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        for (alias, entry) in entries {
            let model = PyDict::new(py);
            model.set_item("hub_id", entry.hub_id)?;
            model.set_item("files", entry.files)?;
            model.set_item("package", entry.package)?;
            model.set_item("package_path", entry.package_path)?;
            model.set_item("pypi", entry.pypi)?;
            model.set_item("sha256", entry.sha256)?;
            model.set_item("prompts", entry.prompts)?;
            models.set_item(alias, model)?;
        }
        Ok(models)
    }
}
