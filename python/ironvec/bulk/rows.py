"""Lines of a .txt, .jsonl or .csv file in, rows out: texts in UTF-8 with their ids, or why there is none.

An empty line of a .txt file is an empty text; in .jsonl and .csv it is no row. Lines end with "\\n" or "\\r\\n".
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .lines import LONGEST, TOO_LONG, Readable, line_blocks, lines
from .refusal import Refused

# How values are called in JSON.
_KINDS: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


class Columns(NamedTuple):
    """Which columns hold texts and ids. Without one for ids, a row's id is its index among all rows of the job."""

    text: str
    id: str | None


class Row(NamedTuple):
    id: str | None
    text: bytes


class BadRow(NamedTuple):
    number: int  # of the line where it begins, or of the row in a .parquet file; the first is 1
    reason: str


Rows = Iterator[Row | list[bytes] | BadRow]  # a list: rows without ids that follow each other


def checked(number: int, columns: Columns, text: object, identifier: object = None) -> Row | BadRow:
    """A row of what its columns hold."""
    if not isinstance(text, str):
        return BadRow(number, f"{columns.text!r} is {_kind(text)}, not a string")
    if not _is_unicode(text):
        return BadRow(number, f"{columns.text!r} holds half a surrogate pair, which is no character")
    if columns.id is None:
        return Row(None, text.encode())
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        return Row(str(identifier), text.encode())
    if not isinstance(identifier, str):
        return BadRow(number, f"{columns.id!r} is {_kind(identifier)}, not a string or an integer")
    if not _is_unicode(identifier):
        return BadRow(number, f"{columns.id!r} holds half a surrogate pair, which is no character")
    return Row(identifier, text.encode())


def text_rows(file: Readable, columns: Columns) -> Rows:
    """A row for each line."""
    number = 1
    for block in line_blocks(file):
        if block is None:
            yield BadRow(number, TOO_LONG)
            number += 1
            continue
        texts = block.replace(b"\r\n", b"\n")[:-1].split(b"\n")
        if _not_utf8(block) is None:
            yield texts
        else:
            for place, text in enumerate(texts, number):
                reason = _not_utf8(text)
                yield Row(None, text) if reason is None else BadRow(place, reason)
        number += len(texts)


def json_rows(file: Readable, columns: Columns) -> Rows:
    """A row for each line that is not empty: a JSON object."""
    for number, line in enumerate(lines(file), 1):
        if line is None:
            yield BadRow(number, TOO_LONG)
        elif line and not line.isspace():
            yield _json_row(number, line, columns)


def _json_row(number: int, line: bytes, columns: Columns) -> Row | BadRow:
    if (reason := _not_utf8(line)) is not None:
        return BadRow(number, reason)
    try:
        value = json.loads(line.decode())
    except json.JSONDecodeError as error:
        return BadRow(number, f"not JSON: {error.msg}, at character {error.colno}")
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or thousands of brackets in each other.
        return BadRow(number, f"not JSON that can be read: {error}")
    if not isinstance(value, dict):
        return BadRow(number, f"{_kind(value)}, not an object")
    for column in columns:
        if column is not None and column not in value:
            return BadRow(number, f"has no {column!r}")
    return checked(number, columns, value[columns.text], None if columns.id is None else value[columns.id])


def csv_rows(file: Readable, columns: Columns) -> Rows:
    """A row for each record after the header, as RFC 4180 has them: commas, double quotes, lines within quotes.

    Raises:
        Refused: The header lacks a column, or has it twice.
    """
    # The default is 128 KiB. The setting belongs to the process; nobody can mean it to be lower than a file's fields.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    # What cannot be decoded, or held, becomes half a surrogate pair, and is found in the field where it stands.
    records = csv.reader((_TOO_LONG_MARK if line is None else _decoded(line) for line in lines(file)), strict=True)
    header = next(records, [])
    places = [_place(header, name) for name in columns if name is not None]
    while True:
        number = records.line_num + 1
        try:
            record = next(records, None)
        except csv.Error as error:
            yield BadRow(number, f"not CSV: {error}")
            continue
        if record is None:
            return
        if record:
            yield _csv_row(number, record, len(header), places, columns)


_TOO_LONG_MARK = "\udfff\n"


def _decoded(line: bytes) -> str:
    return line.decode(errors="surrogateescape") + "\n"


def _csv_row(number: int, record: list[str], width: int, places: list[int], columns: Columns) -> Row | BadRow:
    for field in record:
        if not _is_unicode(field):
            return BadRow(number, TOO_LONG if "\udfff" in field else "not UTF-8")
    if len(record) != width:
        return BadRow(number, f"has {len(record)} fields, the header has {width}")
    text, *identifier = (record[place] for place in places)
    return Row(identifier[0] if identifier else None, text.encode())


def _place(header: list[str], column: str) -> int:
    if header.count(column) != 1:
        found = f"{header.count(column)} columns {column!r}" if column in header else f"no column {column!r}"
        there = ", ".join(map(repr, header)) or "the file is empty"
        raise Refused(f"has {found}; its header: {there}")
    return header.index(column)


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_utf8(text: bytes) -> str | None:
    """Why bytes are no text; None where they are."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason}, at byte {error.start + 1}"
    return None


def _kind(value: object) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")


# The formats that are read from bytes as they come; .parquet is read from its end.
READERS: dict[str, Callable[[Readable, Columns], Rows]] = {"txt": text_rows, "jsonl": json_rows, "csv": csv_rows}
