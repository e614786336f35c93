"""Chroma: documents and queries in, float32 arrays out, by its `EmbeddingFunction`, which a collection remembers.

Importing this file registers it as "ironvec": a collection that was made with it opens in any process that has done so.
Source: chromadb/api/types.py, 1.5.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .named_model import ModelLike, NamedModel, needs

with needs("chromadb"):
    from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
    from chromadb.utils.embedding_functions import register_embedding_function


@register_embedding_function
class IronvecEmbeddingFunction(EmbeddingFunction[Documents]):
    """An embedding model for Chroma. Documents get the model's document prompt, query texts its query prompt.

    Args:
        model: A name or path, as `Embedder` takes it, or an `Embedder`; loaded at the first use, so that collections
            can be listed and opened without it.
        options: Keyword arguments of `Embedder`, except `token`.

    The collection's config holds name and options. Chroma itself refuses an empty list of texts (`ValueError`).
    """

    def __init__(self, model: ModelLike, options: Mapping[str, Any] | None = None) -> None:
        self._model = NamedModel(model, options)

    def __call__(self, input: Documents) -> Embeddings:
        return list(self._model.load().encode_document(input))

    def embed_query(self, input: Documents) -> Embeddings:
        return list(self._model.load().encode_query(input))

    @staticmethod
    def name() -> str:
        return "ironvec"

    def default_space(self) -> Space:
        return "cosine"

    def get_config(self) -> dict[str, Any]:
        return {"model": self._model.name, "options": self._model.options}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> IronvecEmbeddingFunction:
        return IronvecEmbeddingFunction(config["model"], config["options"])

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Refuses another model for vectors that are there already; a folder may have moved."""
        old, new = old_config["model"], new_config["model"]
        if old != new and not (os.path.isabs(old) and os.path.isabs(new)):
            raise ValueError(f"the collection holds vectors of {old!r}; those of {new!r} belong into one of its own")
