"""Embeddings on Spark: a function for columns, over `predict_batch_udf` of pyspark.

In: a column of strings. Out: array<float>. Refuses what is neither a string nor null. Needs the extra and a JVM:
pip install 'ironvec[spark]'.

>>> from ironvec.spark import embed_udf
>>> embed = embed_udf("minilm")
>>> frame.withColumn("embedding", embed("text"))  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .arguments import positive_int
from .embedder import Embedder

try:
    from pyspark import TaskContext
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql import Column
    from pyspark.sql.functions import col, when
    from pyspark.sql.types import ArrayType, FloatType
except ImportError as error:
    raise ImportError(f"Spark needs packages of its own: pip install 'ironvec[spark]' ({error})") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["embed_udf"]


def embed_udf(
    model: str | os.PathLike[str],
    *,
    rows_per_call: int = 4096,
    prompt_name: str | None = None,
    prompt: str | None = None,
    batch_size: int | None = None,
    normalize_embeddings: bool | None = None,
    threads: int | None = None,
    **model_arguments: Any,
) -> Callable[[Column | str], Column]:
    """Makes a function from a column of texts, or its name, to the column of their vectors.

    Each Python worker opens the model once and keeps it while `spark.python.worker.reuse` is on, as it is by default;
    the driver opens nothing, and ships the arguments alone.

    Args:
        model: What `Embedder` takes by name or path. It is found on each executor's node; a path that is there on the
            driver is made absolute.
        rows_per_call: Texts that are encoded by one call, at most; Spark hands over no more than
            `spark.sql.execution.arrow.maxRecordsPerBatch` at a time.
        prompt_name, prompt, batch_size, normalize_embeddings: As in `Embedder.encode`.
        threads: CPU threads of each Python worker. None: the CPUs of a task, `spark.task.cpus`.
        **model_arguments: `Embedder`'s other keywords. `memory="low"` leaves the weights in their file, whose pages all
            workers of a node share; by default each holds its own, packed.

    Returns:
        The function. A null has a null for its vector.

    Raises:
        TypeError, ValueError: `rows_per_call` is not a positive int; `model` is neither a str nor a path.
        pyspark.errors.PythonException: From the job: what `Embedder` and its `encode` raise, on a worker.
    """
    name = os.fspath(model)
    place = os.path.abspath(os.path.expanduser(name))
    make = partial(
        _predictor, place if os.path.exists(place) else name, threads, model_arguments,
        {"prompt_name": prompt_name, "prompt": prompt, "batch_size": batch_size,
         "normalize_embeddings": normalize_embeddings},
    )  # fmt: skip
    vectors = predict_batch_udf(
        make, return_type=ArrayType(FloatType()), batch_size=positive_int("rows_per_call", rows_per_call)
    )

    def embed(texts: Column | str) -> Column:
        """array<float>, null where the text is null."""
        column = col(texts) if isinstance(texts, str) else texts
        # The function's results are rows of one matrix, which has no place for nulls.
        return when(column.isNotNull(), vectors(column))

    return embed


def assigned_cpus() -> int | None:
    """The CPUs of this process's task; None outside of one."""
    task = TaskContext.get()
    return None if task is None else int(task.cpus())


def _predictor(
    model: str, threads: int | None, model_arguments: dict[str, Any], call: dict[str, Any]
) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """What a Python worker keeps: a model, and texts to rows; a null's are zeros."""
    embedder = Embedder(model, threads=assigned_cpus() if threads is None else threads, **model_arguments)

    def predict(texts: NDArray[Any]) -> NDArray[np.float32]:
        # pandas has None or NaN for a null, as its version and the column go.
        there = np.array([text is not None and text == text for text in texts], dtype=bool)
        rows = np.zeros((len(texts), embedder.dimension), np.float32)
        rows[there] = embedder.encode(texts[there].tolist(), **call)
        return rows

    return predict
