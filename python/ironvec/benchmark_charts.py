"""Measurements as charts: SVG elements that an HTML page styles, by classes `s0`, `s1`, ... for series.

In: what `benchmark.measure` returned. Out: `<svg>` texts. Every number is also in the page's tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from .benchmark_text import label, milliseconds

if TYPE_CHECKING:
    from .benchmark import Measurement

SERIES = 8  # colours that the page has
_WIDTH, _MARGIN, _AXIS = 720, 10, 26
_ROW, _BAR = 46, 16


def latencies(measured: Sequence[Measurement], target_ms: float | None) -> str:
    """Every run of one text as a dot, the median and the 95th percentile as lines, the target across all."""
    most = max([*(one["single"]["most"] for one in measured), target_ms or 0.0])
    ticks = _ticks(most)
    height = len(measured) * _ROW + _AXIS
    parts = list(_grid_down(ticks, height - _AXIS, "ms"))
    if target_ms is not None:
        x = _along(target_ms, ticks)
        parts.append(f'<line class="target" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - _AXIS}"/>')
        anchor = "end" if x > _WIDTH / 2 else "start"
        parts.append(_text(x + (-5 if anchor == "end" else 5), height - _AXIS - 2, "target", "target", anchor))
    for index, one in enumerate(measured):
        top, single = index * _ROW, one["single"]
        middle = top + 30
        parts.append(_text(0, top + 13, label(one), "name"))
        figures = f"median {milliseconds(single['median'])}, P95 {milliseconds(single['p95'])}"
        parts.append(_text(_WIDTH, top + 13, figures, "figure", "end"))
        parts += [
            f'<circle class="s{index % SERIES} run" cx="{_along(time, ticks):.1f}" cy="{middle}" r="4"/>'
            for time in single["runs"]
        ]
        for name, time in (("median", single["median"]), ("p95", single["p95"])):
            place, kind = f"M{_along(time, ticks):.1f} {middle - 9}v18", f"s{index % SERIES} {name}"
            parts.append(f'<path class="{kind}" d="{place}"/>')
    return _svg(height, "The time of one text, every run", parts)


def throughput(measured: Sequence[Measurement]) -> str:
    """Texts a second over texts a call, a line for each configuration."""
    sizes = sorted({batch["texts"] for one in measured for batch in one["batches"]})
    most = max(batch["texts_per_s"] for one in measured for batch in one["batches"])
    ticks, plot, left = _ticks(most), 220, 56
    places = {size: left + (index + 0.5) * (_WIDTH - left) / len(sizes) for index, size in enumerate(sizes)}
    parts = []
    for tick in ticks:
        y = plot - tick / ticks[-1] * (plot - _MARGIN)
        parts.append(f'<line class="grid" x1="{left}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, f"{tick:,.0f}" if ticks[-1] >= 5 else f"{tick:g}", "tick", "end"))
    for size, x in places.items():
        parts.append(_text(x, plot + 18, f"{size:,}", "tick", "middle"))
    for index, one in enumerate(measured):
        points = [
            (places[batch["texts"]], plot - batch["texts_per_s"] / ticks[-1] * (plot - _MARGIN))
            for batch in one["batches"]
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="s{index % SERIES} curve" points="{line}"/>')
        parts += [f'<circle class="s{index % SERIES}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points]
    for index, one in enumerate(measured):
        y = plot + 40 + 20 * index
        parts.append(f'<circle class="s{index % SERIES}" cx="{left + 4}" cy="{y - 4}" r="5"/>')
        parts.append(_text(left + 16, y, label(one), "name"))
    return _svg(plot + 32 + 20 * len(measured), "Texts a second over texts a call", parts)


def splits(measured: Sequence[Measurement]) -> str:
    """Where the time of one text goes, a bar for each configuration."""
    names = ("tokenize", "infer", "finish")
    wholes = [[one["split"][f"{name}_ms"] for name in names] for one in measured]  # type: ignore[literal-required]
    ticks = _ticks(max(map(sum, wholes)))
    height = len(measured) * _ROW + _AXIS
    parts = list(_grid_down(ticks, height - _AXIS, "ms"))
    for index, (one, shares) in enumerate(zip(measured, wholes, strict=True)):
        top, start = index * _ROW, 0.0
        parts.append(_text(0, top + 13, label(one), "name"))
        figures = ", ".join(f"{name} {milliseconds(share)}" for name, share in zip(names, shares, strict=True))
        parts.append(_text(_WIDTH, top + 13, figures, "figure", "end"))
        for name, share in zip(names, shares, strict=True):
            x, end = _along(start, ticks), _along(start + share, ticks)
            parts.append(
                f'<rect class="{name}" x="{x:.1f}" y="{top + 21}" width="{max(end - x, 0.5):.1f}" height="{_BAR}"/>'
            )
            start += share
    return _svg(height, "Where the time of one text goes", parts)


def _ticks(most: float) -> list[float]:
    """Round numbers from 0 to at least the most, five to nine of them."""
    decade = 10.0 ** math.floor(math.log10(most)) if most > 0 else 1.0
    step = next(
        step
        for step in (decade * 2, decade, decade / 2, decade / 5, decade / 10)
        if most / step > 4 or step == decade / 10
    )
    return [step * index for index in range(max(math.ceil(most / step), 1) + 1)]


def _along(value: float, ticks: Sequence[float]) -> float:
    return _MARGIN + value / ticks[-1] * (_WIDTH - 2 * _MARGIN)


def _grid_down(ticks: Sequence[float], height: float, unit: str) -> Iterator[str]:
    for tick in ticks:
        x = _along(tick, ticks)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"/>'
        anchor = "start" if tick == 0 else "end" if tick == ticks[-1] else "middle"
        yield _text(x, height + 18, f"{tick:g} {unit}" if tick == ticks[-1] else f"{tick:g}", "tick", anchor)


def _text(x: float, y: float, content: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    opening = f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
    return "\n".join([opening, *parts, "</svg>"])
