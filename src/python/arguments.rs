//! What callers pass and get, one check or conversion each: names of providers and precisions, `out=`, quantized rows.

use numpy::{Element, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyRuntimeError, PyUserWarning, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

use super::calls::call;
use crate::batches::precision::{self, Precision};
use crate::error::Error;
use crate::options::Arithmetic;
use crate::options::OnTruncate;

pub(super) fn parse_dtype(dtype: &str) -> PyResult<Arithmetic> {
    let known = [Arithmetic::Float32, Arithmetic::Float16, Arithmetic::Bfloat16, Arithmetic::Int8];
    let named = known.into_iter().find(|arithmetic| arithmetic.name() == dtype);
    named.ok_or_else(|| argument("dtype", dtype, "\"float32\", \"bfloat16\", \"int8\" or, with CoreML, \"float16\""))
}

pub(super) fn parse_on_truncate(on_truncate: &str) -> PyResult<OnTruncate> {
    match on_truncate {
        "ignore" | "warn" => Ok(OnTruncate::Cut),
        "error" => Ok(OnTruncate::Refuse),
        _ => Err(argument("on_truncate", on_truncate, "\"ignore\", \"warn\" or \"error\"")),
    }
}

fn argument(argument: &'static str, found: &str, expected: &str) -> PyErr {
    Error::Argument { argument, found: format!("{found:?}"), expected: expected.to_owned() }.into()
}

/// An array of zeros. NumPy itself makes it, since it raises `MemoryError` where the `numpy` crate would panic.
pub(super) fn new_rows<T: Element>(py: Python<'_>, shape: [usize; 2]) -> PyResult<Bound<'_, PyArray2<T>>> {
    let zeros = py.import(intern!(py, "numpy"))?.getattr(intern!(py, "zeros"))?;
    Ok(call(&zeros, &(shape, T::get_dtype(py)).into_pyobject(py)?)?.cast_into()?)
}

/// int8 and uint8 take each dimension's range from the rows of the call: one row has none, few give a poor one.
pub(super) fn check_calibration(py: Python<'_>, precision: Precision, rows: usize) -> PyResult<()> {
    let name = precision.name();
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

pub(super) fn checked_out<'py>(out: &Bound<'py, PyAny>, shape: [usize; 2]) -> PyResult<Bound<'py, PyArray2<f32>>> {
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

pub(super) fn quantize<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyArray2<f32>>,
    precision: Precision,
    dimension: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let values = array.try_readonly().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let values = values.as_slice().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let rows = array.shape()[0];
    let (columns, signed) = match precision {
        Precision::Float32 => return Ok(array.clone().into_any()),
        Precision::Int8 => (dimension, true),
        Precision::Uint8 => (dimension, false),
        Precision::Binary => (dimension.div_ceil(8), true),
        Precision::Ubinary => (dimension.div_ceil(8), false),
    };
    let bytes = new_rows::<u8>(py, [rows, columns])?;
    {
        let mut writable = bytes.try_readwrite().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        let target = writable.as_slice_mut().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        match precision {
            Precision::Float32 => {}
            Precision::Int8 | Precision::Uint8 => precision::to_steps(values, dimension, target),
            Precision::Binary | Precision::Ubinary => precision::to_bits(values, dimension, target),
        }
        if signed {
            // As int8 the same bits are the value less 128.
            target.iter_mut().for_each(|byte| *byte ^= 0x80);
        }
    }
    if signed { bytes.call_method1(intern!(py, "view"), ("int8",)) } else { Ok(bytes.into_any()) }
}

pub(super) fn warn(py: Python<'_>, message: String) -> PyResult<()> {
    let warn = py.import(intern!(py, "warnings"))?.getattr(intern!(py, "warn"))?;
    let arguments = (message, py.get_type::<PyUserWarning>(), callers_level(py)?);
    call(&warn, &arguments.into_pyobject(py)?).map(drop)
}

/// Which frame, counted from 1 for the innermost, is the first outside of this package: the line that a warning is about.
fn callers_level(py: Python<'_>) -> PyResult<i32> {
    let mut frame = py.import("sys")?.call_method0("_getframe")?;
    let mut level = 1;
    loop {
        let module = frame.getattr("f_globals")?.call_method1("get", ("__name__",))?;
        let ours = module.extract::<PyBackedStr>().is_ok_and(|name| name.split('.').next() == Some("ironvec"));
        frame = frame.getattr("f_back")?;
        if !ours || frame.is_none() {
            return Ok(level);
        }
        level += 1;
    }
}
