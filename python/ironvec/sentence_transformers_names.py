"""Names by which sentence-transformers' users and tools ask for what an `Embedder` has.

In and out: as there, except where `docs/sentence_transformers.md` says otherwise; what has no counterpart is an
`AttributeError` that says what to use instead. Torch is never imported here: who passes tensors has it.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

from .loaded_model import LoadedModel
from .similarity import pair_scores, score_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from .arguments import TextsLike

_TRAINING = "an Embedder computes vectors and does not train: train with sentence-transformers, then load the folder"
_SAVING = "the model's files are where they were loaded from; export() writes an ONNX file"
_PROVIDER = "where it runs is chosen at load: Embedder(..., provider=...)"
_DTYPE = "what it computes in is chosen at load: Embedder(..., dtype=...)"
_STATE = "an Embedder has one state, that of eval(): leave the call out"
_MODULES = "there are no torch modules; inspect() and device_report() tell what the model is made of"
_TOKENS = "tokenize(texts) gives token ids, count_tokens(texts) how many they are"
_TRUNCATE = "pass truncate_dim= to Embedder or to encode"

# What sentence-transformers has and an Embedder has not, and what to do instead.
INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(("to", "cuda", "cpu"), _PROVIDER),
    **dict.fromkeys(("half", "float", "double", "bfloat16"), _DTYPE),
    **dict.fromkeys(("eval", "train", "requires_grad_", "compile", "share_memory"), _STATE),
    **dict.fromkeys(
        ("parameters", "named_parameters", "modules", "state_dict", "load_state_dict", "forward"), _MODULES
    ),
    **dict.fromkeys(("transformers_model", "config", "get_model_kwargs", "clear_placement_cache"), _MODULES),
    **dict.fromkeys(("tokenizer", "processor", "preprocess", "get_sentence_features"), _TOKENS),
    **dict.fromkeys(("truncate_dim", "truncate_embeddings", "truncate_sentence_embeddings"), _TRUNCATE),
    **dict.fromkeys(("fit", "old_fit", "smart_batching_collate", "gradient_checkpointing_enable", "merge"), _TRAINING),
    **dict.fromkeys(("add_adapter", "load_adapter", "set_adapter", "enable_adapters", "disable_adapters"), _TRAINING),
    **dict.fromkeys(("delete_adapter", "active_adapter", "active_adapters", "get_adapter_state_dict"), _TRAINING),
    **dict.fromkeys(("save", "save_pretrained", "save_to_hub", "push_to_hub"), _SAVING),
    "load": "Embedder(path) loads a folder",
    "evaluate": "evaluator(model) does the same",
    "get_backend": "device_report() tells what runs the model",
    "backend": "device_report() tells what runs the model",
    "modalities": "an Embedder takes texts",
    "supports": "an Embedder takes texts",
    "is_singular_input": "one str is one text, all else is many",
    "set_pooling_include_prompt": 'the checkpoint\'s own "include_prompt" holds',
}


class NoModelCard:
    """To whom sentence-transformers' evaluators tell their metrics. There is no card: nothing is kept."""

    def __init__(self, base_model: str) -> None:
        self.base_model = base_model

    def set_evaluation_metrics(self, evaluator: object, metrics: object, epoch: int = 0, step: int = 0) -> None:
        """Keeps nothing; the evaluator returns its metrics."""


class NoProcesses(dict[str, Any]):
    """A pool of no processes, for code that starts one."""


class SentenceTransformersNames(LoadedModel):
    """What `Embedder` has for the sake of code written for a SentenceTransformer."""

    __slots__ = ()

    if TYPE_CHECKING:

        def encode(self, *arguments: Any, **keywords: Any) -> NDArray[Any]: ...

    def similarity(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """Scores of every row of `a` against every row of `b`.

        By the checkpoint's own function, cosine unless it says otherwise; distances are negated, so that more is
        always more similar.

        Args:
            a: float array of shape (rows, dimension) or (dimension,); a torch tensor in CPU memory too.
            b: the same, with the same dimension.

        Returns:
            float32, shape (rows of a, rows of b); a torch tensor where `a` or `b` is one.

        Raises:
            ValueError: The dimensions differ, or an array has more than two axes.
        """
        return _as_given(score_matrix(a, b, self.similarity_fn_name), a, b)

    def similarity_pairwise(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """Scores of row i of `a` against row i of `b`, by the same function as `similarity`.

        Returns:
            float32, shape (rows,); a torch tensor where `a` or `b` is one.

        Raises:
            ValueError: The shapes differ.
        """
        return _as_given(pair_scores(a, b, self.similarity_fn_name), a, b)

    @property
    def similarity_fn_name(self) -> str:
        """What `similarity` computes: "cosine", "dot", "euclidean" or "manhattan"."""
        return self._loaded[1].similarity_fn_name

    @property
    def default_prompt_name(self) -> str | None:
        """The prompt that `encode` uses where it is told none."""
        return self._prompts.default_name

    def get_embedding_dimension(self) -> int:
        """`dimension`."""
        return self.dimension

    def get_sentence_embedding_dimension(self) -> int:
        """`dimension`."""
        return self.dimension

    def get_max_seq_length(self) -> int:
        """`max_length`."""
        return self.max_length

    @property
    def max_seq_length(self) -> int:
        """`max_length`. It cannot be set: pass `max_length=` to the constructor or to `encode`."""
        return self.max_length

    @max_seq_length.setter
    def max_seq_length(self, value: object) -> NoReturn:
        raise AttributeError(
            f"max_seq_length cannot be set: Embedder(..., max_length={value!r}) or encode(..., max_length={value!r})"
        )

    @property
    def device(self) -> Any:
        """Where torch would say that the model is: "cuda" with that provider, else "cpu".

        A `torch.device` where torch has been imported, else a str. Vectors are in CPU memory, tensors too.
        """
        name = "cuda" if self.provider == "cuda" else "cpu"
        torch = sys.modules.get("torch")
        return name if torch is None else torch.device(name)

    @property
    def model_card_data(self) -> NoModelCard:
        """What evaluators tell their metrics to, which keeps nothing."""
        return NoModelCard(self.model_id)

    def start_multi_process_pool(self, target_devices: Sequence[str] | None = None) -> NoProcesses:
        """Starts nothing, and warns of it: one call of `encode` uses every core already.

        Raises:
            ValueError: `target_devices` names another device than the one this model runs on.
        """
        for device in target_devices or ():
            if str(device) not in (self.provider, f"{self.provider}:0"):
                raise ValueError(
                    f"target_devices names {device!r}, but this Embedder runs on {self.provider!r}, in one process; "
                    "for several devices, load one Embedder in a process for each"
                )
        warnings.warn("one process with all cores already: no pool is started, encode needs none", stacklevel=2)
        return NoProcesses(input=None, output=None, processes=[])

    @staticmethod
    def stop_multi_process_pool(pool: Mapping[str, Any]) -> None:
        """Nothing to stop."""

    def encode_multi_process(
        self,
        sentences: TextsLike,
        pool: Mapping[str, Any] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        chunk_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: str = "float32",
        normalize_embeddings: bool | None = None,
        truncate_dim: int | None = None,
    ) -> NDArray[Any]:
        """`encode`, in this process with all its cores. `chunk_size`, texts sent to a process at a time, has no use."""
        return self.encode(
            sentences, prompt_name, prompt, batch_size, show_progress_bar, pool=pool, precision=precision,
            normalize_embeddings=normalize_embeddings, truncate_dim=truncate_dim,
        )  # fmt: skip

    def __call__(self, *arguments: object, **keywords: object) -> NoReturn:
        """Raises `TypeError`: a SentenceTransformer's forward pass over features has no counterpart."""
        raise TypeError(f"{type(self).__name__} is called by its methods: encode(texts) gives the vectors")

    if not TYPE_CHECKING:  # checkers would take any name for one that is there

        def __getattr__(self, name: str) -> NoReturn:
            """Asked only for what is not there."""
            told = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(f"{told}; {INSTEAD[name]}" if name in INSTEAD else told, name=name, obj=self)


def _as_given(scores: NDArray[np.float32], *given: object) -> NDArray[np.float32]:
    torch = sys.modules.get("torch")
    if torch is None or not any(isinstance(one, torch.Tensor) for one in given):
        return scores
    tensor: NDArray[np.float32] = torch.from_numpy(scores)
    return tensor
