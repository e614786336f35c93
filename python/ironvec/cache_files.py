"""ironvec's own folder for what it can make again, and files that other processes see whole or not at all.

In: `$IRONVEC_CACHE`, else the platform's folder for caches; a path and its text. Out: a folder, or None where nothing
names one that belongs to the user; a written file. The rule for the folder is that of `src/cache.rs`.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache


def cache_folder() -> str | None:
    """The folder, which may not exist yet. Never one in a folder that all users share, as /tmp is."""
    if named := os.environ.get("IRONVEC_CACHE"):
        return _absolute(named)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = os.path.join(os.path.expanduser("~"), "Library", "Caches")
    else:
        # The XDG specification says to ignore a relative value.
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):
            base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "ironvec") if os.path.isabs(base) else None


@cache
def _absolute(named: str) -> str:
    """As the name was first understood: a program that changes its folder keeps its cache."""
    return os.path.abspath(named)


def write_whole(path: str, text: str) -> None:
    """Writes a file that no process, and no thread, ever sees in part. Of several writers, the last one's stays."""
    # Not tempfile's: its files are for their owner only, and a cache may be shared. By chance rather than by process
    # and thread, since machines and containers that share a folder number theirs alike.
    temporary = f"{path}.{os.urandom(8).hex()}"
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        # Ctrl-C too: a name by chance is never written over.
        with suppress(OSError):
            os.unlink(temporary)
        raise
