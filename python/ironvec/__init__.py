"""Text embeddings with a Rust core: exact, fast, no torch, no export step.

>>> from ironvec import Embedder
>>> Embedder("minilm").encode(["a text", "another"]).shape  # float32, input order kept
(2, 384)
"""

# Nothing is imported here beyond numpy and the native module: `import ironvec` costs little more than `import numpy`.
from ._core import ModelError, ProviderError, version
from .embedder import Embedder
from .validation_script import get_detailed_instruct, last_token_pool, normalize_embeddings

__version__ = version()

__all__ = [
    "Embedder",
    "ModelError",
    "ProviderError",
    "__version__",
    "get_detailed_instruct",
    "last_token_pool",
    "normalize_embeddings",
]
