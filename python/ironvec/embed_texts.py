"""`embed_texts` of the first validation script: vectors, and how long their making took.

In: texts and an optional task. Out: what `Embedder.encode` returns, and the script's metadata. The texts are tokenized
twice, once to be timed and once within the encoding, so that `encode` stays free of clocks:

- `tokenize_ms`: prompt and texts to tokens, apart from the rest.
- `inference_ms`: the whole of `encode`, its own tokenizing, pooling and normalizing included.
- `pool_ms`: 0.0; what the script pooled after the run is a part of the graph.
- `total_ms`: the call, from the first line to the last.
- `batch_size`: texts; `seq_len`: tokens of the longest row as the model saw it, 0 without texts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .arguments import TextsLike, as_texts, positive_int
from .validation_script import get_detailed_instruct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .embedder import Embedder


def embed_texts(
    model: Embedder, texts: TextsLike, task_description: str | None, max_length: int, normalize: bool
) -> tuple[NDArray[np.float32], dict[str, float]]:
    """Documented at `Embedder.embed_texts`."""
    started = time.perf_counter()
    rows, single = as_texts(texts)
    if task_description is not None and not isinstance(task_description, str):
        raise TypeError(f"task_description is {type(task_description).__name__}, not str")
    # Empty rather than None: the model's default prompt stays away, as the script knew of none. The script's callers
    # passed "" for no task, too.
    prompt = get_detailed_instruct(task_description, "") if task_description else ""
    most_tokens = min(positive_int("max_length", max_length), model.max_length)

    # The encoding first: it refuses what is not a text, and says which.
    encoding = time.perf_counter()
    vectors = model.encode(rows, prompt=prompt, normalize_embeddings=normalize, max_length=most_tokens)
    tokenizing = time.perf_counter()
    token_rows = model._native().token_rows([prompt + text for text in rows] if prompt else rows, most_tokens)
    ended = time.perf_counter()
    metadata: dict[str, float] = {
        "tokenize_ms": (ended - tokenizing) * 1000.0,
        "inference_ms": (tokenizing - encoding) * 1000.0,
        "pool_ms": 0.0,
        "total_ms": (ended - started) * 1000.0,
        "batch_size": len(rows),
        "seq_len": max(map(len, token_rows), default=0),
    }
    return vectors[0] if single else vectors, metadata
