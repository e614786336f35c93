"""What a job is asked to do, apart from inputs and output; and the part of it that its bytes depend on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..arguments import batch_size_or_none, flag_or_none, positive_int
from .facts import Advance, Facts, Hashed, model_files, read_facts, stat_facts
from .inputs import STDIN, Source, written_name
from .lines import line_blocks
from .parquet_rows import count_parquet_rows, parquet_rows
from .refusal import Refused
from .rows import READERS, Columns, Rows, csv_rows

if TYPE_CHECKING:
    from ..embedder import Embedder


@dataclass(frozen=True)
class Options:
    """Arguments of `embed_files`, checked."""

    text_column: str
    id_column: str | None
    prompt: str | None
    normalize: bool | None
    batch_size: int | None
    chunk_rows: int
    lists: bool

    @property
    def columns(self) -> Columns:
        return Columns(self.text_column, self.id_column)


def checked_options(
    *,
    text_column: str,
    id_column: str | None,
    prompt: str | None,
    normalize: bool | None,
    batch_size: int | None,
    chunk_rows: int,
    lists: bool,
) -> Options:
    """The arguments as they will be used."""
    for name, value in (("text_column", text_column), ("id_column", id_column)):
        if not isinstance(value, str) and (value is not None or name == "text_column"):
            raise TypeError(f"{name} is {type(value).__name__}; expected a str")
    return Options(
        text_column, id_column, prompt, flag_or_none("normalize", normalize), batch_size_or_none(batch_size),
        positive_int("chunk_rows", chunk_rows), bool(lists),
    )  # fmt: skip


def open_rows(source: Source, columns: Columns) -> Rows:
    """A source's rows from its first. A file that is another one afterwards is an error at its end."""
    if source.name == STDIN:
        # Of its own, and unbuffered: a thread that waits for sys.stdin would hold up the end of the process.
        with open(0, "rb", buffering=0, closefd=False) as stdin:
            yield from READERS[source.format](stdin, columns)
        return
    before = stat_facts(source.name)
    try:
        if source.format == "parquet":
            yield from parquet_rows(source.name, columns)
        else:
            with open(source.name, "rb", buffering=0) as file:
                yield from READERS[source.format](file, columns)
    except Refused as error:
        raise Refused(f"{source.name}: {error}") from error
    if stat_facts(source.name) != before:
        raise Refused(f"{source.name} was changed while it was read")


def input_facts(source: Source, columns: Columns, earlier: Facts, advance: Advance) -> Facts:
    """What a source is, with its rows counted; of stdin nothing is known."""
    if columns.id is not None and source.format == "txt":
        raise Refused(f"{source.name}: a .txt file has no columns, and so no {columns.id!r} for ids")
    if source.name == STDIN:
        return {"name": STDIN, "bytes": 0}
    try:
        if source.format == "parquet":
            rows = count_parquet_rows(source.name, columns)
            return {"name": written_name(source.name), **read_facts(source.name, earlier, advance), "rows": rows}
        facts = read_facts(source.name, earlier, advance, lambda file: _count(file, source.format, columns))
    except Refused as error:
        raise Refused(f"{source.name}: {error}") from error
    return {"name": written_name(source.name), **facts}


def _count(file: Hashed, kind: str, columns: Columns) -> int:
    """How many rows the bar is to show. A .csv file has its header looked at; of others the lines are enough."""
    if kind == "csv":
        return sum(1 for _ in csv_rows(file, columns))
    return sum(1 if block is None else block.count(b"\n") for block in line_blocks(file))


def describe_job(
    model: Embedder, options: Options, sources: Sequence[Source], kind: str, earlier: dict[str, Any], advance: Advance
) -> dict[str, Any]:
    """Everything that the output's bytes depend on, as JSON."""
    known_inputs = {facts["name"]: facts for facts in earlier.get("inputs", ())}
    model_facts, model_options = describe_model(model, earlier.get("model", {}), advance)
    return {
        "model": model_facts,
        "inputs": [
            input_facts(source, options.columns, known_inputs.get(written_name(source.name), {}), advance)
            for source in sources
        ],
        "options": {
            "output": kind,
            **asdict(options),
            "formats": sorted({source.format for source in sources}),
            **model_options,
        },
    }


def describe_model(model: Embedder, earlier: Facts, advance: Advance) -> tuple[dict[str, Facts], dict[str, Any]]:
    """What the bits of vectors depend on beside texts and options: the model's files, how and by what it is run."""
    report, arguments = model.device_report(), model._native_arguments
    return (
        {name: read_facts(path, earlier.get(name, {}), advance) for name, path in _files(model).items()},
        {
            **{name: arguments[name] for name in ("max_length", "truncate_dim", "memory", "file_name")},
            **{name: report[name] for name in ("provider", "dtype", "threads", "kernels")},
            "onnxruntime": report["runtime_version"],
            "ironvec": __version__,
        },
    )


def bytes_to_read(model: Embedder, sources: Sequence[Source]) -> int:
    """What `describe_job` goes through at most."""
    inputs = (source.name for source in sources if source.name != STDIN)
    return sum(map(os.path.getsize, [*_files(model).values(), *inputs]))


def _files(model: Embedder) -> dict[str, str]:
    return model_files(model._native_arguments["folder"], model._native_arguments["file_name"])
