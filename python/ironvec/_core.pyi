# The native module, written in Rust (src/python/). `ironvec.Embedder` documents what users see of it.
from collections.abc import Callable
from typing import Any, TypedDict, final, type_check_only

import numpy as np
from numpy.typing import NDArray

from .text_columns import TextColumns

__all__ = [
    "Embedder", "ModelError", "ProviderError", "cache_entries", "cache_folder", "graph_facts", "inspect",
    "model_facts", "model_types", "registry", "remove_cache_entry", "version", "weight_facts",
]  # fmt: skip

class ModelError(Exception):
    """A model file that is there but broken or unsupported: names the file and the field or tensor."""

class ProviderError(Exception):
    """An execution provider, or ONNX Runtime itself, that cannot be used: says what there is."""

@type_check_only
class RegistryEntry(TypedDict):
    hub_id: str
    dimension: int
    max_length: int | None
    """Tokens of a text that the model was made for. None: there is no limit."""
    parameters: int
    """How many numbers the weights are, roughly."""
    license: str | None
    """As the hub calls it. None: the model card names none."""
    package: str | None
    package_path: str | None
    pypi: str | None
    sha256: dict[str, str]
    """The published files' digests; a snapshot in the Hugging Face cache must have all of these files."""
    prompts: dict[str, str]

@type_check_only
class InspectedValue(TypedDict):
    """An input or output. A dimension is a number, the name of a dynamic one, or None where that has no name."""

    name: str
    dtype: str
    shape: list[int | str | None] | None

@type_check_only
class LargeInitializer(TypedDict):
    name: str
    shape: list[int]

@type_check_only
class Finding(TypedDict):
    """One thing said of `count` nodes of an operator; `example` is the name of one of them, or of its output."""

    op: str
    reason: str
    count: int
    example: str

@type_check_only
class Inspection(TypedDict):
    """What a graph is made of and what CoreML would take of it; JSON as it is.

    A graph goes in whole where `taken == nodes and partitions == 1`. Nodes in subgraphs are counted, constants are not;
    operators that are not ONNX's own have their domain before their name ("com.microsoft:RotaryEmbedding").
    """

    opsets: dict[str, int]
    inputs: list[InspectedValue]
    outputs: list[InspectedValue]
    ops: dict[str, int]
    nodes: int
    taken: int
    """Nodes that the provider takes and keeps: partitions of trivial operators only are given back."""
    share: float
    """taken / nodes"""
    partitions: int
    partition_sizes: list[int]
    refused: list[Finding]
    """Why the other nodes are not taken; the counts add up to nodes - taken."""
    cautions: list[Finding]
    """Nodes that are taken at a cost, or that compute something else than ONNX says."""
    unchecked: list[Finding]
    """Nodes counted as taken because ONNX Runtime lists their operator; under which conditions is not known here."""
    max_rank: int
    dynamic_values: int
    unknown_shapes: int
    symbols: list[str]
    """Names of the inputs' dynamic dimensions."""
    large_initializers: list[LargeInitializer]
    """Those with a dimension over 16384."""

def inspect(
    path: str,
    *,
    runtime_dirs: list[str],
    dimensions: dict[str, int] | None = None,
    shapes: dict[str, list[int]] | None = None,
    static_shapes: bool = True,
) -> Inspection:
    """Inspects an ONNX file; `ironvec.inspection.inspect` documents the arguments."""

@type_check_only
class Amount(TypedDict):
    """How much is of one type."""

    tensors: int
    numbers: int
    bytes: int

@type_check_only
class ExternalData(TypedDict):
    """A file that holds tensors of a graph."""

    tensors: int
    bytes_needed: int
    """Where the last of them ends."""

@type_check_only
class GraphFacts(TypedDict):
    """What an ONNX file says of itself, as declared; ONNX Runtime is not asked."""

    ir_version: int
    producer: str
    opsets: dict[str, int]
    inputs: list[InspectedValue]
    outputs: list[InspectedValue]
    ops: dict[str, int]
    nodes: int
    weights: dict[str, Amount]
    """Constant tensors by type, those in subgraphs included."""
    external_data: dict[str, ExternalData]
    """Locations as the file gives them; none is opened."""

def graph_facts(path: str) -> GraphFacts:
    """Reads an ONNX file's headers, stepping over its weights."""

@type_check_only
class ModelFacts(TypedDict):
    """What a model's files say of it; `ironvec.model_report.ModelReport` documents the fields."""

    runs_from: str
    path: str
    tokenizer_folder: str
    dimension: int | None
    layers: int | None
    pooling: list[str]
    include_prompt: bool
    normalize: bool
    max_length: int | None
    vocabulary: int | None
    lowercase: bool
    prompts: dict[str, str]
    default_prompt_name: str | None
    similarity: str

def model_facts(folder: str, file_name: str | None = None) -> ModelFacts:
    """Reads a model folder, or the ONNX file in it, up to the tokenizer; refuses what is not run, as loading does."""

@type_check_only
class WeightFacts(TypedDict):
    files: list[str]
    weights: dict[str, Amount]

def weight_facts(folder: str) -> WeightFacts:
    """Reads the headers of a folder's safetensors or `pytorch_model.bin` files."""

def model_types() -> list[str]:
    """The `model_type`s of config.json that run from their checkpoints."""

def registry() -> dict[str, RegistryEntry]:
    """models/registry.toml, compiled in: alias to entry."""

def version() -> str:
    """The crate's version, which is the package's."""

@type_check_only
class CacheEntry(TypedDict):
    """What CoreML's cache keeps for one model in one dtype."""

    name: str
    folder: str
    model: str
    """The checkpoint's folder; empty where the entry does not say."""
    dtype: str
    bytes: int
    used: float
    """When a process last opened it, in seconds since the epoch."""
    in_use: bool

def cache_folder() -> str | None:
    """Where the cache is, whether it exists or not. None: nothing names a place."""

def cache_entries() -> list[CacheEntry]:
    """What is in the cache, the entry used last first."""

def remove_cache_entry(name: str) -> bool:
    """Removes an entry. False: a process has it open, or it is not there."""

@final
class Embedder:
    """One loaded model. Any number of threads may call it; it must not be called in a forked child."""

    def __new__(
        cls,
        folder: str,
        *,
        runtime_dirs: list[str],
        provider: str = "auto",
        dtype: str = "float32",
        max_length: int | None = None,
        truncate_dim: int | None = None,
        threads: int | None = None,
        file_name: str | None = None,
        prompt_cache: bool = True,
        memory_map: bool = True,
        memory: str = "fast",
    ) -> Embedder: ...
    @property
    def dimension(self) -> int: ...
    @property
    def max_length(self) -> int: ...
    @property
    def provider(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def pooling(self) -> str: ...
    @property
    def normalize(self) -> bool: ...
    @property
    def prompts(self) -> dict[str, str]: ...
    @property
    def default_prompt_name(self) -> str | None: ...
    @property
    def similarity_fn_name(self) -> str: ...
    def encode(
        self,
        texts: list[str] | TextColumns,
        *,
        prompt: str | None = None,
        batch_size: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        max_length: int | None = None,
        precision: str = "float32",
        out: NDArray[np.float32] | None = None,
        on_truncate: str = "ignore",
        progress: Callable[[int], object] | None = None,
    ) -> NDArray[Any]: ...
    def token_rows(self, texts: list[str], max_length: int | None = None) -> list[list[int]]: ...
    def count_tokens(self, texts: list[str]) -> NDArray[np.int64]: ...
    def export(
        self,
        path: str,
        *,
        flavour: str = "cpu",
        length: int | None = None,
        batch: int | None = None,
        dtype: str = "float32",
    ) -> list[str]: ...
    def device_report(self) -> dict[str, object]: ...
