"""An iterator of texts in, arrays of their vectors out: what `Embedder.encode_iter` returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encoded_chunks(
    source: Iterator[str], rows_per_chunk: int, encode: Callable[[list[str]], NDArray[Any]]
) -> Iterator[NDArray[Any]]:
    """One array for each chunk; an error counts its texts from the first of all."""
    start = 0
    while rows := list(islice(source, rows_per_chunk)):
        try:
            vectors = encode(rows)
        except (TypeError, ValueError) as error:
            # The native side counts from the start of the chunk.
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"in the chunk that starts at text {start}: {error}") from error
        start += len(rows)
        yield vectors
