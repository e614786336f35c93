"""The `ironvec` command: `commands/` holds what it can be told to do.

In: the command line. Out: text on stdout, an error on stderr, an exit code: 0; 1 where a check failed or a model cannot
be used; 2 for arguments that are wrong and models that are nowhere. No tracebacks for what a user can mend.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import ModelError, ProviderError, __version__
from .commands import COMMANDS, Command, load
from .commands.opening import UsageError
from .terminal import leave_stdout, print_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    # Only the command that is named is imported; without one the parser needs them all, for its help.
    chosen = words[:1] if words and words[0] in COMMANDS else list(COMMANDS)
    commands = {name: load(name) for name in chosen}
    options = _parser(commands).parse_args(words)
    if sys.stdout is None:
        print_error("stdout is closed, and there is nowhere to write to")
        return 1
    try:
        code = commands[options.command].run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has left (`| head`). What is still buffered must not raise again at exit.
        leave_stdout()
        return 1
    except UsageError as error:
        leave_stdout()
        print_error(str(error))
        return 2
    except (OSError, ModelError, ProviderError, ValueError) as error:
        leave_stdout()
        print_error(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ironvec", description="Text embeddings with a Rust core.")
    parser.add_argument("--version", action="version", version=f"ironvec {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in commands.items():
        described = f"{command.HELP[0].upper()}{command.HELP[1:]}."
        # Raw, since examples have lines of their own.
        form = argparse.RawDescriptionHelpFormatter
        command.add_arguments(
            subparsers.add_parser(name, help=command.HELP, description=described, formatter_class=form)
        )
    return parser
