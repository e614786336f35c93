"""Text for a terminal of 80 columns, a pipe or a file: tables, wrapped lines, sizes. No colours, no ends of lines.

In: rows of cells, sentences, numbers. Out: lines. A line is longer than 80 columns only where a single word is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

WIDTH = 80
# A last column narrower than this is not worth wrapping: its lines run over.
_NARROWEST = 24


def wrapped(text: str, indent: str = "", following: str | None = None) -> Iterator[str]:
    """A sentence in lines; all but the first begin with `following`, by default the indent."""
    after = indent if following is None else following
    lines = wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=after, break_long_words=False, break_on_hyphens=False
    )
    yield from lines or [indent.rstrip()]


def table(rows: Iterable[Sequence[str]], *, indent: str = "  ", right: Sequence[int] = ()) -> Iterator[str]:
    """Rows with their columns aligned, numbers (columns in `right`) to the right, the last column wrapped."""
    listed = [list(row) for row in rows]
    if not listed:
        return
    last = len(listed[0]) - 1
    widths = [max(len(row[column]) for row in listed) for column in range(last)]
    for row in listed:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        start = indent + "".join(f"{cell}  " for cell in cells)
        if last in right:
            start += " " * (max(len(other[last]) for other in listed) - len(row[last]))
        if WIDTH - len(start) < _NARROWEST or len(start) + len(row[last]) <= WIDTH:
            yield (start + row[last]).rstrip()
        else:
            yield from wrapped(row[last], start, " " * len(start))


def fields(pairs: Iterable[tuple[str, str | Sequence[str]]], *, indent: str = "  ") -> Iterator[str]:
    """Labels and what belongs to them; more lines of one stand below its first."""
    rows = []
    for label, value in pairs:
        lines = [value] if isinstance(value, str) else list(value)
        rows += [(label if index == 0 else "", line) for index, line in enumerate(lines)]
    yield from table(rows, indent=indent)


def size(count: int) -> str:
    """Bytes, as people say them."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    if count >= 1e6:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e3:.1f} kB" if count >= 10_000 else counted(count, "byte")


def counted(count: int, noun: str) -> str:
    """`1 node`, `2,000 nodes`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def quoted(text: str, most: int = 200) -> str:
    """A text in one line, its control characters escaped, cut where it is very long."""
    escaped = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return f'"{escaped}"' if len(escaped) <= most else f'"{escaped[:most]}..."'
