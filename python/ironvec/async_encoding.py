"""`encode` for coroutines: the event loop goes on meanwhile, and concurrent callers share batches.

In: what `Embedder.encode` takes. Out: what it returns, awaited. How callers are gathered is written in `gathering.py`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from .arguments import BY_KEYWORD, TextsLike
from .gathering import Call, Gatherer
from .prepared_encoding import PreparedEncoding
from .prompts import task_prompt
from .text_bar import text_bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class AsyncEncoding(PreparedEncoding):
    """The awaitable half of `Embedder`."""

    __slots__ = ()

    async def aencode(
        self,
        texts: TextsLike = BY_KEYWORD,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        precision: str = "float32",
        normalize_embeddings: bool | None = None,
        truncate_dim: int | None = None,
        max_length: int | None = None,
        out: NDArray[np.float32] | None = None,
        **other_keywords: Any,
    ) -> NDArray[Any]:
        """`encode` off the event loop; calls that are made while others run are computed together.

        Arguments, result and errors are those of `encode`, and a result does not depend on who shared the batch. An
        idle model starts at once, a busy one takes next what has come meanwhile: at most 64 rows with the same options,
        options by turns, and longer lists in parts, between which others have their turn. At most 4,096 texts stand in
        line; later callers wait for room, and none is refused. Any number of threads and of asyncio's event loops may
        call one Embedder.

        Cancelled, it returns at once: rows that have not started are dropped, nobody else is disturbed, and `out` may
        be written to for one run more. A text that is refused fails its own caller only; an error of the whole batch
        reaches every caller of it. With `out`, `show_progress_bar=True` or the precisions "int8" and "uint8", which
        need all vectors at once, a call runs by itself, and others wait for the whole of it.
        """
        call = self._prepare(
            "aencode", texts, other_keywords, out, prompt_name=prompt_name, prompt=prompt, batch_size=batch_size,
            precision=precision, normalize_embeddings=normalize_embeddings, truncate_dim=truncate_dim,
            max_length=max_length,
        )  # fmt: skip
        for index, row in enumerate(call.rows):
            if not isinstance(row, str):
                raise TypeError(f"texts[{index}] is {type(row).__name__}, not str")
        if not call.rows:
            return call.result(call.encode(call.rows))
        rows, gatherer = list(call.rows), self._gatherer()  # the caller may change the list meanwhile
        warns = self._on_truncate == "warn"
        # A warning from the thread at work would name no line of the caller's, and count the texts of others.
        encode = partial(call.encode, on_truncate="ignore") if warns else call.encode
        if show_progress_bar:
            with text_bar(show_progress_bar, len(rows)) as progress:
                vectors = await gatherer.vectors(Call(rows, encode, progress=progress))
        else:
            alone = out is not None or precision in ("int8", "uint8")
            key = None if alone else tuple(encode.keywords.items())
            vectors = await gatherer.vectors(Call(rows, encode, key))
        if warns:
            counts = await gatherer.vectors(Call(rows, self._counter(encode.keywords["prompt"])))
            most = max_length or self.max_length
            if cut := int((counts > most).sum()):
                warnings.warn(f"{cut} of {len(rows)} texts were cut at max_length={most} tokens", stacklevel=2)
        return call.result(vectors)

    def aencode_query(
        self,
        texts: TextsLike = BY_KEYWORD,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *arguments: Any,
        task: str | None = None,
        **keywords: Any,
    ) -> Coroutine[Any, Any, NDArray[Any]]:
        """`encode_query` as `aencode`: with the model's prompt for queries."""
        if task is not None:
            prompt = task_prompt(task, prompt, prompt_name)
        elif prompt is None and prompt_name is None:
            prompt = self._prompts.of_role("query")
        return self.aencode(texts, prompt_name, prompt, *arguments, **keywords)

    def aencode_document(
        self,
        texts: TextsLike = BY_KEYWORD,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *arguments: Any,
        **keywords: Any,
    ) -> Coroutine[Any, Any, NDArray[Any]]:
        """`encode_document` as `aencode`: with the model's prompt for documents."""
        if prompt is None and prompt_name is None:
            prompt = self._prompts.of_role("document")
        return self.aencode(texts, prompt_name, prompt, *arguments, **keywords)

    def _counter(self, prompt: str | None) -> Callable[..., NDArray[np.int64]]:
        def count(rows: list[str], progress: object) -> NDArray[np.int64]:
            return self._native().count_tokens([f"{prompt or ''}{row}" for row in rows])

        return count

    def _gatherer(self) -> Gatherer:
        """This process's queues. A forked child must not touch its parent's, whose lock may be taken for ever."""
        process = os.getpid()
        # One step, so that two threads get the same.
        return self._gatherers.get(process) or self._gatherers.setdefault(process, Gatherer())
