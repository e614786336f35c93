"""A model held in memory: found, loaded, described, rebuilt where a process needs its own.

In: the constructor's arguments. Out: the native object and what the checkpoint says of itself. `Embedder` adds the
encoding and documents the arguments.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from . import _core
from .arguments import TextsLike, as_texts, flag_or_none, named, positive_int_or_none
from .hub_cache import hub_cache
from .prompts import Prompts, checked_prompts
from .resolve import onnx_name, onnxruntime_dirs, resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .gathering import Gatherer
    from .text_columns import TextColumns

_Model = TypeVar("_Model", bound="LoadedModel")


class LoadedModel:
    """One checkpoint, loaded. Any number of threads may use it."""

    # Slots, so that setting what does not exist (`model.max_seq_length = 512`) is an error and not ignored.
    __slots__ = (
        "__weakref__", "_arguments", "_gatherers", "_loaded", "_model_id", "_native_arguments", "_on_truncate",
        "_prompts",
    )  # fmt: skip

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        provider: str = "auto",
        dtype: str = "float32",
        max_length: int | None = None,
        truncate_dim: int | None = None,
        threads: int | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        file_name: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        on_truncate: str = "ignore",
        prompt_cache: bool = True,
        memory_map: bool = True,
        memory: str = "fast",
    ) -> None:
        if on_truncate not in ("ignore", "warn", "error"):
            raise ValueError(f'on_truncate={on_truncate!r}; expected "ignore", "warn" or "error"')
        chosen_file = onnx_name(file_name)
        keeps_prompts = flag_or_none("prompt_cache", prompt_cache)
        maps_weights = flag_or_none("memory_map", memory_map)
        own_prompts = checked_prompts(prompts)
        self._on_truncate = on_truncate
        # By process: what coroutines wait for (async_encoding.py).
        self._gatherers: dict[int, Gatherer] = {}
        resolved = resolve(
            model, revision=revision, cache_dir=cache_dir, file_name=chosen_file, local_files_only=local_files_only,
            token=token,
        )  # fmt: skip
        # The token stays out of the pickle, which may end up in a file; paths are absolute, wherever it is unpickled.
        self._arguments = (
            model if resolved.by_name else resolved.folder,
            {
                "provider": provider, "dtype": dtype, "max_length": max_length, "truncate_dim": truncate_dim,
                "threads": threads, "prompts": own_prompts, "default_prompt_name": default_prompt_name,
                "file_name": file_name, "revision": revision,
                "cache_dir": None if cache_dir is None else hub_cache(cache_dir),
                "local_files_only": local_files_only, "on_truncate": on_truncate, "prompt_cache": prompt_cache,
                "memory_map": memory_map, "memory": memory,
            },
        )  # fmt: skip
        self._model_id = resolved.model_id
        self._native_arguments: dict[str, Any] = {
            "folder": resolved.folder, "runtime_dirs": onnxruntime_dirs(),
            "provider": named("provider", provider), "dtype": named("dtype", dtype),
            "max_length": positive_int_or_none("max_length", max_length),
            "truncate_dim": positive_int_or_none("truncate_dim", truncate_dim),
            "threads": positive_int_or_none("threads", threads), "file_name": chosen_file,
            # None, as elsewhere, is the default.
            "prompt_cache": keeps_prompts is not False, "memory_map": maps_weights is not False,
            "memory": "fast" if memory is None else named("memory", memory),
        }  # fmt: skip
        native = _load(self._native_arguments)
        self._loaded = (os.getpid(), native)
        self._prompts = Prompts(
            registry=resolved.prompts,
            checkpoint=native.prompts,
            checkpoint_default=native.default_prompt_name,
            caller=own_prompts,
            caller_default=default_prompt_name,
        )

    @overload
    def tokenize(self, text: str) -> list[int]: ...  # type: ignore[overload-overlap] # a str is an iterable of str
    @overload
    def tokenize(self, text: Iterable[str]) -> list[list[int]]: ...
    def tokenize(self, text: TextsLike) -> list[int] | list[list[int]]:
        """The token ids of a text as the model sees them: special tokens added, cut at `max_length`, no prompt.

        Returns:
            A list of ids for a str; one such list per text for a sequence.
        """
        rows, single = as_texts(text)
        ids = self._native().token_rows(rows, None)
        return ids[0] if single else ids

    def count_tokens(self, texts: TextsLike) -> NDArray[np.int64]:
        """How many tokens each text has, special tokens included, before any cut.

        Returns:
            int64, shape (texts,); shape () for a str.
        """
        rows, single = as_texts(texts)
        counts = self._native().count_tokens(rows)
        return counts.reshape(()) if single else counts

    def export(
        self,
        path: str | os.PathLike[str],
        flavour: str = "cpu",
        *,
        length: int | None = None,
        batch: int | None = None,
        dtype: str = "float32",
    ) -> list[str]:
        """Writes the model's graph with all its weights as an ONNX file that stock ONNX Runtime runs.

        Files are written under temporary names and renamed; up to 256 MB of weights go into the file itself, more into
        `NAME.onnx_data_KEY` beside it, whose KEY no other weights have. Over an earlier export, the graph is replaced
        last and the earlier data removed after, so that nobody reads a mix. Tokenizer, truncation and normalisation
        stay out: the output `pooled` is (batch, pooled vectors, hidden size). For other programs: an Embedder reads the
        checkpoint itself.

        Args:
            path: Where to; a name that ends in ".onnx", in a folder that is there.
            flavour: "cpu": float32 whatever the model computes in, any batch and length, in ONNX Runtime's fused
                operators; `input_ids` in, for BERT `attention_mask` (int32, 1 for a token), and, as the pooling needs
                them, `pool_weights` (batch, vectors, length: each token's weight) and `pool_bias`; Qwen3's further
                inputs are described in `src/graph/mod.rs`. "coreml": only what
                the CoreML provider takes, of fixed batch and length; `inputs_embeds` in (the embedding table's rows;
                for BERT the sum of word, position and type embeddings, before their LayerNorm), zeros in the padding,
                and, as the model needs them, `mask_bias` (0 for a token, -1e4 for padding), `pool_w` (each token's
                weight in each pooled vector), `pool_bias` (0 or -1e4, for max pooling).
            length: Tokens of a row, for "coreml". None: `max_length`, at most 512.
            batch: Rows of a run, for "coreml". None: 1.
            dtype: What "coreml" holds, takes and gives: "float32" or "float16".

        Returns:
            The files written: the graph, and its data file if there is one.

        Raises:
            FileNotFoundError: No such folder.
            OSError: The file cannot be written.
            ModelError: The model is an ONNX file already.
            ValueError: Another flavour or dtype, a length or batch out of range, or one for "cpu".
        """
        return self._native().export(
            os.fspath(path),
            flavour=named("flavour", flavour),
            length=positive_int_or_none("length", length),
            batch=positive_int_or_none("batch", batch),
            dtype=named("dtype", dtype),
        )

    def device_report(self) -> dict[str, object]:
        """What runs the model, and how.

        Returns:
            "provider", "dtype", "threads"; "kernels", whose they are: "onnxruntime", "onnxruntime, attention avx2" (or
            "avx512"), or for all of it "amx", "avx512", "avx2", "portable", of int8 also "amx-int8", "avx512-vnni",
            "avx2-vnni"; "nodes" of the graph that ironvec wrote (None for an ONNX file of others), "nodes_placed" on
            the provider and in how many "partitions" (None with CUDA, which leaves nodes that compute shapes to the
            CPU); "buckets", the lengths that CoreML's rows are padded to (longer ones are a `ValueError`; empty where
            any length runs), and "open_buckets"; "cache_folder", which holds CoreML's weights and compiled models;
            "available_providers"; "runtime_version", "runtime_library", "runtime_build" of ONNX Runtime;
            "runtime_packages", the installed packages that share its folder: more than one overwrite each other.
        """
        from .runtime_packages import runtime_packages

        return {**self._native().device_report(), "runtime_packages": runtime_packages()}

    @property
    def dimension(self) -> int:
        """Components of a vector, after the constructor's `truncate_dim`."""
        return self._loaded[1].dimension

    @property
    def max_length(self) -> int:
        """Tokens per text, special tokens included, at which texts are cut."""
        return self._loaded[1].max_length

    @property
    def model_id(self) -> str:
        """The hub id of a model found by name, or the folder it was loaded from."""
        return self._model_id

    @property
    def provider(self) -> str:
        """What runs the graph: "cpu", "cuda" or "coreml"."""
        return self._loaded[1].provider

    @property
    def dtype(self) -> str:
        """What it computes in: "float32", "bfloat16", "int8" or "float16"."""
        return self._loaded[1].dtype

    @property
    def prompts(self) -> dict[str, str]:
        """Prompt name to text, a copy. "query" and "document" are always there, empty where the model has none."""
        return self._prompts.all()

    @property
    def pooling(self) -> str:
        """How token vectors become one: "mean", "cls", "max", "lasttoken", ..., as the checkpoint says."""
        return self._loaded[1].pooling

    @property
    def normalize(self) -> bool:
        """Whether vectors are scaled to L2 norm 1 where `encode` is not told otherwise."""
        return self._loaded[1].normalize

    def __repr__(self) -> str:
        fields = ("dimension", "max_length", "provider", "dtype", "pooling", "normalize")
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in fields)
        return f"{type(self).__name__}({self._model_id!r}, {values})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_arguments, (type(self), *self._arguments), self.__getstate__()

    def __getstate__(self) -> Any:
        """What a subclass added, in its instances' dictionary and slots; the model itself is loaded anew."""
        added = {
            name: getattr(self, name)
            for kind in type(self).__mro__
            if issubclass(kind, LoadedModel) and kind is not LoadedModel
            for name, member in vars(kind).items()
            if isinstance(member, MemberDescriptorType) and hasattr(self, name)
        }
        dictionary = getattr(self, "__dict__", None)
        return (dictionary, added) if added else dictionary  # as pickle and copy take them apart

    def _encode_rows(self, rows: list[str] | TextColumns, **checked: Any) -> NDArray[Any]:
        """The native `encode`, looked up at each call: what is bound to one process must not outlive a fork."""
        return self._native().encode(rows, **checked)

    def _native(self) -> _core.Embedder:
        """The native object of this process."""
        process, native = self._loaded
        if process != os.getpid():
            # The inherited one has no threads left to compute with. Two threads of the child may both rebuild: each
            # gets a whole object, and one of them stays.
            native = _load(self._native_arguments)
            self._loaded = (os.getpid(), native)
        return native


def _load(arguments: dict[str, Any]) -> _core.Embedder:
    # ONNX Runtime's wheels report usage to their maker unless told otherwise before they are loaded, from a thread that
    # also keeps a forked child from ending. Who wants that sets the variable to 0.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return _core.Embedder(**arguments)
    except _core.ProviderError as error:
        from .runtime_packages import advice

        told = advice(arguments["provider"], str(error))
        if told is None:
            raise
        raise _core.ProviderError(f"{error}. {told}") from error


def _from_arguments(cls: type[_Model], model: str | os.PathLike[str], keywords: dict[str, Any]) -> _Model:
    # Not `cls(...)`: a subclass's constructor may take other arguments. What it made of them is in the pickle.
    made = cls.__new__(cls)
    LoadedModel.__init__(made, model, **keywords)
    return made
