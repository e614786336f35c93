"""`ironvec cache`: what CoreML's cache holds, and its removal.

In: the parsed command line. Out: a table or what was removed; exit code 0, 1 where something in use was kept. Each
entry belongs to one model, as its files were, in one dtype; a model that changes, or a release that writes other
graphs, begins a new one, and the old one stays until it is removed here. What a process has open is never removed.
"""

from __future__ import annotations

import argparse
import json
import time

from .._core import cache_entries, cache_folder, remove_cache_entry
from ..terminal import show

HELP = "list or clear what is kept for CoreML: weights, compiled models"

_DAY_S = 86_400


_EXAMPLES = """\
examples:
  ironvec cache list
  ironvec cache list --json
  ironvec cache clear --unused-for 30

The folder is $IRONVEC_CACHE, or the platform's for caches. What a process has
open is kept, and makes the exit code of `clear` 1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    listing = actions.add_parser("list", help="show each entry's size, last use, dtype and model")
    listing.add_argument("--json", action="store_true", help="print the entries as JSON")
    clear = actions.add_parser("clear", help="remove all entries that no process has open")
    clear.add_argument(
        "--unused-for", type=_days, default=0.0, metavar="DAYS", help="only those not opened in the last DAYS days"
    )


def run(options: argparse.Namespace) -> int:
    """Prints, and returns the exit code.

    Raises:
        ValueError: There is no folder for caches.
        OSError: An entry cannot be read or removed.
    """
    folder = cache_folder()
    if folder is None:
        raise ValueError("no home folder is known to hold a cache: set IRONVEC_CACHE")
    if options.action == "list" and options.json:
        show(json.dumps({"folder": folder, "entries": cache_entries()}, indent=2))
        return 0
    text, code = _clear(folder, options.unused_for) if options.action == "clear" else (_listing(folder), 0)
    show(text)
    return code


def _listing(folder: str) -> str:
    entries = cache_entries()
    lines = [f"{folder}: {_count(len(entries))}, {_size(sum(entry['bytes'] for entry in entries))}"]
    for entry in entries:
        used = "in use" if entry["in_use"] else time.strftime("%Y-%m-%d", time.localtime(entry["used"]))
        model = entry["model"] or "of an unknown model"
        lines.append(f"  {_size(entry['bytes']):>9}  {used:<10}  {entry['dtype'] or '?':<7}  {model}")
    return "\n".join(lines)


def _clear(folder: str, unused_for_days: float) -> tuple[str, int]:
    before = time.time() - unused_for_days * _DAY_S
    old = [entry for entry in cache_entries() if entry["used"] <= before or not unused_for_days]
    lines, removed, freed, kept = [], 0, 0, 0
    for entry in old:
        if remove_cache_entry(entry["name"]):
            removed, freed = removed + 1, freed + entry["bytes"]
        else:
            kept += 1
            lines.append(f"  kept, in use: {entry['folder']}  {entry['model']}")
    lines.insert(0, f"{folder}: removed {_count(removed)}, {_size(freed)}")
    return "\n".join(lines), 1 if kept else 0


def _count(entries: int) -> str:
    return "1 entry" if entries == 1 else f"{entries} entries"


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return days
