"""Arrow strings in, their buffers out; vectors in, Arrow lists over the vectors' own memory out. Needs pyarrow, which
only this imports.

In: a pyarrow Array or ChunkedArray, or what exports one: a polars or pandas Series, anything with `__arrow_c_stream__`,
`__arrow_c_array__` or `__arrow_array__`. `utf8` and `large_utf8` are read in place; views, dictionaries and nulls are
made `large_utf8` first. Refuses other types by name, and whatever its buffers cannot hold.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from .text_columns import TextColumn, TextColumns

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXPECTED = "expected an Arrow array of strings, or a Series that holds one"


def arrow_columns(texts: object) -> TextColumns:
    """The buffers of `texts`, held but not copied."""
    pyarrow = _pyarrow()
    return TextColumns([_column(pyarrow, chunk) for chunk in _chunks(pyarrow, texts)])


def vector_lists(vectors: NDArray[np.float32], is_null: NDArray[np.bool_]) -> Any:
    """A `FixedSizeListArray` whose values are the memory of `vectors`, (rows, dimension)."""
    pyarrow = _pyarrow()
    values = pyarrow.array(vectors.reshape(-1))
    mask = pyarrow.array(is_null) if is_null.any() else None
    return pyarrow.FixedSizeListArray.from_arrays(values, vectors.shape[1], mask=mask)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError("Arrow arrays need pyarrow: pip install 'ironvec[arrow]', or pip install pyarrow") from error
    return pyarrow


def _chunks(pyarrow: Any, texts: object) -> list[Any]:
    array = _as_arrow(pyarrow, texts)
    types, kind = pyarrow.types, array.type
    if types.is_string(kind) or types.is_large_string(kind):
        return _chunks_of(pyarrow, array)
    values = kind.value_type if types.is_dictionary(kind) else kind
    is_view = getattr(types, "is_string_view", lambda _: False)
    if not (types.is_string(values) or types.is_large_string(values) or is_view(values) or types.is_null(values)):
        hint = f"; pass one column of this table ({type(texts).__name__})" if types.is_struct(kind) else ""
        raise TypeError(f"texts is an Arrow array of {kind}; {_EXPECTED}{hint}")
    try:
        array.validate(full=True)  # the cast believes what the array says of itself
        return _chunks_of(pyarrow, array.cast(pyarrow.large_string()))
    except pyarrow.ArrowNotImplementedError as error:
        advice = f"pyarrow {pyarrow.__version__} does not make large_string of it; a later one does"
        raise TypeError(f"texts is an Arrow array of {kind}: {advice}") from error
    except pyarrow.ArrowException as error:
        raise ValueError(f"texts is a broken Arrow array of {kind}: {error}") from error


def _as_arrow(pyarrow: Any, texts: object) -> Any:
    if isinstance(texts, (pyarrow.Array, pyarrow.ChunkedArray)):
        return texts
    # On the type, since a lazy table answers for any name that it is asked for.
    if hasattr(type(texts), "__arrow_c_stream__"):
        return pyarrow.chunked_array(texts)
    if hasattr(type(texts), "__arrow_c_array__") or hasattr(type(texts), "__arrow_array__"):
        return pyarrow.array(texts)
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(texts, pandas.Series):
        # Before pandas 3. Of dtype object, its strings become one array here.
        return pyarrow.array(texts, from_pandas=True)
    hint = "; encode takes lists of str" if isinstance(texts, (list, tuple, str)) else ""
    raise TypeError(f"texts is {type(texts).__name__}; {_EXPECTED}{hint}")


def _chunks_of(pyarrow: Any, array: Any) -> list[Any]:
    return list(array.chunks) if isinstance(array, pyarrow.ChunkedArray) else [array]


def _column(pyarrow: Any, array: Any) -> TextColumn:
    validity, offsets, data = array.buffers()
    return TextColumn(
        data=_bytes(data),
        offsets=_bytes(offsets),
        wide=pyarrow.types.is_large_string(array.type),
        validity=None if validity is None else _bytes(validity),
        first=array.offset,
        rows=len(array),
    )


def _bytes(buffer: Any) -> NDArray[np.uint8]:
    return np.empty(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)
