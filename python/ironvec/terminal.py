"""What the command says where: output on stdout, errors on stderr, and nothing where the shell has closed it.

In: a message. Out: a line, with what the terminal cannot show escaped, so that reporting an error is not one itself.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def printable(message: str, stream: TextIO | None) -> str:
    """The message in the characters that the stream has."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        message.encode(encoding)
    except UnicodeEncodeError:
        # What ironvec itself writes has a plain form; what the user named is escaped.
        message = message.replace("\xd7", "x")
    return message.encode(encoding, "backslashreplace").decode(encoding)


def show(text: str) -> None:
    """Prints a command's output."""
    print(printable(text, sys.stdout))


def print_error(message: str) -> None:
    # A print to a closed stderr, which is None, would go to stdout.
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"ironvec: error: {printable(message, sys.stderr)}", file=sys.stderr, flush=True)


def leave_stdout() -> None:
    """Writes out what is buffered, or throws it away where that fails: it must not raise again at exit."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
