"""Models for commands: opened, or refused with exit code 2.

In: a name and what `Embedder` takes beside it. Out: an `Embedder`. A model that is nowhere, and an argument that no
model takes, are the command line's errors and not the model's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..embedder import Embedder


# What finding a model raises; a hub that cannot be reached leaves it as missing as one that lacks it.
NOT_FOUND = (FileNotFoundError, ConnectionError, PermissionError, ValueError)


class UsageError(Exception):
    """A wrong argument, or a model that is nowhere."""


@contextmanager
def usage_errors(kinds: tuple[type[Exception], ...] = NOT_FOUND) -> Iterator[None]:
    """Within it, errors of these kinds are the command line's."""
    try:
        yield
    except kinds as error:
        raise UsageError(str(error)) from error


def open_model(name: str, **arguments: Any) -> Embedder:
    """The model, loaded."""
    from ..embedder import Embedder

    with usage_errors():
        return Embedder(name, **arguments)
