"""What the caller names as input → the files to read, in order, each with its format. `-` is stdin.

In: files, folders, patterns. Out: every file once, a folder's in the order of their paths. Refuses what is not there,
what is named twice, and formats that nothing here reads. The output and its side files are no input; other jobs' side
files are one where they are named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from glob import glob
from typing import NamedTuple

from .refusal import Refused
from .rows import READERS

STDIN = "-"
FORMATS = (*READERS, "parquet")
_OTHER_SPELLINGS = {"ndjson": "jsonl"}
# What jobs leave beside their outputs, this one's and others'.
_SIDE_FILE = re.compile(r"\.(npy|parquet|jsonl)\.(ids\.jsonl|rejected\.jsonl|partial)")
_READ = ", ".join(f".{name}" for name in FORMATS)


class Source(NamedTuple):
    name: str  # As the caller gave it, or what a folder or pattern led to.
    format: str


def find_sources(inputs: Sequence[str], stream_format: str | None, output: str) -> list[Source]:
    """The files to read.

    Args:
        inputs: Paths, folders, patterns with `*`, `?` or `[`, or "-".
        stream_format: How to read stdin (None: "txt"), and files whose names do not say.
        output: What is not to be read, nor anything whose name begins with it and a dot.
    """
    if stream_format is not None and stream_format not in FORMATS:
        raise Refused(f"format {stream_format!r} is not one that is read: {', '.join(FORMATS)}")
    if not inputs:
        raise Refused("no input is named")
    sources: list[Source] = []
    seen: set[str] = set()
    for name in inputs:
        for found in _expanded(name, output):
            place = found if found == STDIN else os.path.realpath(found)
            if place in seen:
                raise Refused(f"{found} is named twice, and its rows would be")
            seen.add(place)
            sources.append(Source(found, _format(found, stream_format)))
    return sources


def _expanded(name: str, output: str) -> list[str]:
    if name == STDIN:
        return [name]
    if os.path.isdir(name):
        found = sorted(path for path in _below(name) if _format_by_name(path) and not _is_left(path, output))
        if not found:
            raise Refused(f"{name}: no file in this folder that is read ({_READ})")
        return found
    if os.path.exists(name):
        if not os.path.isfile(name):
            raise Refused(f"{name} is not a regular file; what a pipe brings is read from stdin, as -")
        if is_output(name, output):
            raise Refused(f"{name} is an input and belongs to the output")
        return [name]
    if any(character in name for character in "*?["):
        matches = sorted(path for path in glob(name, recursive=True) if os.path.isfile(path))
        if found := [path for path in matches if not _is_left(path, output)]:
            return found
        raise FileNotFoundError(f"{name}: no file matches this pattern")
    raise FileNotFoundError(f"{name}: no such file or folder")


def _below(folder: str) -> Iterator[str]:
    """All files of a folder and its folders, but for hidden ones."""
    for root, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".") and not _SIDE_FILE.search(name)]
        yield from (os.path.join(root, name) for name in names if not name.startswith("."))


def _is_left(path: str, output: str) -> bool:
    """Whether a file that nobody named is what a job has left."""
    return is_output(path, output) or _SIDE_FILE.search(path) is not None


def _raise(error: OSError) -> None:
    raise error


def is_output(path: str, output: str) -> bool:
    """Whether a file is the output, one of its side files, or in its folder of what is not finished."""
    real, base = os.path.realpath(path), os.path.realpath(output)
    return real == base or real.startswith(f"{base}.")


def written_name(name: str) -> str:
    """A file's name as it is written down: the same under every locale."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _format(name: str, stream_format: str | None) -> str:
    if name == STDIN:
        if stream_format == "parquet":
            raise Refused("a .parquet file is read from its end, which stdin does not have: name the file")
        return stream_format or "txt"
    if known := _format_by_name(name) or stream_format:
        return known
    kind = os.path.splitext(name)[1]
    if kind in (".gz", ".bz2", ".xz", ".zst"):
        raise Refused(f"{name}: compressed files are not read; unpack it into stdin (-)")
    raise Refused(f"{name}: its name does not end in one of {_READ}; --format (input_format=) says how to read it")


def _format_by_name(name: str) -> str | None:
    kind = os.path.splitext(name)[1].lower().removeprefix(".")
    kind = _OTHER_SPELLINGS.get(kind, kind)
    return kind if kind in FORMATS else None
