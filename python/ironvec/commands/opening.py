"""Models for commands: opened, or refused with exit code 2.

In: a name and what `Embedder` takes beside it. Out: an `Embedder`. A model that is nowhere, and an argument that no
model takes, are the command line's errors and not the model's.
"""

from __future__ import annotations

import argparse
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


def add_model_arguments(parser: argparse.ArgumentParser, *, dtypes: bool = True) -> None:
    """The options of a command that runs a model."""
    if dtypes:
        parser.add_argument("--provider", default="auto", help="auto (the CPU), cpu, cuda, coreml")
        parser.add_argument("--dtype", default="float32", help="float32, bfloat16, int8; float16 with coreml")
    parser.add_argument("--memory", default="fast", help="fast, or low: weights stay in their file")
    parser.add_argument("--file", metavar="NAME", help="an ONNX file of the folder, instead of the checkpoint")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: as many as there are)")


def model_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What those options say, as `Embedder` takes it."""
    return {
        "provider": options.provider, "dtype": options.dtype, "memory": options.memory, "file_name": options.file,
        "threads": options.threads,
    }  # fmt: skip
