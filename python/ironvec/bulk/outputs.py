"""What a job leaves behind, by the output's name: .npy and .jsonl here, .parquet in its own file.

In: ids and vectors, chunk by chunk. Out: bytes for files that grow, and at the end what they become. An output has
`starts` (its growing files and what each begins with), `pieces` (a chunk's bytes for each) and `finish`, which makes
whole files of them and says where each belongs; it may be called again after a kill.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .parquet_output import ParquetOutput, id_lines
from .refusal import Refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .partial import Done, Partial

IDS = ".ids.jsonl"
REJECTED = ".rejected.jsonl"
MANIFEST = ".manifest.json"
# NumPy's own header is as long for any shape, so that rows can be counted at the end.
_HEADER_BYTES = 128


class Output(Protocol):
    """A format. `dimension` is known once the model is."""

    starts: dict[str, bytes]
    places: dict[str, str]  # growing or finished file to what stands behind OUTPUT in its place; OUTPUT itself is last

    def pieces(self, ids: Sequence[str] | Sequence[int], vectors: NDArray[np.float32]) -> dict[str, Any]: ...

    def finish(self, partial: Partial, done: Done, dimension: int, progress: Callable[[int], object]) -> None: ...

    def bytes_per_row(self, dimension: int) -> int: ...


class NpyOutput:
    """float32 (rows, dimension); ids in a file beside it, a JSON value a line.

    Written by offset and not through a memory map: with a full disk, a write to a map ends the process.
    """

    starts = {"vectors.npy": bytes(_HEADER_BYTES), "ids.jsonl": b""}  # noqa: RUF012
    places = {"ids.jsonl": IDS, "vectors.npy": ""}  # noqa: RUF012

    def pieces(self, ids: Sequence[str] | Sequence[int], vectors: NDArray[np.float32]) -> dict[str, Any]:
        return {"vectors.npy": np.ascontiguousarray(vectors, dtype="<f4"), "ids.jsonl": id_lines(ids)}

    def finish(self, partial: Partial, done: Done, dimension: int, progress: Callable[[int], object]) -> None:
        path = partial.path("vectors.npy")
        if os.path.exists(path):
            with open(path, "r+b") as file:
                file.write(npy_header(done.rows, dimension))
                file.flush()
                os.fsync(file.fileno())

    def bytes_per_row(self, dimension: int) -> int:
        return 4 * dimension


class JsonlOutput:
    """`{"id": ..., "embedding": [...]}` a line; nine digits, which say which float32 is meant."""

    starts = {"rows.jsonl": b""}  # noqa: RUF012
    places = {"rows.jsonl": ""}  # noqa: RUF012

    def pieces(self, ids: Sequence[str] | Sequence[int], vectors: NDArray[np.float32]) -> dict[str, Any]:
        numbers = f"[{', '.join(['%.9g'] * vectors.shape[1])}]"
        lines = [
            f'{{"id": {json.dumps(identifier)}, "embedding": {numbers % tuple(vector)}}}\n'
            for identifier, vector in zip(ids, vectors.tolist(), strict=True)
        ]
        return {"rows.jsonl": "".join(lines).encode()}

    def finish(self, partial: Partial, done: Done, dimension: int, progress: Callable[[int], object]) -> None:
        """Each line is whole as it is."""

    def bytes_per_row(self, dimension: int) -> int:
        return 14 * dimension


def output_for(path: str, *, lists: bool, has_ids: bool) -> Output:
    """The format that a path's name asks for."""
    kind = os.path.splitext(path)[1].lower()
    if lists and kind != ".parquet":
        raise Refused("--lists (lists=True) is about .parquet files")
    if kind == ".npy":
        return NpyOutput()
    if kind == ".jsonl":
        return JsonlOutput()
    if kind == ".parquet":
        return ParquetOutput(lists=lists, has_ids=has_ids)
    raise Refused(f"{path}: the output's name must end in .npy, .parquet or .jsonl")


def npy_header(rows: int, dimension: int) -> bytes:
    """As numpy.save writes it (format 1.0)."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}"
    fixed = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
    return fixed + text.ljust(_HEADER_BYTES - 11).encode() + b"\n"
