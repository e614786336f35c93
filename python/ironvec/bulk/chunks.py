"""Rows in, chunks out: what is encoded by one call and committed at once.

Where a chunk ends depends on the rows alone, never on where a run began: so a chunk is encoded with the same neighbours
whatever was killed before, and its vectors have the same bits.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from ..text_columns import TextColumns
from .partial import Done
from .refusal import Refused, RowRejected
from .rows import BadRow, Row, Rows

# A chunk's texts, in characters of one byte; others count as several. A bound for memory where rows are long.
_MOST_CHARACTERS = 32 * 1024 * 1024

Rejection = dict[str, Any]  # a line of the file of rejected rows


class Placed(NamedTuple):
    """Rows of one source, with what leads back to them."""

    input: str
    number_name: str  # "line" or "row"
    rows: Rows


class Chunk(NamedTuple):
    """Rows that follow each other. What is `read` and not in `texts` is in `rejected`."""

    read: int
    indices: list[int]  # of the texts, among all rows
    ids: list[str]  # of the texts; none without a column for them
    texts: TextColumns
    rejected: list[Rejection]
    sha256: str  # of all rows up to the end of this chunk


class _Begun:
    """A chunk that is being filled; `first` is its first row's index among all."""

    def __init__(self, first: int) -> None:
        self.first, self.read, self.size = first, 0, 0
        self._indices: list[int] = []
        self._ids: list[str] = []
        self._texts: list[bytes] = []
        self._rejected: list[Rejection] = []

    def add(self, row: Row) -> None:
        self._indices.append(self.first + self.read)
        if row.id is not None:
            self._ids.append(row.id)
        self._texts.append(row.text)
        self.read += 1
        self.size += len(row.text)

    def add_some(self, texts: list[bytes], most_rows: int) -> list[bytes]:
        """Takes as many as there is room for; returns the others."""
        sizes = list(accumulate(map(len, texts[: most_rows - self.read])))
        taken = min(bisect_left(sizes, _MOST_CHARACTERS - self.size) + 1, len(sizes))
        self._indices += range(self.first + self.read, self.first + self.read + taken)
        self._texts += texts[:taken]
        self.read += taken
        self.size += sizes[taken - 1] if taken else 0
        return texts[taken:]

    def reject(self, place: Rejection, reason: str) -> None:
        self._rejected.append({**place, "index": self.first + self.read, "reason": reason})
        self.read += 1

    def finished(self, digest: Any) -> Chunk:
        texts = TextColumns.of(self._texts)
        for part in (texts.columns[0].data, texts.columns[0].offsets, repr((self._ids, self._rejected)).encode()):
            digest.update(part)
        return Chunk(self.read, self._indices, self._ids, texts, self._rejected, digest.hexdigest())


def chunks(sources: Iterator[Placed], rows_per_chunk: int) -> Iterator[Chunk]:
    """All rows of all sources, in order; a chunk may hold the end of one and the beginning of the next."""
    digest = hashlib.sha256()
    begun = _Begun(0)
    for source in sources:
        for row in source.rows:
            rest: list[bytes] = []
            if isinstance(row, Row):
                begun.add(row)
            elif isinstance(row, BadRow):
                begun.reject({"input": source.input, source.number_name: row.number}, row.reason)
            else:
                rest = begun.add_some(row, rows_per_chunk)
            while begun.read == rows_per_chunk or begun.size >= _MOST_CHARACTERS:
                yield begun.finished(digest)
                begun = _Begun(begun.first + begun.read)
                rest = begun.add_some(rest, rows_per_chunk)
    if begun.read:
        yield begun.finished(digest)


def without_rejected(all_chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The chunks up to the first bad row, which is an error."""
    for chunk in all_chunks:
        for row in chunk.rejected:
            input_name, number_name, *_ = row
            raise RowRejected(f"{row[input_name]}, {number_name} {row[number_name]:,}: {row['reason']}")
        yield chunk


def not_done(all_chunks: Iterator[Chunk], done: Done) -> Iterator[Chunk]:
    """The chunks behind what is done, which must be what it was."""
    read = 0
    for chunk in all_chunks:
        if read >= done.read:
            yield chunk
            continue
        read += chunk.read
        if read >= done.read and (read, chunk.sha256) != (done.read, done.sha256):
            break
    else:
        if read >= done.read:
            return
    raise Refused(
        f"the first {done.read:,} rows of the input are not those that were embedded before; give it the same again, "
        "or begin anew with --overwrite (overwrite=True)"
    )
