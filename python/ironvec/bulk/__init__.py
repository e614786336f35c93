"""Files of texts in, a file of vectors out: bulk embedding that survives a kill. Imported only when asked for.

>>> from ironvec.bulk import embed_files
>>> embed_files(["texts.jsonl"], "vectors.npy", "minilm").rows
20000
"""

from .finishing import Summary
from .job import embed_files
from .refusal import InUse, Refused, RowRejected

__all__ = ["InUse", "Refused", "RowRejected", "Summary", "embed_files"]
