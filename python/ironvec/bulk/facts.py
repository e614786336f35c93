"""What files are, by their bytes: a model or an input that changes under a job is found, wherever it lies and whenever
it was copied there.

In: a path and what an earlier run found. Out: size, time of change, sha256, rows. A file whose size and time are those
of before is not read again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from ..hub_cache import description_files, read_model_type, read_modules, weight_files

# JSON: "bytes", "mtime_ns", "sha256", and of inputs "rows".
Facts = dict[str, Any]
Advance = Callable[[int], object]


class Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: BinaryIO, advance: Advance) -> None:
        self._file, self._advance, self._digest = file, advance, hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        block = self._file.read(size)
        self._digest.update(block)
        self._advance(len(block))
        return block

    def hexdigest(self) -> str:
        """Of the whole file, whose rest is read."""
        while self.read(1 << 20):
            pass
        return self._digest.hexdigest()


def stat_facts(path: str) -> Facts:
    """What can be said of a file without reading it."""
    status = os.stat(path)
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def read_facts(
    path: str, earlier: Mapping[str, Any], advance: Advance, count: Callable[[Hashed], int] | None = None
) -> Facts:
    """The file's facts; `count` reads rows from it, for "rows"."""
    facts = stat_facts(path)
    wanted = ("sha256",) if count is None else ("sha256", "rows")
    same = all(earlier.get(name) == value for name, value in facts.items())
    if same and all(name in earlier for name in wanted):
        advance(facts["bytes"])
        return {**facts, **{name: earlier[name] for name in wanted}}
    with open(path, "rb", buffering=0) as file:
        hashed = Hashed(file, advance)
        if count is not None:
            facts["rows"] = count(hashed)
        return {**facts, "sha256": hashed.hexdigest()}


def model_files(place: str, file_name: str | None) -> dict[str, str]:
    """The files that a model is read from: name to path. `place` is its folder, or an ONNX file."""
    if os.path.isfile(place):
        folder, export = os.path.split(place)
        # Tensors may lie beside it under any name; another export's files are not its own.
        others = (name for name in os.listdir(folder) if not name.startswith("."))
        names = [export, *(name for name in others if ".onnx" not in name or name.startswith(export))]
        return _paths(folder, sorted(set(names)))
    listing = [
        os.path.relpath(os.path.join(root, name), place).replace(os.sep, "/")
        for root, _, names in os.walk(place, followlinks=True)
        for name in names
    ]
    modules = read_modules(place)
    names = description_files(listing, modules)
    names += weight_files(listing, modules, file_name, read_model_type(place, modules))
    return _paths(place, sorted(set(names)))


def _paths(folder: str, names: list[str]) -> dict[str, str]:
    paths = {name: os.path.join(folder, *name.split("/")) for name in names}
    return {name: path for name, path in paths.items() if os.path.isfile(path)}


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What two jobs do not share, a line each; empty where they are the same job."""
    lines = []
    for name, value in now["options"].items():
        before = earlier["options"].get(name)
        if before != value:
            lines.append(f"{name}: {_shown(before)} then, {_shown(value)} now")
    lines += _of_files("model", earlier["model"], now["model"])
    before_inputs = {facts["name"]: facts for facts in earlier["inputs"]}
    now_inputs = {facts["name"]: facts for facts in now["inputs"]}
    changed = _of_files("input", before_inputs, now_inputs)
    if not changed and list(before_inputs) != list(now_inputs):
        changed = ["inputs: the same files in another order"]
    return lines + changed


def _of_files(what: str, earlier: Mapping[str, Facts], now: Mapping[str, Facts]) -> list[str]:
    lines = [f"{what} {name}: not there then" for name in now if name not in earlier]
    lines += [f"{what} {name}: not there now" for name in earlier if name not in now]
    for name in now:
        before, after = earlier.get(name), now[name]
        if before is None or before.get("sha256") == after.get("sha256"):
            continue
        if before["bytes"] != after["bytes"]:
            lines.append(f"{what} {name}: {before['bytes']:,} bytes then, {after['bytes']:,} now")
        else:
            lines.append(f"{what} {name}: as long as then, with other bytes")
    return lines


def _shown(value: object) -> str:
    return "not given" if value is None else repr(value)
