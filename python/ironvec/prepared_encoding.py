"""What `encode` and `aencode` have in common: a call's arguments, checked, and what becomes of the native rows.

In: the keywords of `Embedder.encode`. Out: the rows to encode, a function that encodes them, and the caller's result.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from .arguments import (
    as_texts,
    batch_size_or_none,
    check_other_keywords,
    flag_or_none,
    named,
    positive_int_or_none,
    result_kind,
    text_argument,
)
from .loaded_model import LoadedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Prepared(NamedTuple):
    """A call that is ready to run."""

    rows: list[str]
    single: bool  # one text rather than many
    encode: partial[NDArray[Any]]  # the native `encode`: rows in, an array with a row for each out
    out: NDArray[np.float32] | None
    kind: str  # what the caller gets: "array", "tensor" or "tensors"

    def result(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """What the caller gets for the rows' vectors: an array, or the tensors that share its memory."""
        made = self.out if self.out is not None else vectors[0] if self.single else vectors
        if self.kind == "array":
            return made
        import torch

        tensor = torch.from_numpy(made)
        return cast("NDArray[Any]", list(tensor) if self.kind == "tensors" and not self.single else tensor)


class PreparedEncoding(LoadedModel):
    """A model that checks what it is asked to encode."""

    __slots__ = ()

    def _prepare(
        self,
        function: str,
        texts: object,
        other_keywords: dict[str, Any],
        out: NDArray[np.float32] | None,
        **options: Any,
    ) -> Prepared:
        """Checks a call of `function`; what is refused raises as `Embedder.encode` documents."""
        chosen = text_argument(function, texts, other_keywords)
        kind = result_kind(function, other_keywords)
        check_other_keywords(function, other_keywords, self.provider)
        rows, single = as_texts(chosen)
        encode = self._encoder(**options)
        if out is not None:
            if not isinstance(out, np.ndarray):
                raise TypeError(f"out is {type(out).__name__}; expected a NumPy array")
            # A vector with an axis in front is a view of it: the native side fills the caller's own memory.
            encode = partial(encode, out=out[None, :] if single and out.ndim == 1 else out)
        return Prepared(rows, single, encode, out, kind)

    def _encoder(
        self,
        prompt_name: str | None,
        prompt: str | None,
        batch_size: int | None,
        precision: str,
        normalize_embeddings: bool | None,
        truncate_dim: int | None,
        max_length: int | None,
    ) -> partial[NDArray[Any]]:
        """The native `encode` with checked arguments, ready for rows of texts."""
        return partial(
            self._encode_rows,
            prompt=self._prompts.choose(prompt, prompt_name),
            batch_size=batch_size_or_none(batch_size),
            normalize=flag_or_none("normalize_embeddings", normalize_embeddings),
            truncate_dim=positive_int_or_none("truncate_dim", truncate_dim),
            max_length=positive_int_or_none("max_length", max_length),
            precision="float32" if precision is None else named("precision", precision),
            on_truncate=self._on_truncate,
        )
