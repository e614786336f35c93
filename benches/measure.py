"""The figures of running peers: texts a second, one text, starting, memory, and whether their vectors agree.

In: workers or peers, ironvec among them. Out: a `Figure` per peer, the median of the pairwise ratios of its rounds.
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import targets
from environments import BENCH
from workers import OURS, SETTLE_S, Peer, Samples, Worker, take_turns

SLOW_S = 15.0  # a pass: a slower peer is measured in fewer rounds
PERCENTILES = (50, 95)
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


class Sittings(NamedTuple):
    """What is measured, over one or several sets of processes.

    Two processes of the same program differ by up to a tenth on some machines, for as long as they live, depending on
    where their memory came to lie; so fresh ones are started now and then.
    """

    passes: dict[str, dict[str, Samples]]  # by the name of the texts, then of the peer
    calls: dict[int, dict[str, Samples]]  # by percentile, then by the name of the peer
    at_most_mb: dict[tuple[str, str], float]  # by the names of the texts and of the peer

    def throughput(self, texts: str, count: int) -> list[Figure]:
        kept = self.passes.get(texts, {})
        return [figure(texts, name, samples, "texts/s", count) for name, samples in kept.items()]

    def one_text(self, name: str) -> list[Figure]:
        return [
            figure(f"{name} p{percent}", peer, samples, "ms")
            for percent, kept in self.calls.items()
            for peer, samples in sorted(kept.items())
        ]

    def memory(self, texts: str) -> list[Figure]:
        peers = {peer: most for (of, peer), most in self.at_most_mb.items() if of == texts}
        ours = peers.pop(OURS, 0.0)
        return [plain("peak RSS", peer, "MB", ours, most) for peer, most in peers.items()]


def figure(name: str, peer: str, samples: Samples, unit: str = "s", a_second: int | None = None) -> Figure:
    """From seconds; with `a_second` items as items a second. The ratio is the same."""
    ours, theirs = (statistics.median(values) for values in samples)
    if a_second is not None:
        ours, theirs = a_second / ours, a_second / theirs
    elif unit == "ms":
        ours, theirs = ours * 1000, theirs * 1000
    return Figure(name, peer, unit, ours, theirs, samples.ratio, len(samples.ours), targets.AT_LEAST.get((name, peer)))


def plain(name: str, peer: str, unit: str, ours: float, theirs: float) -> Figure:
    """A figure that is taken once."""
    return Figure(name, peer, unit, ours, theirs, theirs / ours, 1, None)


def vectors(worker: Worker) -> np.ndarray:
    """What the worker's last `encode` gave."""
    path = BENCH / "vectors.npy"
    worker.ask("save", path=str(path))
    return np.load(path)


class Agreement(NamedTuple):
    """How near a peer's vectors are to ours."""

    precision: str  # what the peer computes in
    ours: str  # what we do
    difference: float  # the largest of any component
    cosine: float  # the least of any row

    @property
    def same_model(self) -> bool:
        """In float32 component by component; narrower types round each, and turn the vector by little. Not NaN."""
        if self.precision == self.ours == "float32":
            return self.difference <= targets.DIFFERENCE
        return self.cosine >= targets.REDUCED_COSINE

    def worse(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.precision, self.ours, max(self.difference, other.difference), min(self.cosine, other.cosine)
        )


def check_agreement(workers: Sequence[Worker]) -> dict[str, Agreement]:
    """Compares what the workers' last `encode` gave, of the same texts, with ours.

    Returns the agreement by peer; vectors of another model end the run.
    """
    kept = {worker.name: vectors(worker).astype(np.float64) for worker in workers}
    ours = kept[OURS]
    found = {}
    own = next(worker.ready["precision"] for worker in workers if worker.name == OURS)
    for worker in workers:
        if worker.name == OURS:
            continue
        theirs = kept[worker.name]
        cosines = (theirs * ours).sum(axis=-1) / np.linalg.norm(theirs, axis=-1) / np.linalg.norm(ours, axis=-1)
        agreement = Agreement(worker.ready["precision"], own, float(np.abs(theirs - ours).max()), float(cosines.min()))
        if not agreement.same_model:
            raise SystemExit(
                f"{worker.name} ({agreement.precision}) does not run the same model: its vectors differ from ours by "
                f"{agreement.difference:.1e}, the least cosine is {agreement.cosine:.4f}"
            )
        found[worker.name] = agreement
    return found


def throughput(workers: list[Worker], texts: str, rounds: int, few: int, sittings: Sittings) -> None:
    """Passes over 1,024 texts, and the most memory that a process took for its first pass."""

    def measure(worker: Worker) -> float:
        seconds = worker.encode(texts)
        sittings.at_most_mb.setdefault((texts, worker.name), worker.ask("memory")["at_most_mb"])
        return seconds

    take_turns(workers, rounds, measure, sittings.passes.setdefault(texts, {}), SLOW_S, few)


def one_text(
    workers: list[Worker], rounds: int, available: int, sittings: Sittings, role: str | None = None, block: int = BLOCK
) -> None:
    """Calls with one text, in blocks that take turns; each round another order of the peers."""
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
        for percent in PERCENTILES:
            kept = sittings.calls.setdefault(percent, {})
            for name in seconds.keys() - {OURS}:
                samples = kept.setdefault(name, Samples([], []))
                samples.ours.append(float(np.percentile(seconds[OURS], percent)))
                samples.theirs.append(float(np.percentile(seconds[name], percent)))


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
