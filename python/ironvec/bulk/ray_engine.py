"""The chunks of a job on actors of a Ray cluster: Ray places them, and restarts those that die, with their chunks.

In: chunks in order. Out: each with its vectors, in the same order, however the actors finish. At most two chunks an
actor are under way. Refuses more workers than the cluster's nodes have CPUs for, and a worker whose model, processor or
packages would give vectors of other bits.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import ray
from ray.util import ActorPool, get_node_ip_address

from ..arguments import positive_int_or_none
from ..ray import started_ray
from .chunks import Chunk
from .engines import Encoded, Engine, encoder
from .facts import Advance, differences
from .options import Options, describe_model
from .refusal import Refused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..embedder import Embedder
    from ..text_columns import TextColumns
    from .finishing import Job

# One is encoded while the next one is on its way.
_CHUNKS_AN_ACTOR = 2
# How often a chunk is given to an actor again whose process has died of it, or of anything else.
_RETRIES = 3


@contextmanager
def ray_engine(workers: int | None, model: Embedder) -> Iterator[Engine]:
    """The engine, while the cluster is there."""
    count = positive_int_or_none("workers", workers)
    if model.provider != "cpu":
        raise Refused(f"--engine ray is for the CPU, and this model runs on {model.provider!r}")
    threads = int(model.device_report()["threads"])  # type: ignore[call-overload]
    with started_ray():
        nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        room = sum(cpus // threads for cpus in nodes)
        if room < (count or 1):
            raise Refused(
                f"the cluster has no room for {count or 1} workers of {threads} CPUs each: its nodes have "
                f"{', '.join(map(str, nodes)) or 'none'}; fewer --workers (workers=), or fewer --threads (threads=)"
            )
        yield partial(_encoded, count or room, threads)


def _encoded(workers: int, threads: int, job: Job, chunks: Iterator[Chunk], advance: Advance) -> Encoded:
    described = {name: (job.partial.job or {})[name] for name in ("model", "options")}
    kind = ray.remote(
        num_cpus=threads, max_restarts=-1, max_task_retries=_RETRIES, scheduling_strategy="SPREAD"
    )(_Worker)  # fmt: skip
    actors = [kind.remote(job.model._arguments, job.options, described) for _ in range(workers)]
    # Named as often as it may have chunks, so that none waits for the one whose turn it is.
    pool = ActorPool(actors * _CHUNKS_AN_ACTOR)
    under_way: deque[Chunk] = deque()

    def next_one() -> tuple[Chunk, NDArray[np.float32]]:
        chunk, vectors = under_way.popleft(), _result(pool)
        advance(len(chunk.texts))
        return chunk, vectors

    try:
        for chunk in chunks:
            if not pool.has_free():
                yield next_one()
            pool.submit(lambda actor, texts: actor.encode.remote(texts), chunk.texts)
            under_way.append(chunk)
        while under_way:
            yield next_one()
    finally:
        for actor in actors:
            ray.kill(actor)


def _result(pool: Any) -> NDArray[np.float32]:
    """The vectors of the chunk whose turn it is; what an actor raised is raised as if it had been raised here."""
    try:
        vectors: NDArray[np.float32] = pool.get_next()
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise ChildProcessError(f"a chunk is given up after its worker died {1 + _RETRIES} times: {error}") from error
    return vectors


class _Worker:
    """An actor's object. The model is opened with the first chunk, so that an error is one of the work and not of the
    actor, and again where the actor was started again."""

    def __init__(
        self, arguments: tuple[str | os.PathLike[str], dict[str, Any]], options: Options, described: dict[str, Any]
    ) -> None:
        self._arguments, self._options, self._described = arguments, options, described

    @cached_property
    def _encode(self) -> Any:
        from ..embedder import Embedder

        name, keywords = self._arguments
        model = Embedder(name, **keywords)
        files, options = describe_model(model, self._described["model"], int)
        before = {**self._described, "inputs": []}
        if changed := differences(before, {"model": files, "options": options, "inputs": []}):
            lines = "\n".join(f"  {line}" for line in changed)
            node = get_node_ip_address()
            raise Refused(f"a worker on {node} would make other vectors than where the job was begun:\n{lines}")
        return encoder(model, self._options)

    def encode(self, texts: TextColumns) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._encode(texts)
        return vectors
