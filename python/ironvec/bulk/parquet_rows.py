"""A .parquet file in, rows out, a batch of them in memory at a time. Needs pyarrow, imported only here and then.

Refuses a file without the columns, or with texts that are not strings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .refusal import Refused
from .rows import BadRow, Columns, Row, Rows, checked

_BATCH_ROWS = 1024


def pyarrow_parquet() -> Any:
    """The module, or an error that says how to get it."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise Refused("parquet files need pyarrow: pip install 'ironvec[arrow]', or pip install pyarrow") from error
    return pyarrow.parquet


def parquet_rows(path: str, columns: Columns) -> Rows:
    """The file's rows, numbered from 1."""
    with opened(path) as file:
        names = _column_names(file, columns)
        number = 1
        for batch in file.iter_batches(_BATCH_ROWS, columns=names):
            texts = _values(batch.column(names[0]))
            # One column may serve as both, and is read once.
            identifiers = texts if columns.id is None else _values(batch.column(columns.id))
            for text, identifier in zip(texts, identifiers, strict=True):
                yield _row(number, columns, text, identifier)
                number += 1


def count_parquet_rows(path: str, columns: Columns) -> int:
    """How many rows the file has, by its footer; its columns are checked."""
    with opened(path) as file:
        _column_names(file, columns)
        return int(file.metadata.num_rows)


def opened(path: str) -> Any:
    parquet = pyarrow_parquet()
    import pyarrow

    try:
        # With a buffer, a column's pages are read as they are needed, and not the whole of a row group.
        return parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise Refused(f"cannot be read as parquet: {error}") from error


def _column_names(file: Any, columns: Columns) -> list[str]:
    import pyarrow

    schema = file.schema_arrow
    types = pyarrow.types
    names = list(dict.fromkeys(name for name in columns if name is not None))
    for name in names:
        found = schema.get_all_field_indices(name)
        if len(found) != 1:
            there = ", ".join(map(repr, schema.names))
            raise Refused(f"has {len(found) or 'no'} column{'s'[: len(found)]} {name!r}; there are: {there}")
        kind = schema.field(found[0]).type
        if types.is_dictionary(kind):
            kind = kind.value_type
        is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
        if not is_text and (name == columns.text or not types.is_integer(kind)):
            wanted = "string" if name == columns.text else "string or integer"
            raise Refused(f"column {name!r} is {kind}; expected {wanted}")
    return names


class _NotUtf8:
    """Where a value would be, had its bytes been text."""


def _values(column: Any) -> list[object]:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return list(_one_by_one(column))


def _one_by_one(column: Any) -> Iterator[object]:
    for value in column:
        try:
            yield value.as_py()
        except UnicodeDecodeError:
            yield _NotUtf8()


def _row(number: int, columns: Columns, text: object, identifier: object) -> Row | BadRow:
    for name, value in ((columns.text, text), (columns.id, identifier)):
        if isinstance(value, _NotUtf8) and name is not None:
            return BadRow(number, f"{name!r} is not UTF-8")
    return checked(number, columns, text, identifier)
