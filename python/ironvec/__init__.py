"""Text embeddings with a Rust core: exact, fast, no torch, no export step.

>>> from ironvec import Embedder
>>> Embedder("minilm").encode(["a text", "another"]).shape  # float32, input order kept
(2, 384)
"""

# Nothing is imported here beyond numpy and the native module: `import ironvec` costs little more than `import numpy`.
from ._core import ModelError, ProviderError, version
from .embedder import Embedder
from .validation_script import get_detailed_instruct, last_token_pool, normalize_embeddings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .model_report import inspect

__version__ = version()

__all__ = [
    "Embedder",
    "ModelError",
    "ProviderError",
    "__version__",
    "get_detailed_instruct",
    "inspect",
    "last_token_pool",
    "normalize_embeddings",
]


def __getattr__(name: str) -> object:
    # What few programs use is imported when it is asked for.
    if name == "inspect":
        from .model_report import inspect

        return inspect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
