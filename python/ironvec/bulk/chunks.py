"""Rows in, chunks out: what is encoded by one call and committed at once.

Where a chunk ends depends on the rows alone, never on where a run began: so a chunk is encoded with the same neighbours
whatever was killed before, and its vectors have the same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from .partial import Done
from .refusal import Refused, RowRejected
from .rows import Columns, Row, Rows

# A chunk's texts, in characters: a bound for memory where rows are long.
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
    texts: list[str]
    rejected: list[Rejection]
    sha256: str  # of all rows up to the end of this chunk


def chunks(sources: Iterator[Placed], columns: Columns, rows_per_chunk: int) -> Iterator[Chunk]:
    """All rows of all sources, in order; a chunk may hold the end of one and the beginning of the next."""
    digest = hashlib.sha256()
    index, characters = 0, 0
    indices: list[int] = []
    ids: list[str] = []
    texts: list[str] = []
    rejected: list[Rejection] = []

    def chunk() -> Chunk:
        digest.update(repr((ids, texts, rejected)).encode())
        return Chunk(len(texts) + len(rejected), indices, ids, texts, rejected, digest.hexdigest())

    for source in sources:
        for row in source.rows:
            if isinstance(row, Row):
                indices.append(index)
                if row.id is not None:
                    ids.append(row.id)
                texts.append(row.text)
                characters += len(row.text)
            else:
                place = {"input": source.input, source.number_name: row.number}
                rejected.append({**place, "index": index, "reason": row.reason})
            index += 1
            if len(texts) + len(rejected) == rows_per_chunk or characters >= _MOST_CHARACTERS:
                yield chunk()
                indices, ids, texts, rejected, characters = [], [], [], [], 0
    if texts or rejected:
        yield chunk()


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
