"""Who encodes the chunks of a job: this process, or actors of a Ray cluster.

In: chunks in order. Out: each with its vectors, in the same order; a chunk is one call of the model, whoever makes it,
so that its vectors have the same bits. Refuses an engine that there is not, and one whose package is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .chunks import Chunk
from .facts import Advance
from .options import Options
from .refusal import Refused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..embedder import Embedder
    from .finishing import Job

Encoded = Generator[tuple[Chunk, "NDArray[np.float32]"], None, None]
# The job, its chunks that are not done, and whom to tell of rows that are.
Engine = Callable[["Job", Iterator[Chunk], Advance], Encoded]


def encoder(model: Embedder, options: Options) -> Callable[..., NDArray[Any]]:
    """A chunk's texts to their vectors."""
    return model._encoder(None, options.prompt or "", options.batch_size, "float32", options.normalize, None, None)


def in_process(job: Job, chunks: Iterator[Chunk], advance: Advance) -> Encoded:
    encode = encoder(job.model, job.options)
    for chunk in chunks:
        yield chunk, encode(chunk.texts, progress=advance)


@contextmanager
def engine_named(name: str | None, workers: int | None, model: Embedder) -> Iterator[Engine]:
    """The engine, which may be used within. None: this process."""
    if name is None:
        if workers is not None:
            raise Refused('workers are another engine\'s: --workers (workers=) wants --engine ray (engine="ray")')
        yield in_process
    elif name == "ray":
        try:
            from .ray_engine import ray_engine
        except ImportError as error:
            raise Refused(f"--engine ray needs packages of its own: pip install 'ironvec[ray]' ({error})") from error
        with ray_engine(workers, model) as engine:
            yield engine
    else:
        raise Refused(f"engine {name!r} is not one that there is: ray, or none for this process")
