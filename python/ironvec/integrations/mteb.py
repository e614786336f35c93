"""mteb: its `EncoderProtocol`, so that an `Embedder` can be benchmarked.

In: mteb's loaders of texts; out: NumPy arrays, and scores as torch tensors, which its evaluators compute with.
Source: mteb/models/models_protocols.py and sentence_transformer_wrapper.py, 2.26.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .named_model import ModelLike, NamedModel, needs

with needs("mteb"):
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder, get_prompt_name
    from mteb.types import PromptType

if TYPE_CHECKING:
    from numpy.typing import NDArray


class IronvecEncoder(AbsEncoder):
    """An embedding model for `mteb.evaluate`.

    A prompt of the model that is named after the task, or its type, is used before those for queries and documents, in
    mteb's order. Texts of tasks without the two get the default prompt.

    Args:
        model_name: A name or path, as `Embedder` takes it, or an `Embedder`. It is loaded here; errors as `Embedder`'s.
        revision: As in `Embedder`.
        device: A provider's name, as in `Embedder`; None: "auto".
        options: Further keyword arguments of `Embedder`, except `token`.
    """

    def __init__(
        self,
        model_name: ModelLike,
        revision: str | None = None,
        *,
        device: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        asked = {"revision": revision, "provider": device}
        chosen = {**(options or {}), **{name: value for name, value in asked.items() if value is not None}}
        named = NamedModel(model_name, chosen)
        self.model = named.load()
        # mteb files results under "organization/name", and takes those that it finds there for this model's.
        name = "ironvec/" + named.name.replace(os.sep, "/").strip("/").replace("/", "__")
        self.mteb_model_meta = ModelMeta.create_empty(
            overwrites={
                "name": name, "revision": revision, "framework": ["ONNX"], "embed_dim": self.model.dimension,
                "max_tokens": self.model.max_length, "loader": type(self), "experiment_kwargs": named.options or None,
            }
        )  # fmt: skip

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> NDArray[Any]:
        texts = [text for batch in inputs for text in batch["text"]]
        # An empty prompt is one that the model does not have; documents' may go by another name then.
        prompts = {name: prompt for name, prompt in self.model.prompts.items() if prompt}
        roles = {PromptType.query: self.model.encode_query, PromptType.document: self.model.encode_document}
        encode = roles.get(prompt_type, self.model.encode)
        return encode(texts, prompt_name=get_prompt_name(prompts, task_metadata, prompt_type), **kwargs)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        return self._as_tensor(self.model.similarity(embeddings1, embeddings2))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        return self._as_tensor(self.model.similarity_pairwise(embeddings1, embeddings2))

    @staticmethod
    def _as_tensor(scores: Any) -> Any:
        # The protocol's word, and more than a word: the summarization evaluator takes float() of a (1, 1) score.
        import torch

        return torch.as_tensor(scores)
