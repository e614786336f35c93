"""The `ironvec` command: one function per subcommand.

In: the command line. Out: text on stdout, an error on stderr, an exit code: 0, 1 for a model that cannot be used, 2 for
arguments that are wrong. No tracebacks for what a user can mend.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from . import ModelError, ProviderError, __version__
from .cache_command import add_cache_command, cache_command
from .commands import embed
from .demo import demo
from .inspection import as_text, inspect
from .terminal import leave_stdout, print_error, printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = _parser().parse_args(arguments)
    if sys.stdout is None:
        print_error("stdout is closed, and there is nowhere to write to")
        return 1
    try:
        code = _run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has left (`| head`). What is still buffered must not raise again at exit.
        leave_stdout()
        return 1
    except (OSError, ModelError, ProviderError, ValueError) as error:
        leave_stdout()
        print_error(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    if options.command == "inspect":
        return _inspect(options)
    if options.command == "cache":
        text, code = cache_command(options)
        print(printable(text, sys.stdout))
        return code
    return embed.run(options) if options.command == "embed" else demo(options.model)


def _inspect(options: argparse.Namespace) -> int:
    report = inspect(options.model, dimensions=dict(options.fix), shapes=dict(options.shape))
    text = json.dumps(report, indent=2) if options.json else as_text(options.model, report)
    print(printable(text, sys.stdout))
    return 0


def _dimension(text: str) -> tuple[str, int]:
    name, sizes = _assignment(text, "NAME=SIZE")
    if len(sizes) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SIZE")
    return name, sizes[0]


def _shape(text: str) -> tuple[str, list[int]]:
    return _assignment(text, "INPUT=SIZE,SIZE")


def _assignment(text: str, form: str) -> tuple[str, list[int]]:
    # From the right: a graph may call an input or a dimension anything, "a=b" too.
    name, _, sizes = text.rpartition("=")
    try:
        return name, [int(size) for size in sizes.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ironvec", description="Text embeddings with a Rust core.")
    parser.add_argument("--version", action="version", version=f"ironvec {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    command = commands.add_parser("demo", help="embed three sentences and show what came out, and how fast")
    command.add_argument("--model", default="minilm", help="alias, checkpoint folder or hub id (default: minilm)")
    command = commands.add_parser("inspect", help="say what CoreML would take of an ONNX file, and why not the rest")
    command.add_argument("model", metavar="MODEL.onnx", help="the file; no other is read")
    command.add_argument(
        "--fix", action="append", default=[], type=_dimension, metavar="NAME=SIZE",
        help="give a dynamic dimension a size, by its name in the graph: --fix batch_size=1 --fix sequence_length=64",
    )  # fmt: skip
    command.add_argument(
        "--shape", action="append", default=[], type=_shape, metavar="INPUT=SIZE,SIZE",
        help="give an input a shape: --shape input_ids=1,64",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    add_cache_command(commands)
    embed.add_arguments(commands.add_parser("embed", help=embed.HELP))
    return parser
