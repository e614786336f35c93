"""`ironvec embed`: files of texts to a file of vectors, as `ironvec.bulk.embed_files` does it.

In: the command line. Out: what was made, on stdout, as text or JSON; bars, warnings and errors on stderr; an exit code.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from ..plain_text import counted
from ..terminal import print_error, printable, show

if TYPE_CHECKING:
    from ..bulk import Summary

HELP = "embed files of texts into a file of vectors; goes on after a kill"

_WITHOUT_STRICT = "what was done before is kept; without --strict, such rows are put aside and the others go on"

_EPILOG = """\
examples:
  ironvec embed texts.txt -o vectors.npy --model minilm
  ironvec embed data/ 'more/*.jsonl' -o vectors.parquet --model minilm \\
      --text-column body --id-column id
  zcat huge.jsonl.gz | ironvec embed - --format jsonl -o vectors.npy \\
      --model e5-small
  RAY_ADDRESS=auto ironvec embed data/ -o vectors.npy --model minilm \\
      --threads 8 --engine ray --workers 4

restart:
  What is done is kept in OUTPUT.partial, whole chunks at a time. After a kill,
  a power cut, Ctrl-C or a full disk, the same command goes on from there; the
  output has the same bytes as without. Another model, input or option is
  refused, with what differs. From stdin the same rows must come again: those
  that are done are compared by a hash, and not embedded again.

what is written:
  OUTPUT                  .npy: float32 (rows, dimension), for numpy.load,
                          mmap_mode="r" too; .parquet: id, embedding;
                          .jsonl: {"id": ..., "embedding": [...]} a line
  OUTPUT.ids.jsonl        of .npy alone: a row's id a line
  OUTPUT.rejected.jsonl   rows that could not be embedded: place and reason
  OUTPUT.manifest.json    model, inputs and options that the output is made of

exit code:
  0    all rows are embedded
  1    some rows were rejected, and the others are embedded; or the disk, a
       file or the model failed, or --strict stopped at a bad row
  2    wrong arguments, no such model or input, an output of another job
  130  Ctrl-C;  143  SIGTERM: what was done by then is kept
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    add = parser.add_argument
    add(
        "inputs", nargs="+", metavar="INPUT",
        help=".txt (a text a line), .jsonl, .csv, .parquet; a folder; a 'pattern*'; - for stdin",
    )  # fmt: skip
    add("-o", "--output", required=True, help="a name that ends in .npy, .parquet or .jsonl")
    add("--model", required=True, help="alias, checkpoint folder, ONNX file or hub id")
    add("--text-column", default="text", metavar="NAME", help="which column holds the texts (default: text)")
    add("--id-column", metavar="NAME", help="which column holds the ids (default: rows are counted, from 0)")
    add("--format", metavar="KIND", help="txt (default), jsonl or csv: how to read stdin, and names that do not say")
    add("--lists", action="store_true", help=".parquet: list<float>, for readers without fixed-size lists")
    add("--strict", action="store_true", help="stop at the first bad row")
    add("--overwrite", action="store_true", help="replace an output that is there; drop what another job has begun")
    add("--prompt-name", metavar="NAME", help="put this prompt of the model before each text: query, document, ...")
    add("--prompt", metavar="TEXT", help="put this before each text")
    add("--normalize", action=argparse.BooleanOptionalAction, help="scale vectors to length 1 (default: the model's)")
    add("--truncate-dim", type=int, metavar="N", help="keep the first N numbers of each vector")
    add("--max-length", type=int, metavar="N", help="cut texts at N tokens (default: the model's)")
    add("--dtype", default="float32", help="float32 (default), bfloat16, int8, float16")
    add("--provider", default="auto", help="auto (default), cpu, cuda, coreml")
    add("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    add("--batch-size", type=int, metavar="N", help="most rows of a batch (default: by their length)")
    add("--chunk-rows", type=int, metavar="N", help="rows that are committed at once (default: 4096)")
    add("--engine", metavar="NAME", help="ray: encode on the workers of a Ray cluster, to the same bytes")
    add("--workers", type=int, metavar="N", help="of the engine, each with --threads CPUs (default: all that fit)")
    add("--json", action="store_true", help="print the summary as JSON")
    add("--no-progress", action="store_true", help="no bar; without a terminal there is none")


def run(options: argparse.Namespace) -> int:
    """Embeds; returns the exit code."""
    from .. import ModelError, ProviderError
    from ..bulk import RowRejected
    from ..bulk.job import PARTIAL
    from ..bulk.stopping import GO_ON, Stopped, stopping

    try:
        # Ray tells of workers on stdout, which is the summary's.
        with stopping(), warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.showwarning = lambda message, *_, **__: _say(f"ironvec: warning: {message}")
            summary = _embed(options)
    except Stopped as stop:
        _say(f"\nironvec: {stop}")
        return stop.code
    except (RowRejected, OSError, MemoryError, ModelError, ProviderError, ValueError, TypeError) as error:
        code = _code_of(error)
        message = str(error) or type(error).__name__
        if code == 1 and os.path.isdir(f"{options.output}{PARTIAL}"):
            message += f"\n{_WITHOUT_STRICT if isinstance(error, RowRejected) else GO_ON}"
        print_error(message)
        return code
    show(json.dumps(_as_json(summary), indent=2) if options.json else _as_text(summary))
    return 1 if summary.rejected else 0


def _code_of(error: Exception) -> int:
    from .. import ModelError, ProviderError
    from ..bulk import RowRejected

    # A hub that cannot be reached leaves a model as missing as one that lacks it.
    if isinstance(error, (FileNotFoundError, ConnectionError)):
        return 2
    if isinstance(error, (RowRejected, OSError, MemoryError, ModelError, ProviderError)):
        return 1
    return 2


def _say(message: str) -> None:
    if sys.stderr is not None:
        print(printable(message, sys.stderr), file=sys.stderr)


def _embed(options: argparse.Namespace) -> Summary:
    from ..bulk import embed_files
    from ..bulk.job import CHUNK_ROWS

    return embed_files(
        options.inputs, options.output, options.model,
        text_column=options.text_column, id_column=options.id_column, input_format=options.format,
        prompt_name=options.prompt_name, prompt=options.prompt, normalize=options.normalize,
        batch_size=options.batch_size, chunk_rows=CHUNK_ROWS if options.chunk_rows is None else options.chunk_rows,
        lists=options.lists, strict=options.strict, overwrite=options.overwrite, engine=options.engine,
        workers=options.workers,
        show_progress_bar=not options.no_progress and sys.stderr is not None and sys.stderr.isatty(),
        provider=options.provider, dtype=options.dtype, threads=options.threads, max_length=options.max_length,
        truncate_dim=options.truncate_dim,
    )  # fmt: skip


def _as_json(summary: Summary) -> dict[str, object]:
    fields = summary._asdict()
    return {**fields, "rows_per_second": _rate(summary)}


def _as_text(summary: Summary) -> str:
    lines = [f"{summary.output}: {counted(summary.rows, 'row')} x {summary.dimension}, float32"]
    if "ids" in summary.files:
        lines.append(f"{summary.files['ids']}: the id of each row, a line each")
    if summary.rejected:
        lines.append(f"{summary.files['rejected']}: {counted(summary.rejected, 'row')} rejected, with place and reason")
    rate = _rate(summary)
    if rate is None:
        lines.append("nothing was left to do: all rows were done before")
    else:
        before = f"; {counted(summary.rows_before, 'row')} were done before" if summary.rows_before else ""
        lines.append(f"{summary.seconds:,.1f} s, {rate:,.0f} rows/s{before}")
    return "\n".join(lines)


def _rate(summary: Summary) -> float | None:
    """Rows a second of this run. None: it had nothing to embed."""
    here = summary.rows + summary.rejected - summary.rows_before
    return here / summary.seconds if here and summary.seconds else None
