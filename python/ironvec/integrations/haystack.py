"""Haystack: a component that embeds a query, and one that embeds documents.

In: a text, or documents; out: its vector, or copies of the documents that hold theirs. Refuses the one for the other.
Source: haystack/components/embedders/types/protocol.py, 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .named_model import ModelLike, NamedModel, encode_async, needs

with needs("haystack-ai"):
    from haystack import Document, component, default_to_dict

if TYPE_CHECKING:
    from numpy.typing import NDArray


@component
class IronvecTextEmbedder:
    """Embeds a query, with the model's query prompt.

    Args:
        model: A name or path, as `Embedder` takes it, or an `Embedder`; loaded by `warm_up` or at the first run.
        options: Keyword arguments of `Embedder`, except `token`.
    """

    def __init__(self, model: ModelLike, options: Mapping[str, Any] | None = None) -> None:
        self._model = NamedModel(model, options)

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(self, model=self._model.name, options=self._model.options)

    def warm_up(self) -> None:
        self._model.load()

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        return {"embedding": self._model.load().encode_query(_checked(text)).tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        return {"embedding": (await encode_async(self._model.load(), "query", _checked(text))).tolist()}


@component
class IronvecDocumentEmbedder:
    """Embeds the content of documents, with the model's document prompt. The documents given stay as they are.

    Args:
        model, options: As in `IronvecTextEmbedder`; both share one loaded model where these are equal.
        meta_fields_to_embed: Fields of the documents' metadata that are put before the content, where they are there.
        embedding_separator: What stands between them and the content.
    """

    def __init__(
        self,
        model: ModelLike,
        options: Mapping[str, Any] | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
    ) -> None:
        self._model = NamedModel(model, options)
        self._fields, self._separator = list(meta_fields_to_embed or []), embedding_separator

    def to_dict(self) -> dict[str, Any]:
        kept = {"meta_fields_to_embed": self._fields, "embedding_separator": self._separator}
        return default_to_dict(self, model=self._model.name, options=self._model.options, **kept)

    def warm_up(self) -> None:
        self._model.load()

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        return _embedded(documents, self._model.load().encode_document(self._texts(documents)))

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        return _embedded(documents, await encode_async(self._model.load(), "document", self._texts(documents)))

    def _texts(self, documents: object) -> list[str]:
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise TypeError("documents is not a list of Document; IronvecTextEmbedder embeds a str")
        return [
            self._separator.join([*_values(document.meta, self._fields), document.content or ""])
            for document in documents
        ]


def _checked(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"text is {type(text).__name__}, not str; IronvecDocumentEmbedder embeds documents")
    return text


def _values(meta: Mapping[str, Any], fields: list[str]) -> list[str]:
    return [str(meta[field]) for field in fields if meta.get(field) is not None]


def _embedded(documents: list[Document], vectors: NDArray[Any]) -> dict[str, Any]:
    rows = zip(documents, vectors.tolist(), strict=True)
    return {"documents": [replace(document, embedding=vector) for document, vector in rows]}
