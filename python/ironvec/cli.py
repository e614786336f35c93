"""The `ironvec` command: one function per subcommand.

In: the command line. Out: text on stdout, an error on stderr, an exit code: 0, 1 for a model that cannot be used, 2 for
arguments that are wrong. No tracebacks for what a user can mend.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from . import ModelError, ProviderError, __version__
from .demo import demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code = demo(options.model)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has left (`| head`). What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ModelError, ProviderError, ValueError) as error:
        sys.stdout.flush()
        print(f"ironvec: error: {_printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ironvec", description="Text embeddings with a Rust core.")
    parser.add_argument("--version", action="version", version=f"ironvec {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    command = commands.add_parser("demo", help="embed three sentences and show what came out, and how fast")
    command.add_argument("--model", default="minilm", help="alias, checkpoint folder or hub id (default: minilm)")
    return parser


def _printable(message: str) -> str:
    """The message with what the terminal cannot show escaped, so that reporting an error is not one itself."""
    encoding = getattr(sys.stderr, "encoding", None) or "ascii"
    return message.encode(encoding, "backslashreplace").decode(encoding)
