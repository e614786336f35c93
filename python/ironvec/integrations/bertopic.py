"""BERTopic: documents and words in, an array of vectors out, as a backend of its own.

BERTopic takes an object that it does not know, an `Embedder` too, for none and loads a default model instead, without a
word: hence this class, built on its `BaseEmbedder`. Source: bertopic/backend/_base.py and _utils.py, 0.17.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .named_model import ModelLike, NamedModel, needs

with needs("bertopic"):
    from bertopic.backend import BaseEmbedder

if TYPE_CHECKING:
    from numpy.typing import NDArray


class IronvecBackend(BaseEmbedder):
    """An embedding model for BERTopic: `BERTopic(embedding_model=IronvecBackend("minilm"))`.

    Args:
        model: A name or path, as `Embedder` takes it, or an `Embedder`. It is loaded here; errors as `Embedder`'s.
        options: Keyword arguments of `Embedder`, except `token`. Documents and words are compared with each other, so
            both get the default prompt: `{"default_prompt_name": "clustering"}` where the model has one for this.

    It pickles by name and options.
    """

    def __init__(self, model: ModelLike, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._model = NamedModel(model, options)
        self._model.load()

    def embed(self, documents: list[str], verbose: bool = False) -> NDArray[Any]:
        return self._model.load().encode(documents, show_progress_bar=verbose)
