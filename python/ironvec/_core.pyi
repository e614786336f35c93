# The native module, written in Rust (src/python/). `ironvec.Embedder` documents what users see of it.
from collections.abc import Callable
from typing import Any, TypedDict, final, type_check_only

import numpy as np
from numpy.typing import NDArray

__all__ = ["Embedder", "ModelError", "ProviderError", "registry", "version"]

class ModelError(Exception):
    """A model file that is there but broken or unsupported: names the file and the field or tensor."""

class ProviderError(Exception):
    """An execution provider, or ONNX Runtime itself, that cannot be used: says what there is."""

@type_check_only
class RegistryEntry(TypedDict):
    hub_id: str
    files: list[str]
    package: str | None
    package_path: str | None
    pypi: str | None
    sha256: dict[str, str]
    prompts: dict[str, str]

def registry() -> dict[str, RegistryEntry]:
    """models/registry.toml, compiled in: alias to entry."""

def version() -> str:
    """The crate's version, which is the package's."""

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
        texts: list[str],
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
