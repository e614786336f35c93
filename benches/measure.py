"""The figures of running peers: texts a second, one text, starting, memory, and whether their vectors agree.

In: workers or peers, ironvec among them. Out: a `Figure` per peer, the median of the pairwise ratios of its rounds.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import targets
from environments import BENCH
from workers import OURS, Peer, Samples, Worker, take_turns

SETTLE_S = 0.05  # between two workers: a runtime's threads may spin for a moment after its last call
BLOCK, BLOCKS = 50, 4  # calls with one text in a row, and how often in a round


class Figure(NamedTuple):
    figure: str
    peer: str
    unit: str
    ours: float
    theirs: float
    ratio: float  # above 1: ours is better
    rounds: int
    target: float | None


def figure(name: str, peer: str, samples: Samples, unit: str = "s", a_second: int | None = None) -> Figure:
    """From seconds; with `a_second` items as items a second. The ratio is the same."""
    ours, theirs = (statistics.median(values) for values in samples)
    if a_second is not None:
        ours, theirs = a_second / ours, a_second / theirs
    elif unit == "ms":
        ours, theirs = ours * 1000, theirs * 1000
    return Figure(name, peer, unit, ours, theirs, samples.ratio, len(samples.ours), targets.AT_LEAST.get((name, peer)))


def vectors(worker: Worker) -> np.ndarray:
    """What the worker's last `encode` gave."""
    path = BENCH / "vectors.npy"
    worker.ask("save", path=str(path))
    return np.load(path)


def check_agreement(workers: Sequence[Worker], texts: str, role: str | None = None) -> dict[str, float]:
    """The largest difference of any component from ours, by peer; one above the target ends the run."""
    ours = next(worker for worker in workers if worker.name == OURS)
    ours.encode(texts, role)
    expected, differences = vectors(ours), {}
    for worker in workers:
        if worker is not ours:
            worker.encode(texts, role)
            differences[worker.name] = float(np.abs(vectors(worker) - expected).max())
    for name, difference in differences.items():
        if not difference <= targets.DIFFERENCE:
            raise SystemExit(f"{name} does not run the same model: its vectors differ from ours by {difference:.1e}")
    return differences


def throughput(
    workers: list[Worker], texts: str, count: int, rounds: int, slow_rounds: int, slow_s: float
) -> tuple[list[Figure], list[Figure]]:
    """Texts a second, and the most memory that a process took for the first pass."""
    at_most: dict[str, float] = {}

    def measure(worker: Worker) -> float:
        time.sleep(SETTLE_S)
        seconds = worker.encode(texts)
        at_most.setdefault(worker.name, worker.ask("memory")["at_most_mb"])
        return seconds

    samples = take_turns(workers, rounds, measure, slow_s, slow_rounds)
    figures = [figure(texts, name, pairs, "texts/s", count) for name, pairs in samples.items()]
    return figures, [plain("peak RSS", name, "MB", at_most[OURS], at_most[name]) for name in samples]


def plain(name: str, peer: str, unit: str, ours: float, theirs: float) -> Figure:
    """A figure that is taken once."""
    return Figure(name, peer, unit, ours, theirs, theirs / ours, 1, None)


def one_text(
    workers: list[Worker], name: str, rounds: int, available: int, *, role: str | None = None, block: int = BLOCK
) -> list[Figure]:
    """Median and 95th percentile of calls with one text, each round another order of the peers."""
    percentiles: dict[str, Mapping[int, Samples]] = {
        worker.name: {50: Samples([], []), 95: Samples([], [])} for worker in workers if worker.name != OURS
    }
    for worker in workers:
        worker.ask("each", texts="one", role=role, **{"from": 0, "to": min(block, available)})
    for index in range(rounds):
        turn = index % len(workers)
        seconds: dict[str, list[float]] = {worker.name: [] for worker in workers}
        for number in range(BLOCKS):
            first = number * block % available
            for worker in workers[turn:] + workers[:turn]:
                time.sleep(SETTLE_S)
                answer = worker.ask("each", texts="one", role=role, **{"from": first, "to": first + block})
                seconds[worker.name] += answer["seconds"]
        for peer, kept in percentiles.items():
            for percent, samples in kept.items():
                samples.ours.append(float(np.percentile(seconds[OURS], percent)))
                samples.theirs.append(float(np.percentile(seconds[peer], percent)))
    return [
        figure(f"{name} p{percent}", peer, kept[percent], "ms")
        for percent in (50, 95)
        for peer, kept in percentiles.items()
    ]


def starts(peers: Sequence[Peer], rounds: int) -> list[Figure]:
    """Importing the library and loading the model, each time in a process of its own."""
    parts: dict[str, dict[str, Samples]] = {
        peer.name: {part: Samples([], []) for part in ("import", "load", "import + load")}
        for peer in peers
        if peer.name != OURS
    }
    for index in range(rounds):
        ready: dict[str, dict[str, Any]] = {}
        turn = index % len(peers)
        for peer in [*peers[turn:], *peers[:turn]]:
            with Worker(peer) as worker:
                ready[peer.name] = {**worker.ready, "import + load": worker.ready["import"] + worker.ready["load"]}
        for name, kept in parts.items():
            for part, samples in kept.items():
                samples.ours.append(ready[OURS][part])
                samples.theirs.append(ready[name][part])
    return [figure(part, name, parts[name][part]) for part in ("import", "load", "import + load") for name in parts]
