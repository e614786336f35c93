"""Measurements for people: a block for each, a table where there are several.

In: what `benchmark.measure` returned. Out: lines of 80 columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .plain_text import fields, table

if TYPE_CHECKING:
    from .benchmark import Measurement


def milliseconds(time_ms: float) -> str:
    """Three digits, as far as they go."""
    if time_ms >= 1000:
        return f"{time_ms / 1000:,.2f} s"
    if time_ms >= 100:
        return f"{time_ms:.0f} ms"
    return f"{time_ms:.1f} ms" if time_ms >= 10 else f"{time_ms:.2f} ms"


def rate(texts_per_s: float) -> str:
    """Texts a second."""
    return f"{texts_per_s:,.0f}" if texts_per_s >= 10 else f"{texts_per_s:.1f}"


def configuration(one: Measurement) -> str:
    """What distinguishes a measurement of a model from others of it."""
    low = "" if one["memory"] == "fast" else f", {one['memory']} memory"
    return f"{one['provider']}, {one['dtype']}{low}"


def label(one: Measurement) -> str:
    """The model's name in short, and its configuration."""
    name = one["model"].rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return f"{name}, {configuration(one)}"


def verdict(one: Measurement, target_ms: float) -> str:
    """Whether a single text is fast enough, and by how much."""
    found = one["single"]["p95"]
    word = "ok" if found <= target_ms else "FAIL"
    return f"{word}: P95 {milliseconds(found)}, target {milliseconds(target_ms)}, {found / target_ms:.2f} of it"


def block(one: Measurement, target_ms: float | None) -> Iterator[str]:
    """All that was measured of one configuration."""
    yield f"{one['model']} on {configuration(one)}"
    single, split = one["single"], one["split"]
    runs = len(single["runs"])
    whole = split["tokenize_ms"] + split["infer_ms"] + split["finish_ms"]
    shares = (
        (name, milliseconds(part), f"{part / whole:.0%}" if whole else "")
        for name, part in (
            ("tokenize", split["tokenize_ms"]), ("infer", split["infer_ms"]), ("finish", split["finish_ms"]),
        )
    )  # fmt: skip
    held = one["memory_mb"], one["peak_memory_mb"]
    kept = ", ".join(
        f"{amount:,.0f} MB {when}" for amount, when in zip(held, ("held", "at most"), strict=True) if amount is not None
    )
    threads = f"{one['threads']} {'thread' if one['threads'] == 1 else 'threads'}"
    pairs: list[tuple[str, str | Sequence[str]]] = [
        ("load", f"{milliseconds(one['load_ms'])}, first call {milliseconds(one['first_call_ms'])}"),
        ("runs on", f"{threads}, kernels of {one['kernels']}; {one['tokens']:.0f} tokens a text"),
        ("one text", f"median {milliseconds(single['median'])}, mean {milliseconds(single['mean'])}, {runs} runs"),
        ("", f"P95 {milliseconds(single['p95'])}, P99 {milliseconds(single['p99'])}"),
        ("", f"{milliseconds(single['least'])} to {milliseconds(single['most'])}"),
        ("of which", list(table(shares, indent="", right=(1, 2)))),
        ("memory", kept or "not known on this platform"),
    ]
    if target_ms is not None:
        pairs.append(("target", verdict(one, target_ms)))
    yield from fields(pairs)
    if one["batches"]:
        yield ""
        rows = [("texts", "total", "per text", "texts/s", "against one")]
        rows += [
            (
                f"{batch['texts']:,}", milliseconds(batch["total_ms"]), milliseconds(batch["per_text_ms"]),
                rate(batch["texts_per_s"]), f"{batch['efficiency']:.2f} \xd7",
            )
            for batch in one["batches"]
        ]  # fmt: skip
        yield from table(rows, right=(0, 1, 2, 3, 4))


def side_by_side(measured: Sequence[Measurement]) -> Iterator[str]:
    """A line for each configuration."""
    rows = [("", "load", "median", "P95", "texts/s", "memory")]
    for one in measured:
        best = max((batch["texts_per_s"] for batch in one["batches"]), default=None)
        memory = one["memory_mb"]
        rows.append((
            label(one), milliseconds(one["load_ms"]), milliseconds(one["single"]["median"]),
            milliseconds(one["single"]["p95"]), "-" if best is None else rate(best),
            "-" if memory is None else f"{memory:,.0f} MB",
        ))  # fmt: skip
    if len({one["model"] for one in measured}) == 1:
        rows = [(configuration(one), *row[1:]) for one, row in zip(measured, rows[1:], strict=True)]
        rows.insert(0, ("", "load", "median", "P95", "texts/s", "memory"))
    yield "Side by side; texts/s of the best batch"
    yield from table(rows, right=(1, 2, 3, 4, 5))
