"""`embed_files`: the story of a job.

In: files of texts, a model. Out: a file of vectors. Steps: find the inputs; take the output's folder of what is not
finished, for this process alone; open the model; compare the job with the one that was begun there; encode the chunks
that are not done; make whole files and put them in their places.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from .encoding import check_stream, encode_chunks
from .engines import engine_named
from .facts import differences
from .finishing import Job, Summary, publish, summary_of
from .inputs import find_sources
from .options import bytes_to_read, checked_options, describe_job
from .outputs import MANIFEST, output_for
from .partial import Done, Partial, read_job
from .progress import no_bar, shown_bar
from .refusal import Refused

if TYPE_CHECKING:
    from ..embedder import Embedder

CHUNK_ROWS = 4096
PARTIAL = ".partial"


def embed_files(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    model: str | os.PathLike[str] | Embedder,
    *,
    text_column: str = "text",
    id_column: str | None = None,
    input_format: str | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
    normalize: bool | None = None,
    batch_size: int | None = None,
    chunk_rows: int = CHUNK_ROWS,
    lists: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    engine: str | None = None,
    workers: int | None = None,
    show_progress_bar: bool | None = None,
    **model_arguments: Any,
) -> Summary:
    """Embeds every row of the inputs, in order, in memory that does not grow with them.

    What is done is kept in the folder `OUTPUT.partial`, whole chunks at a time: after a kill, a power cut or a full
    disk, the same call goes on from there, and the output has the same bytes as if nothing had happened. Where model,
    inputs or options are other ones, it says which and does nothing. When all is done the folder goes, and
    `OUTPUT.manifest.json` says what the output was made of; the same call then does nothing.

    Args:
        inputs: Files (.txt: a text a line; .jsonl; .csv with a header; .parquet), folders (all such files in them and
            below), patterns (`data/**/*.jsonl`), "-" for stdin. After a kill it must bring the same rows again: those
            that are done are compared by a hash, and not embedded again.
        output: .npy: float32 (rows, dimension), with the ids in `OUTPUT.ids.jsonl`, a line a row; .parquet: columns
            `id` and `embedding`; .jsonl: `{"id": ..., "embedding": [...]}` a line.
        model: What `Embedder` takes, or an Embedder.
        text_column: Of .jsonl, .csv and .parquet.
        id_column: Strings or integers, kept as strings. None: the index of the row among all rows of the inputs, bad
            ones included.
        input_format: "txt", "jsonl", "csv" or "parquet", for stdin (None: "txt") and files whose names do not say.
        prompt_name, prompt, batch_size: As in `Embedder.encode`.
        normalize: `normalize_embeddings` of `Embedder.encode`.
        chunk_rows: Rows that are encoded by one call and committed at once; fewer where they are longer than 32 MB
            together. Memory grows with it, and so does what a kill costs.
        lists: The embeddings of a .parquet file as list<float>, for readers without fixed-size lists.
        strict: The first bad row ends the job. Otherwise bad rows (not UTF-8, not JSON, no such column, not a string)
            go to `OUTPUT.rejected.jsonl`, each with its place and the reason.
        overwrite: Replaces an output that is there, when the new one is done, and begins anew where another job's
            `OUTPUT.partial` is.
        engine: "ray" encodes on actors of a Ray cluster (`pip install 'ironvec[ray]'`), the one that this process is
            connected to, that `RAY_ADDRESS` names, or one started on this machine. Rows are read and written here. The
            bytes are those of this process alone, with as many `threads`; each may go on with what the other began.
            None: this process.
        workers: Actors, each with a model of its own on `threads` CPUs. None: as many as the cluster has room for.
        show_progress_bar: True shows bars on stderr.
        **model_arguments: `Embedder`'s keywords: provider, dtype, threads, max_length, truncate_dim and so on.

    Returns:
        Rows written, rows rejected, where everything is.

    Raises:
        Refused: The output is there already, belongs to another job or is being written (`InUse`); an input cannot be
            read as what it should be. A `ValueError`.
        RowRejected: A bad row, with `strict`.
        FileNotFoundError: No such input, or model.
        OSError: The disk is full, or cannot be written; what was committed stays. `ChildProcessError`: a chunk's
            worker has died again and again.
        ModelError, ProviderError, ValueError, TypeError: As `Embedder` and its `encode` raise them.
    """
    names = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    path = os.fspath(output)
    form = output_for(path, lists=lists, has_ids=id_column is not None)
    sources = find_sources([os.fspath(name) for name in names], input_format, path)
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
        raise Refused(f"{path}: {'is a folder' if os.path.isdir(path) else 'no such folder to write into'}")
    with closing(Partial(path + PARTIAL)) as partial:
        embedder = _opened(model, model_arguments)
        options = checked_options(
            text_column=text_column, id_column=id_column, prompt=embedder._prompts.choose(prompt, prompt_name),
            normalize=normalize, batch_size=batch_size, chunk_rows=chunk_rows, lists=lists,
        )  # fmt: skip
        bar = shown_bar if show_progress_bar else no_bar
        with engine_named(engine, workers, embedder) as encode:
            job = Job(embedder, options, sources, path, form, partial, strict, bar, encode)
            if (finished := _prepare(job, overwrite)) is not None:
                return finished
            before, started = partial.done.read, time.monotonic()
            if partial.done.complete:
                check_stream(job, partial.done)
            else:
                encode_chunks(job)
            seconds = time.monotonic() - started
        publish(job)
        return summary_of(job, partial.done, before, seconds)


def _opened(model: str | os.PathLike[str] | Embedder, arguments: dict[str, Any]) -> Embedder:
    from ..embedder import Embedder

    if not isinstance(model, Embedder):
        return Embedder(model, **arguments)
    if arguments:
        raise TypeError(f"{', '.join(arguments)}: an Embedder has its own already")
    return model


def _prepare(job: Job, overwrite: bool) -> Summary | None:
    """Begins the job, or leaves what there is of it; a summary where it is finished already."""
    partial, path = job.partial, job.output
    manifest = read_job(path + MANIFEST)
    earlier = partial.job or manifest
    with job.bars(bytes_to_read(job.model, job.sources), "Looking through files", "B") as bar:
        kind = os.path.splitext(path)[1].lower()
        now = describe_job(job.model, job.options, job.sources, kind, earlier or {}, bar.update)
    changed = differences(earlier, now) if earlier else []
    if partial.job is not None:
        if not changed and (overwrite or partial.done.complete or not os.path.exists(path)):
            # Complete, with an output that is there: only the last steps were cut short, and it is its own.
            return None
        if not overwrite:
            raise Refused(
                _other_job(f"{partial.folder} was begun by another job", changed) if changed else _there(path)
            )
    elif os.path.exists(path):
        if manifest is not None and not changed:
            if os.path.getsize(path) == manifest["done"]["output_bytes"]:
                done = Done(**{name: manifest["done"][name] for name in ("read", "rows", "rejected", "sha256")})
                check_stream(job, done)
                return summary_of(job, done, done.read, 0.0)
            changed = [f"{path}: its size is not what it was when it was written"]
        if not overwrite:
            raise Refused(_other_job(f"{path} is of another job", changed) if changed else _there(path))
    partial.begin(now)
    return None


def _there(path: str) -> str:
    return f"{path} is there already, and not by this command; remove it, or --overwrite (overwrite=True)"


def _other_job(what: str, changed: list[str]) -> str:
    lines = "\n".join(f"  {line}" for line in changed)
    return f"{what}:\n{lines}\nGive it what it had then, or begin anew with --overwrite (overwrite=True)"
