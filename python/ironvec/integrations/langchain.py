"""LangChain: texts in, lists of floats out, by its `Embeddings` interface.

Source: langchain_core/embeddings/embeddings.py, 1.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .named_model import ModelLike, NamedModel, encode_async, needs

with needs("langchain-core"):
    from langchain_core.embeddings import Embeddings


class IronvecEmbeddings(Embeddings):
    """An embedding model for LangChain. Documents get the model's document prompt, queries its query prompt.

    Args:
        model: A name or path, as `Embedder` takes it, or an `Embedder`. It is loaded here; errors as `Embedder`'s.
        options: Keyword arguments of `Embedder`, except `token`.

    It pickles by name and options, and any number of threads and event loops may use it.
    """

    def __init__(self, model: ModelLike, options: Mapping[str, Any] | None = None) -> None:
        self._model = NamedModel(model, options)
        self._model.load()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._model.load().encode_document(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self._model.load().encode_query(text).tolist()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return (await encode_async(self._model.load(), "document", texts)).tolist()

    async def aembed_query(self, text: str) -> list[float]:
        return (await encode_async(self._model.load(), "query", text)).tolist()
