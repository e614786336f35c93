"""A .parquet file of ids and vectors. Such a file cannot be written on after a kill, so vectors are kept as they are
until the last, and then written in one go, a row group in memory at a time. Needs pyarrow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from .parquet_rows import pyarrow_parquet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .partial import Done, Partial

# What a row group's vectors take.
_GROUP_BYTES = 32 * 1024 * 1024


class ParquetOutput:
    """Columns `id` (string; int64 where ids are indices) and `embedding`: fixed_size_list<float>[dimension], or
    list<float> for readers that know no other."""

    starts = {"vectors.f32": b"", "ids.jsonl": b""}  # noqa: RUF012
    places = {"vectors.parquet": ""}  # noqa: RUF012

    def __init__(self, *, lists: bool, has_ids: bool) -> None:
        self._parquet = pyarrow_parquet()
        self._lists, self._has_ids = lists, has_ids

    def pieces(self, ids: Sequence[str] | Sequence[int], vectors: NDArray[np.float32]) -> dict[str, Any]:
        return {"vectors.f32": np.ascontiguousarray(vectors, dtype="<f4"), "ids.jsonl": id_lines(ids)}

    def bytes_per_row(self, dimension: int) -> int:
        # What is kept until the last, and what it becomes.
        return 2 * 4 * dimension

    def finish(self, partial: Partial, done: Done, dimension: int, progress: Callable[[int], object]) -> None:
        if not os.path.exists(partial.path("vectors.f32")):
            return
        path = partial.path("vectors.parquet")
        with open(f"{path}.new", "wb") as file:
            self._write(file, partial, done.rows, dimension, progress)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.new", path)

    def _write(self, file: Any, partial: Partial, rows: int, dimension: int, progress: Callable[[int], object]) -> None:
        import pyarrow

        id_type = pyarrow.string() if self._has_ids else pyarrow.int64()
        number = pyarrow.field("element", pyarrow.float32(), nullable=False)
        kind = pyarrow.list_(number) if self._lists else pyarrow.list_(number, dimension)
        schema = pyarrow.schema(
            [pyarrow.field("id", id_type, nullable=False), pyarrow.field("embedding", kind, nullable=False)]
        )
        # Vectors do not shrink, and ids do not repeat.
        writer = self._parquet.ParquetWriter(
            file, schema, compression={"id": "snappy"}, use_dictionary=False, write_statistics=["id"]
        )
        rows_per_group = max(1, _GROUP_BYTES // (4 * dimension))
        with (
            writer,
            open(partial.path("vectors.f32"), "rb") as vectors,
            open(partial.path("ids.jsonl"), encoding="utf-8") as ids,
        ):
            for first in range(0, rows, rows_per_group):
                count = min(rows_per_group, rows - first)
                values = pyarrow.array(np.fromfile(vectors, "<f4", count * dimension))
                if self._lists:
                    ends = pyarrow.array(np.arange(count + 1, dtype=np.int32) * dimension)
                    column = pyarrow.ListArray.from_arrays(ends, values, type=kind)
                else:
                    column = pyarrow.FixedSizeListArray.from_arrays(values, type=kind)
                names = pyarrow.array([json.loads(line) for line in islice(ids, count)], type=id_type)
                writer.write_table(pyarrow.table([names, column], schema=schema), row_group_size=count)
                progress(count)


# What json.dumps makes anew for each value.
_SPELL = json.JSONEncoder().encode


def id_lines(ids: Sequence[str] | Sequence[int]) -> bytes:
    """A JSON value a line."""
    return "".join([f"{_SPELL(value) if isinstance(value, str) else value}\n" for value in ids]).encode()
