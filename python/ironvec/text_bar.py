"""A bar on stderr that counts texts, where one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def text_bar(shown: bool | None, total: int) -> Iterator[Callable[[int], object] | None]:
    """What the native `encode` takes as `progress`."""
    if not shown:
        yield None
        return
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    with tqdm(total=total, desc="Texts", unit="text") as bar:
        yield bar.update
