"""Checks a published model's files against the registry's sha256, once per file and version of it.

In: a folder and digests. Out: nothing, or `ModelError` with the file, what was found and what was expected.
Hashing 90 MB costs 60 to 200 ms, as much as loading the model, so a good result is remembered in `verified.json` of
ironvec's cache folder by path, size and modification time. Where that cannot be written, files are hashed on every
load.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ._core import ModelError
from .cache_files import cache_folder, write_whole

_Verdicts = dict[str, list[object]]  # real path -> [size in bytes, mtime in ns, sha256]


def check_files(folder: str, digests: Mapping[str, str], remedy: str) -> None:
    """Raises `ModelError`, which ends in the remedy, unless every file under `folder` has its sha256."""
    remembered = _read()
    fresh: _Verdicts = {}
    for name, expected in digests.items():
        path = os.path.realpath(os.path.join(folder, *name.split("/")))
        try:
            status = os.stat(path)
            verdict: list[object] = [status.st_size, status.st_mtime_ns, expected]
            if remembered.get(path) == verdict:
                continue
            found = _sha256(path)
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror}); expected sha256 {expected}") from error
        if found != expected:
            raise ModelError(f"{path}: sha256 is {found}, expected {expected}; {remedy}")
        fresh[path] = verdict
    if fresh:
        _remember(fresh)


def _sha256(path: str) -> str:
    import hashlib

    digest = hashlib.sha256()
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
    return digest.hexdigest()


def _cache_file() -> str | None:
    folder = cache_folder()
    return None if folder is None else os.path.join(folder, "verified.json")


def _read() -> _Verdicts:
    import json

    path = _cache_file()
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(fresh: _Verdicts) -> None:
    import json

    path = _cache_file()
    if path is None:
        return
    # Other processes may have written since; files that are gone are dropped, so that the cache does not only grow.
    verdicts = {name: verdict for name, verdict in {**_read(), **fresh}.items() if os.path.exists(name)}
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_whole(path, json.dumps(verdicts, indent=1))
    except OSError:
        # An unwritable cache costs time on the next load, and nothing else.
        return
