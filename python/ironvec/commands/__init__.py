"""What `ironvec` can be told to do: one file a command, one line in the table.

A command's file has `HELP` (one line), `add_arguments(parser)`, which may set the parser's `epilog` to examples, and
`run(options)`, which prints and returns an exit code: 0 done, 1 a check failed or a model cannot be used, 2 a wrong
argument or no such model. A file is imported when its command is chosen or its help is asked for, so it imports at its
top what is cheap.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Protocol

# Name on the command line to file of this folder, in the order of `ironvec --help`.
COMMANDS = {
    "demo": "demo",
    "inspect": "inspect",
    "validate": "validate",
    "bench": "bench",
    "embed": "embed",
    "models": "models",
    "download": "download",
    "cache": "cache",
}


class Command(Protocol):
    """What a command's file holds."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, options: argparse.Namespace) -> int: ...


def load(name: str) -> Command:
    """The command of that name."""
    command: Command = import_module(f".{COMMANDS[name]}", __name__)
    return command
