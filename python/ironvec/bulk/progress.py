"""Bars on stderr for what takes long, or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """What tqdm has of it."""

    def update(self, n: int, /) -> object: ...


class Bars(Protocol):
    """Makes a bar; `total` is None where nobody knows it."""

    def __call__(self, total: int | None, title: str, unit: str, initial: int = 0) -> Iterator[Bar]: ...


class _NoBar:
    def update(self, n: int, /) -> object:
        return None


@contextmanager
def no_bar(total: int | None, title: str, unit: str, initial: int = 0) -> Iterator[Bar]:
    yield _NoBar()


@contextmanager
def shown_bar(total: int | None, title: str, unit: str, initial: int = 0) -> Iterator[Bar]:
    """A bar with rate and time left, which appears after a second: what is done by then needs none."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    with tqdm(
        total=total, desc=title, unit=unit, initial=initial, unit_scale=unit == "B", dynamic_ncols=True, delay=1
    ) as bar:
        yield bar
