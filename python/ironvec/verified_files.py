"""Checks a published model's files against the registry's sha256, once per file and version of it.

In: a folder and digests. Out: nothing, or `ModelError` with the file, what was found and what was expected.
Hashing 90 MB costs 60 to 200 ms, as much as loading the model, so a good result is remembered in
`$XDG_CACHE_HOME/ironvec/verified.json` by path, size and modification time. Where that cannot be written, files are
hashed on every load.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ._core import ModelError

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


def _cache_file() -> str:
    # The XDG specification says to ignore a relative value.
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "ironvec", "verified.json")


def _read() -> _Verdicts:
    import json

    try:
        with open(_cache_file(), encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(fresh: _Verdicts) -> None:
    import json
    import threading

    path = _cache_file()
    # Other processes may have written since; files that are gone are dropped, so that the cache does not only grow.
    verdicts = {name: verdict for name, verdict in {**_read(), **fresh}.items() if os.path.exists(name)}
    temporary = f"{path}.{os.getpid()}.{threading.get_ident()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(verdicts, file, indent=1)
        os.replace(temporary, path)
    except OSError:
        # An unwritable cache costs time on the next load, and nothing else.
        try:
            os.unlink(temporary)
        except OSError:
            return
