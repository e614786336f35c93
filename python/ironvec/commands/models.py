"""`ironvec models`: the models with a short name, what is known of them, and whether they are here.

In: perhaps words to look for. Out: a table or JSON. Nothing is loaded and no connection opened.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..plain_text import fields, quoted, table
from ..terminal import show

if TYPE_CHECKING:
    from .._core import RegistryEntry

HELP = "list the models with a short name, and which are here"

_EXAMPLES = """\
examples:
  ironvec models                    all of them, a line each
  ironvec models qwen3 e5           those whose names hold one of the words
  ironvec models minilm --long      with prompts, hub id and where it is
  ironvec models --here             those on this machine
  ironvec models --json

Any other checkpoint runs too, by its folder or hub id: `ironvec inspect NAME`
says whether. `ironvec download NAME` fetches one.
"""


class Listed(NamedTuple):
    """One model of the registry."""

    alias: str
    entry: RegistryEntry
    place: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("words", metavar="WORD", nargs="*", help="only models whose alias or hub id holds a word")
    parser.add_argument("--here", action="store_true", help="only those on this machine")
    parser.add_argument("--long", action="store_true", help="all that is known of each")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def run(options: argparse.Namespace) -> int:
    from .._core import registry
    from ..model_places import place_of

    found = []
    for alias, entry in sorted(registry().items()):
        named = f"{alias} {entry['hub_id']}".lower()
        if options.words and not any(word.lower() in named for word in options.words):
            continue
        place = place_of(alias, entry)
        if place is not None or not options.here:
            found.append(Listed(alias, entry, place))
    if options.json:
        show(json.dumps([{"alias": one.alias, **one.entry, "place": one.place} for one in found], indent=2))
    elif not found:
        show("No model of the registry is that. `ironvec models` lists them all.")
    else:
        show("\n".join(_long(found) if options.long else _table(found)))
    return 0


def _table(found: Sequence[Listed]) -> Iterator[str]:
    rows = [("", "size", "dim", "tokens", "licence", "prompts", "")]
    rows += [
        (
            one.alias, _size(one.entry["parameters"]), f"{one.entry['dimension']:,}", _tokens(one.entry),
            one.entry["license"] or "not stated", str(len(one.entry["prompts"]) or "own"),
            "here" if one.place else "",
        )
        for one in found
    ]  # fmt: skip
    yield from table(rows, indent="", right=(1, 2, 3))
    here = sum(one.place is not None for one in found)
    yield f"\n{here} of {len(found)} here. `--long` says where; `ironvec download NAME` fetches one."
    yield 'Size in parameters; prompts: how many, or "own", as the checkpoint has them.'


def _long(found: Sequence[Listed]) -> Iterator[str]:
    for index, one in enumerate(found):
        entry = one.entry
        prompts = [f"{name}: {quoted(text)}" for name, text in entry["prompts"].items()]
        yield ("\n" if index else "") + one.alias
        yield from fields(
            [
                ("hub id", entry["hub_id"]),
                ("dimension", f"{entry['dimension']:,}"),
                ("max length", _tokens(entry) + ("" if entry["max_length"] is None else " tokens")),
                ("parameters", f"{entry['parameters']:,}"),
                ("licence", entry["license"] or "not stated by its model card"),
                ("prompts", prompts or "the checkpoint's own, if it has any"),
                ("sha256", "of every file known" if entry["sha256"] else "not known here"),
                ("is", one.place or "not here"),
            ]
        )


def _tokens(entry: RegistryEntry) -> str:
    return "any" if entry["max_length"] is None else f"{entry['max_length']:,}"


def _size(parameters: int) -> str:
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.0f} M"
