"""`ironvec demo`: three sentences through a real model, what came out, and how long it took.

In: a model's name. Out: a page of text, and exit code 1 if the two sentences on one topic are not the closer pair.
The sentences are those of the first validation script.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from .. import Embedder, __version__
from ..resolve import resolve
from ..sample_texts import SENTENCES
from ..terminal import print_error, printable

HELP = "embed three sentences and show what came out, and how fast"

_BATCH_ROWS = 32
_BAR_CELLS = 30
# Timing stops after so long, so that a large model's demo does not take minutes.
_TIMING_BUDGET_S = 1.5


class _Style:
    """What the terminal can show: blocks and dots where it is UTF-8, colour where it is a terminal."""

    def __init__(self) -> None:
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
        print(f"\n  {self.paint(text, '1')}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="minilm", help="alias, checkpoint folder or hub id (default: minilm)")


def run(options: argparse.Namespace) -> int:
    """Prints the page; returns the exit code."""
    model_name: str = options.model
    # Apart from the load: a package's files are hashed here when they are first used, and not again.
    started = time.perf_counter()
    folder = resolve(model_name).folder
    found_ms = (time.perf_counter() - started) * 1000.0
    started = time.perf_counter()
    model = Embedder(model_name)
    load_ms = (time.perf_counter() - started) * 1000.0

    style = _Style()
    print(f"\n  {style.paint('ironvec ' + __version__, '1')}  text embeddings with a Rust core")
    normalized = "normalized" if model.normalize else "not normalized"
    style.heading("Model")
    print(f"    {printable(model.model_id, sys.stdout)}")
    print(f"    {style.paint(printable(folder, sys.stdout), '2')}")
    print(f"    found in {found_ms:.0f} ms, loaded in {style.paint(f'{load_ms:.0f} ms', '32')}")
    print(f"    {model.provider}, {model.dtype}, {model.pooling} pooling, {normalized}, {model.max_length} tokens")

    vectors = model.encode(list(SENTENCES))
    width = max(map(len, SENTENCES))
    style.heading(f"Three sentences, {model.dimension} numbers each")
    for letter, sentence, vector in zip("ABC", SENTENCES, vectors, strict=True):
        print(f"    {letter}  {sentence:<{width}}   L2 norm {np.linalg.norm(vector):.6f}")

    scores = model.similarity(vectors, vectors)
    similar, different = float(scores[0, 1]), float(scores[0, 2])
    style.heading("How close they are")
    print(f"    A-B  same topic   {style.bar(similar, '32')}  {similar:7.4f}")
    print(f"    A-C  other topic  {style.bar(different, '33')}  {different:7.4f}")
    print(f"         separation   {'':{_BAR_CELLS}}  {style.paint(f'{similar - different:7.4f}', '1')}")

    single_ms, single_runs = _median_ms(lambda turn: model.encode(SENTENCES[turn % len(SENTENCES)]), most_runs=30)
    batch = _batch_of(SENTENCES, _BATCH_ROWS)
    batch_ms, batch_runs = _median_ms(lambda turn: model.encode(batch), most_runs=10)
    style.heading("Time per text")
    print(f"    one at a time   {style.paint(f'{single_ms:8.2f} ms', '32')}   median of {single_runs}")
    in_batch = style.paint(f"{batch_ms / _BATCH_ROWS:8.2f} ms", "32")
    print(f"    {_BATCH_ROWS} in a call    {in_batch}   median of {batch_runs}\n")

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
