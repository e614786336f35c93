"""The processes that descend from this one, by what Linux says of them."""

import os
from pathlib import Path


def descendants(title: str) -> list[int]:
    """Ids of the processes below this one whose command line contains `title`."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            titles[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        parents[int(folder.name)] = int(status.rpartition(")")[2].split()[1])
    return [process for process, line in titles.items() if title in line and _is_below(process, parents)]


def _is_below(process: int, parents: dict[int, int]) -> bool:
    while process in parents:
        process = parents[process]
        if process == os.getpid():
            return True
    return False
