"""Bars on stderr for what takes long, or none."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

_USUAL_COLUMNS, _USUAL_LINES = 80, 24


class Bar(Protocol):
    """What tqdm has of it."""

    def update(self, n: int, /) -> object: ...


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
        total=total, desc=title, unit=unit, initial=initial, unit_scale=unit == "B", delay=1, **_terminal_size()
    ) as bar:
        yield bar


def _terminal_size() -> dict[str, int]:
    """For tqdm, which hides its bars in a terminal that calls itself 0 wide; nothing where stderr is no terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return {}
    with suppress(OSError):
        columns, lines = os.get_terminal_size(sys.stderr.fileno())
        return {"ncols": columns or _USUAL_COLUMNS, "nrows": lines or _USUAL_LINES}
    return {}
