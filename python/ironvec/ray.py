"""Embeddings on Ray: a class for `map_batches` of Ray Data. `ironvec embed --engine ray` is built on the same.

In: pyarrow tables with a column of strings. Out: the same tables with a column of vectors. Refuses other batches, a
column that is not there or not of strings, and one that would be replaced. Needs the extra: pip install 'ironvec[ray]'.

>>> import ray
>>> from ironvec.ray import EmbedTexts
>>> ray.data.read_parquet("texts/").map_batches(
...     EmbedTexts, fn_constructor_kwargs={"model": "minilm", "text_column": "text"},
...     compute=ray.data.ActorPoolStrategy(size=2), num_cpus=4, batch_size=4096, batch_format="pyarrow",
... ).write_parquet("vectors/")
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .embedder import Embedder

try:
    import pyarrow
    import ray
except ImportError as error:
    raise ImportError(f"Ray needs packages of its own: pip install 'ironvec[ray]' ({error})") from error

__all__ = ["EmbedTexts"]


class EmbedTexts:
    """Embeds a column of each table that Ray Data hands to it: one per actor, the model loaded once.

    Args:
        model: What `Embedder` takes; found on the node where the actor runs, so a path is one of that node.
        text_column: Strings. A null has a null for its vector.
        embedding_column: What the vectors' column is called: fixed_size_list<float>[dimension].
        prompt_name, prompt, batch_size, normalize_embeddings: As in `Embedder.encode`.
        threads: CPU threads. None: the actor's `num_cpus`, at least 1.
        **model_arguments: `Embedder`'s other keywords. `memory="low"` leaves the weights in their file, whose pages all
            actors of a node share; by default each holds its own, packed.

    Raises:
        As `Embedder`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        text_column: str = "text",
        embedding_column: str = "embedding",
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        normalize_embeddings: bool | None = None,
        threads: int | None = None,
        **model_arguments: Any,
    ) -> None:
        self._model = Embedder(model, threads=assigned_cpus() if threads is None else threads, **model_arguments)
        self._columns = (text_column, embedding_column)
        self._call: dict[str, Any] = {
            "prompt_name": prompt_name, "prompt": prompt, "batch_size": batch_size,
            "normalize_embeddings": normalize_embeddings,
        }  # fmt: skip

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        """The table with its vectors.

        Raises:
            TypeError: No pyarrow table, or a column that does not hold strings.
            ValueError: No such column, or one of the vectors' name.
        """
        if not isinstance(table, pyarrow.Table):
            raise TypeError(f'a batch is {type(table).__name__}; map_batches needs batch_format="pyarrow"')
        text_column, embedding_column = self._columns
        there = table.column_names
        if there.count(text_column) != 1:
            raise ValueError(f"{there.count(text_column)} columns {text_column!r}; there are: {', '.join(there)}")
        if embedding_column in there:
            raise ValueError(f"a column {embedding_column!r} is there already; embedding_column= names another one")
        return table.append_column(embedding_column, self._model.encode_arrow(table.column(text_column), **self._call))


def assigned_cpus() -> int | None:
    """The CPUs that Ray has assigned to this actor, 1 where it has a part of one; None outside of an actor."""
    context = ray.get_runtime_context()
    if context.get_actor_id() is None:
        return None
    return max(1, int(context.get_assigned_resources().get("CPU", 1)))


@contextmanager
def started_ray() -> Iterator[None]:
    """Within it, this process is connected to Ray: as it is already, to the cluster that `RAY_ADDRESS` names, or to one
    started here, which nobody else reaches. What was not there before is gone afterwards."""
    if ray.is_initialized():
        yield
        return
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    if os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level="WARNING")
    else:
        ray.init("local", include_dashboard=False, logging_level="WARNING", _node_ip_address="127.0.0.1")
    if is_main:
        # Ray sets its own, which ends the process without a word.
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()
