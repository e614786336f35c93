"""The long part of a job: the chunks that are not done are read, encoded, and committed."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import closing
from functools import partial as bind
from typing import TYPE_CHECKING, Any

import numpy as np

from .chunks import Chunk, Placed, chunks, not_done, without_rejected
from .finishing import Job
from .inputs import STDIN, written_name
from .options import open_rows
from .outputs import Output
from .partial import Done
from .pipeline import Committer, read_ahead
from .refusal import Refused

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode_chunks(job: Job) -> None:
    """Returns when every row is committed."""
    partial, done = job.partial, job.partial.done
    partial.open({**job.format.starts, "rejected.jsonl": b""})
    total = _total_rows(job)
    if total is not None:
        _warn_of_room(job, total - done.read)
    with (
        read_ahead(not_done(_all_chunks(job), done)) as ahead,
        job.bars(total, "Embedding", "row", done.read) as bar,
        Committer(partial) as committer,
        closing(job.engine(job, ahead, bar.update)) as encoded,
    ):
        for chunk, all_vectors in encoded:
            kept, vectors = _finite(chunk, all_vectors)
            bar.update(len(chunk.rejected))
            done = Done(
                read=done.read + chunk.read, rows=done.rows + len(kept.indices),
                rejected=done.rejected + len(kept.rejected), sha256=chunk.sha256,
            )  # fmt: skip
            committer.add(bind(_pieces, job.format, kept, vectors, done))
    partial.mark_complete()


def check_stream(job: Job, done: Done) -> None:
    """Reads stdin, if it is an input, to see that it brings the rows of a job that has been done, and no others."""
    if any(source.name == STDIN for source in job.sources):
        with read_ahead(not_done(_all_chunks(job), done)) as more:
            for _ in more:
                raise Refused(f"the input has more than the {done.read:,} rows that {job.output} was made of")


def _all_chunks(job: Job) -> Iterator[Chunk]:
    """The chunks of all inputs, from the first row on."""
    columns = job.options.columns
    placed = (
        Placed(written_name(source.name), "row" if source.format == "parquet" else "line", open_rows(source, columns))
        for source in job.sources
    )
    all_chunks = chunks(placed, job.options.chunk_rows)
    return without_rejected(all_chunks) if job.strict else all_chunks


def _finite(chunk: Chunk, vectors: NDArray[np.float32]) -> tuple[Chunk, NDArray[np.float32]]:
    """The chunk without the rows that the model makes no number of, which are rejected."""
    is_finite = np.isfinite(vectors).all(axis=1)
    if is_finite.all():
        return chunk, vectors
    good = np.flatnonzero(is_finite)
    rejected = [
        {"index": chunk.indices[place], "reason": "its vector holds NaN or infinity"}
        for place in np.flatnonzero(~is_finite)
    ]
    kept = chunk._replace(
        indices=[chunk.indices[place] for place in good],
        ids=[chunk.ids[place] for place in good] if chunk.ids else [],
        rejected=sorted(chunk.rejected + rejected, key=lambda row: row["index"]),
    )
    return kept, vectors[good]


def _pieces(form: Output, chunk: Chunk, vectors: NDArray[np.float32], done: Done) -> tuple[dict[str, Any], Done]:
    """A chunk's bytes for each file."""
    rejected = "".join(f"{json.dumps(row)}\n" for row in chunk.rejected).encode()
    return {**form.pieces(chunk.ids or chunk.indices, vectors), "rejected.jsonl": rejected}, done


def _total_rows(job: Job) -> int | None:
    """Lines and rows counted beforehand; None where stdin is among the inputs."""
    if job.partial.job is None or any(source.name == STDIN for source in job.sources):
        return None
    return sum(int(facts["rows"]) for facts in job.partial.job["inputs"])


def _warn_of_room(job: Job, rows: int) -> None:
    needed = rows * job.format.bytes_per_row(job.model.dimension)
    free = shutil.disk_usage(os.path.dirname(job.output) or ".").free
    if needed > free:
        warnings.warn(
            f"about {needed / 1e9:.2f} GB are still to be written, and the disk has {free / 1e9:.2f} GB left",
            RuntimeWarning,
            stacklevel=4,
        )
