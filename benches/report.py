"""The benchmark's output: the machine, an aligned table, and the same as JSON.

In: figures and single values. Out: text on standard output, and a JSON file that `picture.py` draws.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from measure import Agreement, Figure


class Limit(NamedTuple):
    """A value of ours that is held against a limit of its own."""

    figure: str
    unit: str
    value: float
    limit: float
    at_most: bool = True

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit


def processor() -> str:
    """The processor's name as Linux has it, with the widest vectors it does."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor() or platform.machine()
    fields: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", "").split()
    widest = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    return " ".join([fields.get("model name", platform.machine()), widest]).strip()


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_agreement(agreements: Mapping[str, Agreement], about: str = "") -> None:
    """What each peer computes in, and how near its vectors are to ours."""
    for name, found in agreements.items():
        near = f"differ from ours by {found.difference:.0e} at most, least cosine {found.cosine:.6f}"
        print(f"{about}{name}: {found.precision}, vectors {near}")


def print_figures(figures: Sequence[Figure]) -> None:
    rows = [("figure", "peer", "ironvec", "peer", "unit", "ratio", "rounds", "target")]
    for one in figures:
        verdict = ""
        if one.target is not None:
            verdict = f"{'ok' if one.ratio >= one.target else 'SHORT':5} (at least {one.target:.3g})"
        cells = (number(one.ours), number(one.theirs), one.unit, f"{one.ratio:.2f} x", str(one.rounds), verdict)
        rows.append((one.figure, one.peer, *cells))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = {2, 3, 5, 6}
    previous = ""
    for index, row in enumerate(rows):
        if index and row[0] != previous:
            print()
        shown = (row[0] if row[0] != previous else "", *row[1:])
        previous = row[0]
        padded = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(shown, widths, strict=True))
        )
        print("  ".join(padded).rstrip())


def print_limits(limits: Sequence[Limit]) -> None:
    for one in limits:
        word = "at most" if one.at_most else "at least"
        verdict = "ok" if one.met else "SHORT"
        print(f"{one.figure}: {number(one.value)} {one.unit} ({word} {number(one.limit)}) {verdict}".replace("  ", " "))


def write_json(path: Path, about: dict[str, Any], figures: Sequence[Figure], limits: Sequence[Limit]) -> None:
    results = {
        "about": about,
        "figures": [one._asdict() for one in figures],
        "limits": [{**one._asdict(), "met": one.met} for one in limits],
    }
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
