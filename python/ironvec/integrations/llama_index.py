"""LlamaIndex: queries and nodes in, lists of floats out, by its `BaseEmbedding`.

Source: llama_index/core/base/embeddings/base.py, 0.14.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .named_model import ModelLike, NamedModel, encode_async, needs

with needs("llama-index-core"):
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr


class IronvecEmbedding(BaseEmbedding):
    """An embedding model for LlamaIndex. Texts get the model's document prompt, queries its query prompt.

    Args:
        model_name: A name or path, as `Embedder` takes it, or an `Embedder`. It is loaded here; errors as `Embedder`'s.
        options: Keyword arguments of `Embedder`, except `token`.
        **settings: Those of `BaseEmbedding`: `embed_batch_size`, `callback_manager`, `num_workers`, ...

    `to_dict` and pickle hold name and options. Any number of threads and event loops may use it.
    """

    # LlamaIndex's own is 10 texts; batches are planned within each call, so calls want many.
    embed_batch_size: int = Field(default=512, gt=0, le=2048, description="Texts handed over at a time.")
    options: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of ironvec.Embedder.")
    _model: NamedModel = PrivateAttr()

    def __init__(self, model_name: ModelLike, options: Mapping[str, Any] | None = None, **settings: Any) -> None:
        model = NamedModel(model_name, options)
        model.load()
        super().__init__(model_name=model.name, options=model.options, **settings)
        self._model = model

    @classmethod
    def class_name(cls) -> str:
        return "IronvecEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._model.load().encode_query(query).tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._model.load().encode_document(text).tolist()

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._model.load().encode_document(texts).tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await encode_async(self._model.load(), "query", query)).tolist()

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await encode_async(self._model.load(), "document", text)).tolist()

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return (await encode_async(self._model.load(), "document", texts)).tolist()
