"""The end of a job: files made whole and put in their places, the folder of what is not finished removed.

Every step may be cut short, and is then taken again: `done.json` says that all rows are there, and a file that is no
longer in the folder is in its place already.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, NamedTuple

from .engines import Engine
from .inputs import Source
from .options import Options
from .outputs import IDS, MANIFEST, REJECTED, Output
from .partial import Done, Partial, sync_folder, write_synced
from .progress import Bar
from .refusal import Refused

if TYPE_CHECKING:
    from ..embedder import Embedder


class Job(NamedTuple):
    """What the steps share."""

    model: Embedder
    options: Options
    sources: list[Source]
    output: str
    format: Output
    partial: Partial
    strict: bool
    bars: Callable[..., AbstractContextManager[Bar]]
    engine: Engine


class Summary(NamedTuple):
    """What `embed_files` has done."""

    output: str
    rows: int
    dimension: int
    rejected: int
    rows_before: int  # that earlier runs had read, of rows and rejected together
    seconds: float  # of encoding, in this run
    files: dict[str, str]  # "ids", "rejected", "manifest": those side files that there are


def publish(job: Job) -> None:
    """Makes the output of what is in the folder."""
    partial, done = job.partial, job.partial.done
    partial.close_files()
    with job.bars(done.rows, "Writing", "row") as bar:
        job.format.finish(partial, done, job.model.dimension, bar.update)
    # It speaks of the output that is replaced.
    with suppress(FileNotFoundError):
        os.unlink(job.output + MANIFEST)
    if done.rejected:
        _move(job, "rejected.jsonl", REJECTED)
    else:
        with suppress(FileNotFoundError):
            os.unlink(job.output + REJECTED)
    for name, place in job.format.places.items():
        _move(job, name, place)
    folder = os.path.dirname(job.output)
    sync_folder(folder)
    about = {
        "read": done.read, "rows": done.rows, "rejected": done.rejected, "sha256": done.sha256,
        "dimension": job.model.dimension, "output_bytes": os.path.getsize(job.output),
    }  # fmt: skip
    write_synced(job.output + MANIFEST, json.dumps({**(partial.job or {}), "done": about}, indent=1))
    sync_folder(folder)
    partial.finished()


def _move(job: Job, name: str, place: str) -> None:
    source, target = job.partial.path(name), job.output + place
    if os.path.exists(source):
        os.replace(source, target)
    elif not os.path.exists(target):
        raise Refused(f"{source} is gone; remove {job.partial.folder} to begin anew")


def summary_of(job: Job, done: Done, before: int, seconds: float) -> Summary:
    """What to tell the caller."""
    places = {"ids": IDS, "rejected": REJECTED, "manifest": MANIFEST}
    files = {name: job.output + place for name, place in places.items()}
    there = {name: path for name, path in files.items() if os.path.exists(path)}
    return Summary(job.output, done.rows, job.model.dimension, done.rejected, before, seconds, there)
