"""Texts as bytes and offsets, which is how Arrow lays them out: the native side reads them where they lie, without a
Python object for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TextColumn(NamedTuple):
    """Rows that follow each other in the same buffers. Arrays are of bytes, one after the other, whatever they mean."""

    data: NDArray[np.uint8]  # UTF-8
    offsets: NDArray[np.uint8]  # where each row begins, and the last one ends: int32, or int64 where they are `wide`
    wide: bool
    validity: NDArray[np.uint8] | None  # a bit for each row, the lowest first, 0 for a null; None: there are none
    first: int
    rows: int


class TextColumns:
    """The texts of a call. What is read of the buffers is checked there and then: they may belong to anybody."""

    __slots__ = ("columns",)

    def __init__(self, columns: Sequence[TextColumn]) -> None:
        self.columns = list(columns)

    def __len__(self) -> int:
        return sum(column.rows for column in self.columns)

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> TextColumns:
        """Texts that are UTF-8 already, put one after the other."""
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        data = np.frombuffer(b"".join(texts), np.uint8)
        return cls([TextColumn(data, ends.view(np.uint8), True, None, 0, len(texts))])

    def __iter__(self) -> Iterator[str | None]:
        """The texts as Python has them; None for a null."""
        for column in self.columns:
            offsets = column.offsets.view(np.int64 if column.wide else np.int32)[column.first :]
            for row, is_null in enumerate(_is_null(column)):
                begin, end = offsets[row : row + 2]
                yield None if is_null else bytes(column.data[begin:end]).decode()

    def nulls(self) -> NDArray[np.bool_]:
        """Which rows are null."""
        return np.concatenate([np.zeros(0, bool), *map(_is_null, self.columns)])


def _is_null(column: TextColumn) -> NDArray[np.bool_]:
    if column.validity is None:
        return np.zeros(column.rows, bool)
    bits = np.unpackbits(column.validity, count=column.first + column.rows, bitorder="little")
    return ~bits[column.first :].view(bool)
