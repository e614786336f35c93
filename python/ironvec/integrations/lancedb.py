"""LanceDB: source columns and queries in, vectors out, by its `TextEmbeddingFunction`, which a table remembers.

Importing this file registers it as "ironvec": a table that was made with it opens in any process that has done so.
Source: lancedb/embeddings/base.py, 0.40.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .named_model import ModelLike, NamedModel, needs

with needs("lancedb"):
    from lancedb.embeddings import TextEmbeddingFunction, register
    from pydantic import ConfigDict, Field, PrivateAttr


@register("ironvec")
class IronvecEmbeddings(TextEmbeddingFunction):
    """An embedding model for LanceDB, made by `create`.

    Texts of source columns get the model's document prompt, queries its query prompt; a null text has a null vector.
    The table's metadata holds name and options. Any number of threads may use it.
    """

    # An argument that is not here would be dropped, and kept in the table's metadata.
    model_config = ConfigDict(extra="forbid")

    model: str
    options: dict[str, Any] = Field(default_factory=dict)
    # LanceDB's own is 7, over minutes: a service may be back by then, a model in the process fails again.
    max_retries: int = 0
    _model: NamedModel = PrivateAttr()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._model = NamedModel(self.model, self.options)

    @classmethod
    def create(cls, model: ModelLike, options: Mapping[str, Any] | None = None, **settings: Any) -> IronvecEmbeddings:
        """What `get_registry().get("ironvec").create(...)` calls.

        Args:
            model: A name or path, as `Embedder` takes it, or an `Embedder`; loaded at the first use.
            options: Keyword arguments of `Embedder`, except `token`.
            **settings: `max_retries`.
        """
        named = NamedModel(model, options)
        return super().create(model=named.name, options=named.options, **settings)

    def ndims(self) -> int:
        return self._model.load().dimension

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return list(self._model.load().encode_query(self.sanitize_input(query)))

    def generate_embeddings(self, texts: Iterable[str | None], *args: Any, **kwargs: Any) -> list[Any]:
        rows = list(texts)
        vectors = iter(self._model.load().encode_document([text for text in rows if text is not None]))
        return [None if text is None else next(vectors) for text in rows]

    def __hash__(self) -> int:
        # LanceDB's own hashes every field, and a dict has no hash.
        return hash(self.model)
