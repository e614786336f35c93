"""Bytes in, lines out, in memory that does not grow with the file: a line beyond the limit is skipped, not held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

# A text of 16 million characters takes the tokenizer seconds; a file without an end of line is no text.
LONGEST = 16 * 1024 * 1024
TOO_LONG = f"longer than {LONGEST:,} bytes"

_BLOCK = 1 << 18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Readable(Protocol):
    """What lines are read from: a raw file, of which a thread may be left behind in the middle of a read."""

    def read(self, size: int, /) -> bytes | None: ...


def lines(file: Readable) -> Iterator[bytes | None]:
    """Lines without their "\\n", nor a byte order mark; None for one that is too long."""
    begun: list[bytes] = []
    size = 0
    for block in _blocks(file):
        first, *others = block.split(b"\n")
        size += len(first)
        begun = [*begun, first] if size <= LONGEST else []
        if not others:
            continue
        yield b"".join(begun) if size <= LONGEST else None
        last = others.pop()
        yield from others
        begun, size = [last], len(last)
    if size:
        yield b"".join(begun) if size <= LONGEST else None


def _blocks(file: Readable) -> Iterator[bytes]:
    start = b""
    while len(start) < len(_BYTE_ORDER_MARK) and (block := _read(file)):
        start += block
    if start := start.removeprefix(_BYTE_ORDER_MARK):
        yield start
    while block := _read(file):
        yield block


def _read(file: Readable) -> bytes:
    block = file.read(_BLOCK)
    if block is None:
        raise BlockingIOError("stdin is set not to wait for what comes (O_NONBLOCK), and so its end cannot be told")
    return block
