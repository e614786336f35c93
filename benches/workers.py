"""Peers as processes: started, asked one line at a time, measured in turns.

In: names of peers and their interpreters. Out: answers of `peers/protocol.py`, and pairs of figures taken A B A B: one
peer works while the others sleep in a read, after a pause. A peer that fails is a `PeerError` with the end of what it
printed.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from environments import BENCH

OURS = "ironvec"
# Between two workers: a runtime's threads spin on after its last call and take the cores from whoever is next.
SETTLE_S = 0.4
HERE = Path(__file__).resolve().parent


class Peer(NamedTuple):
    """How a peer is started."""

    name: str
    python: Path
    server: str  # a file of peers/
    options: Mapping[str, Any]
    environment: Mapping[str, str] = {}


class PeerError(Exception):
    """A peer's process said that it cannot, or ended."""


class Worker:
    """One running peer."""

    def __init__(self, peer: Peer, **options: Any) -> None:
        self.name = peer.name
        self._log = BENCH / f"{peer.name.replace(' ', '-')}.log"
        # Nothing may reach for the hub, and no runtime sends reports while another one is measured.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1", **peer.environment}
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [peer.python, HERE / "peers" / peer.server, json.dumps({**peer.options, **options})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        self.ready = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {}
        if not line or "error" in answer:
            self._process.wait(timeout=60)
            printed = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise PeerError(answer.get("error") or f"{self.name} ended: " + "\n".join(printed[-5:]))
        return answer

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def encode(self, texts: str, role: str | None = None) -> float:
        return float(self.ask("encode", texts=texts, role=role)["seconds"])

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=60)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is not None:
            self._process.kill()
        self.close()


class Samples(NamedTuple):
    """A figure of one peer beside ours, a pair a round."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """The median of theirs / ours: by seconds, how many times faster we are."""
        return statistics.median(theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True))


def take_turns(
    workers: list[Worker],
    rounds: int,
    measure: Callable[[Worker], float],
    samples: dict[str, Samples] | None = None,
    slow_s: float = float("inf"),
    few: int = 0,
) -> dict[str, Samples]:
    """Each worker once a round, ours among them, the first one another each time.

    `samples` of an earlier sitting are added to. A worker that once took longer than `slow_s` is measured in `few`
    rounds in all.
    """
    ours = next(worker for worker in workers if worker.name == OURS)
    samples = {} if samples is None else samples
    for index in range(rounds):
        turn = index % len(workers)
        values = {}
        for worker in workers[turn:] + workers[:turn]:
            taken = samples[worker.name].theirs if worker.name in samples else []
            if len(taken) < few or not taken or max(taken) <= slow_s:
                time.sleep(SETTLE_S)
                values[worker.name] = measure(worker)
        for name, value in values.items():
            if name != ours.name:
                pairs = samples.setdefault(name, Samples([], []))
                pairs.ours.append(values[ours.name])
                pairs.theirs.append(value)
    return samples
