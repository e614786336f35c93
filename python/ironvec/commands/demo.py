"""`ironvec demo`: three sentences through a real model, what came out, and how long it took.

In: a model's name. Out: a page of text, and exit code 1 if the two sentences on one topic are not the closer pair.
The sentences are those of the first validation script.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from .. import Embedder, __version__
from ..resolve import resolve
from ..sample_texts import SENTENCES
from ..terminal import print_error, printable, show
from .opening import usage_errors

_EXAMPLES = """\
examples:
  ironvec demo
  ironvec demo --model FOLDER
  ironvec demo --json

exit codes: 0 the two sentences on one topic are the closer pair, 1 not,
2 no such model
"""

HELP = "embed three sentences and show what came out, and how fast"

_BATCH_ROWS = 32
_BAR_CELLS = 30
# Timing stops after so long, so that a large model's demo does not take minutes.
_TIMING_BUDGET_S = 1.5


class _Page:
    """What the terminal can show: blocks and dots where it is UTF-8, colour where it is a terminal. Or nothing."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
        self._unicode = encoding in ("utf8", "utf8sig")
        # https://no-color.org
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def bar(self, score: float, code: str) -> str:
        """A bar of fixed width: empty at 0 and below, full at 1."""
        full, empty = ("\u2588", "\u2591") if self._unicode else ("#", ".")
        cells = round(min(max(score, 0.0), 1.0) * _BAR_CELLS) if score == score else 0
        return self.paint(full * cells, code) + self.paint(empty * (_BAR_CELLS - cells), "2")

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text

    def heading(self, text: str) -> None:
        self.line(f"\n  {self.paint(text, '1')}")

    def line(self, text: str) -> None:
        if not self._quiet:
            print(text, flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("--model", default="minilm", help="alias, checkpoint folder or hub id (default: minilm)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the page; returns the exit code."""
    model_name: str = options.model
    # Apart from the load: a package's files are hashed here when they are first used, and not again.
    started = time.perf_counter()
    with usage_errors():
        folder = resolve(model_name).folder
    found_ms = (time.perf_counter() - started) * 1000.0
    started = time.perf_counter()
    model = Embedder(model_name)
    load_ms = (time.perf_counter() - started) * 1000.0

    page = _Page(quiet=options.json)
    page.line(f"\n  {page.paint('ironvec ' + __version__, '1')}  text embeddings with a Rust core")
    normalized = "normalized" if model.normalize else "not normalized"
    page.heading("Model")
    page.line(f"    {printable(model.model_id, sys.stdout)}")
    page.line(f"    {page.paint(printable(folder, sys.stdout), '2')}")
    page.line(f"    found in {found_ms:.0f} ms, loaded in {page.paint(f'{load_ms:.0f} ms', '32')}")
    page.line(f"    {model.provider}, {model.dtype}, {model.pooling} pooling, {normalized}, {model.max_length} tokens")

    vectors = model.encode(list(SENTENCES))
    width = max(map(len, SENTENCES))
    page.heading(f"Three sentences, {model.dimension} numbers each")
    for letter, sentence, vector in zip("ABC", SENTENCES, vectors, strict=True):
        page.line(f"    {letter}  {sentence:<{width}}   L2 norm {np.linalg.norm(vector):.6f}")

    scores = model.similarity(vectors, vectors)
    similar, different = float(scores[0, 1]), float(scores[0, 2])
    page.heading("How close they are")
    page.line(f"    A-B  same topic   {page.bar(similar, '32')}  {similar:7.4f}")
    page.line(f"    A-C  other topic  {page.bar(different, '33')}  {different:7.4f}")
    page.line(f"         separation   {'':{_BAR_CELLS}}  {page.paint(f'{similar - different:7.4f}', '1')}")

    single_ms, single_runs = _median_ms(lambda turn: model.encode(SENTENCES[turn % len(SENTENCES)]), most_runs=30)
    batch = _batch_of(SENTENCES, _BATCH_ROWS)
    batch_ms, batch_runs = _median_ms(lambda turn: model.encode(batch), most_runs=10)
    page.heading("Time per text")
    page.line(f"    one at a time   {page.paint(f'{single_ms:8.2f} ms', '32')}   median of {single_runs}")
    in_batch = page.paint(f"{batch_ms / _BATCH_ROWS:8.2f} ms", "32")
    page.line(f"    {_BATCH_ROWS} in a call    {in_batch}   median of {batch_runs}\n")

    if options.json:
        record = {
            "model": model.model_id, "folder": folder, "provider": model.provider, "dtype": model.dtype,
            "dimension": model.dimension, "found_ms": found_ms, "load_ms": load_ms, "similar": similar,
            "different": different, "single_ms": single_ms, "batch_ms_per_text": batch_ms / _BATCH_ROWS,
        }  # fmt: skip
        show(json.dumps(record, indent=2))
    # Written so that NaN fails too.
    if not similar > different:
        print_error("the two sentences about Paris are not the closer pair")
        return 1
    return 0


def _batch_of(sentences: Sequence[str], rows: int) -> list[str]:
    """No two alike: equal texts would be computed once."""
    return [f"{sentences[row % len(sentences)]} {row}" for row in range(rows)]


def _median_ms(run: Callable[[int], object], *, most_runs: int) -> tuple[float, int]:
    """The median time of `run(turn)` in milliseconds, and of how many runs; the first, unmeasured, warms up."""
    run(0)
    times_ms: list[float] = []
    deadline = time.perf_counter() + _TIMING_BUDGET_S
    while len(times_ms) < most_runs and (not times_ms or time.perf_counter() < deadline):
        started = time.perf_counter()
        run(len(times_ms))
        times_ms.append((time.perf_counter() - started) * 1000.0)
    return float(np.median(times_ms)), len(times_ms)
