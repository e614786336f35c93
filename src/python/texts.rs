//! Texts as Python holds them, strings or Arrow's buffers, in; `&str`s that borrow from them out. Nothing is copied, and the
//! objects are held for as long as the call reads.

use numpy::PyReadonlyArray1;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyList, PyString};

use crate::memory::room_for;
use crate::texts::column::{Column, OffsetWidth};
use crate::texts::tokenize::NumberedText;

/// The texts of a call.
pub(super) enum Texts<'py> {
    Strings(Vec<PyBackedStr>),
    Columns(Vec<PyColumn<'py>>),
}

/// `TextColumn` of python/ironvec/text_columns.py. Buffers come as NumPy arrays of bytes, since the stable ABI has no
/// buffer protocol before Python 3.11.
#[derive(FromPyObject)]
pub(super) struct PyColumn<'py> {
    data: PyReadonlyArray1<'py, u8>,
    offsets: PyReadonlyArray1<'py, u8>,
    wide: bool,
    validity: Option<PyReadonlyArray1<'py, u8>>,
    first: usize,
    rows: usize,
}

impl<'py> Texts<'py> {
    /// A list of str, or `TextColumns`.
    pub(super) fn borrow(texts: &Bound<'py, PyAny>) -> PyResult<Self> {
        match texts.cast::<PyList>() {
            Ok(list) => Ok(Texts::Strings(borrow_texts(list)?)),
            Err(_) => Ok(Texts::Columns(texts.getattr("columns")?.extract()?)),
        }
    }

    /// Rows, null ones too.
    pub(super) fn len(&self) -> usize {
        match self {
            Texts::Strings(strings) => strings.len(),
            Texts::Columns(columns) => columns.iter().fold(0, |rows, column| rows.saturating_add(column.rows)),
        }
    }

    /// The texts that there are, each with the index of its row. Columns are checked here, on every call: nothing keeps
    /// their owner from writing into them between two.
    pub(super) fn numbered(&self) -> PyResult<Vec<NumberedText<'_>>> {
        let mut numbered = Vec::new();
        match self {
            Texts::Strings(strings) => {
                numbered = room_for(strings.len(), || format!("for {} texts", strings.len()))?;
                numbered.extend(strings.iter().map(AsRef::as_ref).enumerate());
            }
            Texts::Columns(columns) => {
                let mut index = 0;
                for column in columns {
                    column.borrowed()?.append_to(&mut numbered, index)?;
                    index += column.rows;
                }
            }
        }
        Ok(numbered)
    }
}

impl PyColumn<'_> {
    fn borrowed(&self) -> PyResult<Column<'_>> {
        Ok(Column {
            data: bytes(&self.data)?,
            offsets: bytes(&self.offsets)?,
            width: if self.wide { OffsetWidth::Eight } else { OffsetWidth::Four },
            validity: self.validity.as_ref().map(bytes).transpose()?,
            first: self.first,
            rows: self.rows,
        })
    }
}

fn bytes<'a>(array: &'a PyReadonlyArray1<'_, u8>) -> PyResult<&'a [u8]> {
    array.as_slice().map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The texts as UTF-8 that Python owns, not copied. Refused: what is not a str, and what UTF-8 cannot hold.
pub(super) fn borrow_texts(texts: &Bound<'_, PyList>) -> PyResult<Vec<PyBackedStr>> {
    let mut borrowed = room_for(texts.len(), || format!("for {} texts", texts.len()))?;
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
