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
    for block in line_blocks(file):
        if block is None:
            yield None
        else:
            yield from block[:-1].split(b"\n")


def line_blocks(file: Readable) -> Iterator[bytes | None]:
    """The same, many at a time: whole lines, each with a "\\n", the last one too."""
    begun: list[bytes] = []
    size = 0
    for block in _blocks(file):
        end = block.find(b"\n") + 1
        size += end or len(block)
        if not end:
            begun = [*begun, block] if size <= LONGEST else []
            continue
        last = block.rfind(b"\n") + 1
        if size - 1 > LONGEST:
            yield None
            begun, block, last = [], block[end:], last - end
        if whole := b"".join([*begun, block[:last]]):
            yield whole
        begun, size = [block[last:]], len(block) - last
    if size:
        yield b"".join([*begun, b"\n"]) if size <= LONGEST else None


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
