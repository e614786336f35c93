"""Two builds of ironvec side by side: the same weights and texts, in turns, in one run.

    python benches/builds.py --before FOLDER_OR_WHEEL --after FOLDER_OR_WHEEL [--qwen3 FOLDER]
        [--rounds 15] [--sittings 5] [--texts 1024]

A build is a wheel, or a folder that holds the Python package `ironvec` with its extension in it. Each runs in processes
of its own under this interpreter, which needs what ironvec requires, and ironvec for the choice of the texts.

MiniLM: 1,024 mixed texts, 1,024 short ones (about 16 tokens), and calls with one text; the texts are those of
`compare.py`. With `--qwen3` (a folder of `make_qwen3.py`) also a query with the default instruction, 32 queries, 32
documents, and loading. A ratio is the median of the pairwise ratios of seconds, after to before: below 1 where the
second build is faster. The rounds are shared among `--sittings` sets of fresh processes, since two processes of one
program can differ by a tenth for as long as they live. For what the machine itself gives, name one build twice.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import docstrings
import numpy as np
from compare_qwen3 import COUNT, texts_file
from environments import BENCH
from measure import BLOCK, BLOCKS, vectors
from report import number, processor
from workers import SETTLE_S, Peer, Worker

from ironvec import Embedder
from ironvec.resolve import resolve

BEFORE, AFTER = "before", "after"
AT_MOST = 1.02
WHERE = "import ironvec._core as core; print(core.__file__)"


class Pairs(NamedTuple):
    """Seconds of both builds, a pair a round."""

    before: list[float]
    after: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(after / before for before, after in zip(self.before, self.after, strict=True))


class Run:
    """What is measured so far, by figure, and how far apart the vectors were at most."""

    def __init__(self) -> None:
        self.pairs: dict[str, Pairs] = {}
        self.difference = 0.0

    def turns(self, name: str, rounds: int, workers: list[Worker], work: Callable[[Worker], float]) -> None:
        """Each build once a round, the first one another each time."""
        pairs = self.pairs.setdefault(name, Pairs([], []))
        for _ in range(rounds):
            turn = len(pairs.before) % 2
            seconds = {}
            for worker in workers[turn:] + workers[:turn]:
                time.sleep(SETTLE_S)
                seconds[worker.name] = work(worker)
            pairs.before.append(seconds[BEFORE])
            pairs.after.append(seconds[AFTER])

    def compare_vectors(self, workers: list[Worker]) -> None:
        first, second = (vectors(worker) for worker in workers)
        # np.max and not max: a NaN has to come out.
        self.difference = float(np.max([self.difference, np.abs(first - second).max()]))

    def passes(self, name: str, rounds: int, workers: list[Worker], texts: str, role: str | None = None) -> None:
        for worker in workers:
            worker.encode(texts, role)
        self.compare_vectors(workers)
        self.turns(name, rounds, workers, lambda worker: worker.encode(texts, role))

    def one_text(
        self, name: str, rounds: int, workers: list[Worker], available: int, block: int, role: str | None = None
    ) -> None:
        """The median of calls with one text in a row."""

        def calls(worker: Worker, number: int) -> float:
            first = number * block % available
            answer = worker.ask("each", texts="one", role=role, **{"from": first, "to": first + block})
            return statistics.median(answer["seconds"])

        for worker in workers:
            calls(worker, 0)
        for index in range(rounds * BLOCKS):
            self.turns(name, 1, workers, lambda worker, index=index: calls(worker, index))


def build(name: str, path: Path, scratch: Path) -> Peer:
    """How a build is started, once its extension is known to be the one that is loaded."""
    folder = path.resolve()
    if not path.exists():
        raise SystemExit(f"{path}: not there; expected a wheel, or a folder that holds the package ironvec")
    if path.suffix == ".whl":
        folder = scratch / name
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(folder)
    environment = {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(scratch / f"{name}-cache")}
    command = [sys.executable, "-c", WHERE]
    found = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, cwd=folder)
    if found.returncode:
        raise SystemExit(f"{path}: no ironvec that can be imported: {found.stderr.strip().splitlines()[-1]}")
    extension = Path(found.stdout.strip())
    if not extension.is_relative_to(folder):
        raise SystemExit(f"{path}: holds no package ironvec with its extension; {extension} would be run")
    print(f"{name}: {path}, extension {hashlib.sha256(extension.read_bytes()).hexdigest()[:12]}")
    return Peer(name, Path(sys.executable), "serve_ironvec.py", {}, environment)


@contextmanager
def running(builds: list[Peer], options: dict[str, Any], sitting: int) -> Iterator[list[Worker]]:
    """Fresh processes, started in another order each time; in the order of `builds`."""
    with ExitStack() as stack:
        started = {
            peer.name: stack.enter_context(Worker(peer._replace(options=options)))
            for peer in (builds if sitting % 2 == 0 else builds[::-1])
        }
        yield [started[peer.name] for peer in builds]


def shares(rounds: int, sittings: int) -> list[int]:
    count = min(rounds, sittings)
    return [rounds // count + (sitting < rounds % count) for sitting in range(count)]


def measure_minilm(builds: list[Peer], rounds: list[int], most: int) -> Run:
    folder = Path(resolve("minilm").folder)
    texts = docstrings.choose(Embedder(folder, max_length=512).count_tokens)
    path = BENCH / "texts-builds.json"
    lists = {"mixed": texts.mixed[:most], "short": texts.short[:most], "one": texts.one}
    path.write_text(json.dumps(lists), encoding="utf-8")
    run = Run()
    for sitting, count in enumerate(rounds):
        with running(builds, {"folder": str(folder), "texts": str(path)}, sitting) as workers:
            run.passes("mixed", count, workers, "mixed")
            run.passes("short", count, workers, "short")
            run.one_text("one text", count, workers, docstrings.COUNT_ONE, BLOCK)
    return run


def measure_qwen3(builds: list[Peer], folder: Path, rounds: list[int]) -> Run:
    options = {"folder": str(folder.resolve()), "texts": str(texts_file())}
    run = Run()
    # Reads the weights, and leaves each build the cache that it keeps on disk.
    with running(builds, options, 0):
        pass
    for sitting, count in enumerate(rounds):
        with running(builds, options, sitting) as workers:
            run.passes(f"qwen3 {COUNT} queries", count, workers, "queries", "query")
            run.passes(f"qwen3 {COUNT} documents", count, workers, "documents", "document")
            run.one_text("qwen3 query", count, workers, COUNT, 4, "query")

    def load(peer: Peer) -> float:
        with Worker(peer._replace(options=options)) as worker:
            return float(worker.ready["load"])

    pairs = run.pairs.setdefault("qwen3 load", Pairs([], []))
    for index in range(sum(rounds)):
        seconds = {peer.name: load(peer) for peer in (builds if index % 2 == 0 else builds[::-1])}
        pairs.before.append(seconds[BEFORE])
        pairs.after.append(seconds[AFTER])
    return run


def print_pairs(run: Run) -> None:
    print(f"\n{'figure':20}  {'before':>8}  {'after':>8}  {'after/before':>12}  pairs")
    for name, pairs in run.pairs.items():
        before, after = (number(statistics.median(seconds) * 1000) for seconds in pairs)
        verdict = f"ok (at most {AT_MOST})" if pairs.ratio <= AT_MOST else f"SLOWER (at most {AT_MOST})"
        print(f"{name:20}  {before:>5} ms  {after:>5} ms  {pairs.ratio:12.3f}  {len(pairs.before):5}  {verdict}")
    print(f"vectors differ by {run.difference:.1e} at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, metavar="FOLDER_OR_WHEEL")
    parser.add_argument("--after", type=Path, required=True, metavar="FOLDER_OR_WHEEL")
    parser.add_argument("--qwen3", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--texts", type=int, default=docstrings.COUNT, help="in a pass over mixed or short texts")
    parser.add_argument("--sittings", type=int, default=5, help="sets of fresh processes that share the rounds")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # also into a file: a run takes minutes
    BENCH.mkdir(exist_ok=True)
    rounds = shares(options.rounds, options.sittings)
    print(f"{processor()}, {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as name:
        builds = [build(BEFORE, options.before, Path(name)), build(AFTER, options.after, Path(name))]
        print_pairs(measure_minilm(builds, rounds, options.texts))
        if options.qwen3:
            # A batch takes seconds: fewer rounds.
            print_pairs(measure_qwen3(builds, options.qwen3, shares(min(options.rounds, 5), 2)))


if __name__ == "__main__":
    main()
