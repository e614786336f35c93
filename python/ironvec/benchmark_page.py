"""Measurements as one HTML page that stands alone: no scripts, no fonts, nothing from elsewhere.

In: what `benchmark.measure` returned, and the machine. Out: HTML, light or dark as the reader's system is, with charts,
and a table of every number in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from .benchmark_charts import latencies, splits, throughput
from .benchmark_text import configuration, label, milliseconds, rate, verdict

if TYPE_CHECKING:
    from .benchmark import Measurement

# Of the colours each differs from the others for colour-blind readers too (Okabe and Ito), the dark ones lightened.
_LIGHT = ("#b8501f", "#0072b2", "#007a5e", "#a34f86", "#8a6d00", "#3b7ea8", "#595f69", "#7a3fb0")
_DARK = ("#f08a4b", "#58b4f0", "#2fc79f", "#e08fc4", "#e3c34a", "#8fd0f5", "#b0b7c3", "#b894f0")

_FONT = 'system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif'
_STYLE = f"""\
:root{{color-scheme:light dark;
  --paper:#fff;--ink:#1f2430;--soft:#5b6270;--line:#dfe3ea;--good:#1a7f4b;--bad:#c0312b}}
@media (prefers-color-scheme:dark){{:root{{
  --paper:#14171d;--ink:#e6e9ef;--soft:#9aa3b2;--line:#2d333e;--good:#4cc38a;--bad:#ff7b72}}}}
body{{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 {_FONT}}}
main{{max-width:780px;margin:0 auto;padding:28px 20px 60px}}
h1{{font-size:24px;margin:0 0 4px}}h2{{font-size:17px;margin:34px 0 8px}}p{{margin:4px 0;color:var(--soft)}}
figure{{margin:12px 0 0}}svg{{width:100%;height:auto;display:block;overflow:visible}}
svg text{{font:12px {_FONT};fill:var(--soft);font-variant-numeric:tabular-nums}}
svg .name{{fill:var(--ink);font-size:13px}}
svg text{{paint-order:stroke;stroke:var(--paper);stroke-width:4}}.grid{{stroke:var(--line)}}.curve{{stroke-width:2.5}}
.run{{fill-opacity:.45;stroke:none}}.median,.p95{{stroke-width:3}}.p95{{stroke-dasharray:4 2}}
line.target{{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:6 4}}svg text.target{{fill:var(--bad)}}
.tokenize{{fill:var(--s1)}}.infer{{fill:var(--s0)}}.finish{{fill:var(--s2)}}
.scroll{{overflow-x:auto}}table{{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}}
th,td{{padding:5px 10px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}}
th{{color:var(--soft);font-weight:500}}th:first-child,td:first-child{{text-align:left;padding-left:0}}
.ok{{color:var(--good);font-weight:600}}.fail{{color:var(--bad);font-weight:600}}
.key span{{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 6px 0 14px}}
.key span:first-child{{margin-left:0}}
.key .tokenize{{background:var(--s1)}}.key .infer{{background:var(--s0)}}.key .finish{{background:var(--s2)}}
"""


def page(measured: Sequence[Measurement], machine: Mapping[str, object], target_ms: float | None) -> str:
    """The whole page."""
    names = ", ".join(dict.fromkeys(one["model"] for one in measured))
    parts = [
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>ironvec bench: {escape(names)}</title>", f"<style>{_STYLE}{_colours()}</style></head><body><main>",
        f"<h1>{escape(names)}</h1>", f"<p>{escape(_about(machine, measured))}</p>",
        *_verdicts(measured, target_ms),
        *_chart("One text", "Each dot is a run; the line is the median, the broken one the 95th percentile.",
                latencies(measured, target_ms)),
    ]  # fmt: skip
    if any(one["batches"] for one in measured):
        parts += _chart("Texts a second", "Over texts a call, the median run.", throughput(measured))
    key = "".join(f'<span class="{name}"></span>{name}' for name in ("tokenize", "infer", "finish"))
    said = f'<span class="key">{key}</span>. The network pools and scales in the same run.'
    parts += _chart("Where the time goes", said, splits(measured))
    parts += _summary(measured)
    parts += [line for one in measured if one["batches"] for line in _batches(one)]
    return "\n".join([*parts, "</main></body></html>\n"])


def _colours() -> str:
    def named(colours: Sequence[str]) -> str:
        return "".join(f"--s{index}:{colour};" for index, colour in enumerate(colours))

    series = "".join(f".s{index}{{stroke:var(--s{index});fill:var(--s{index})}}" for index in range(len(_LIGHT)))
    dark = f"@media (prefers-color-scheme:dark){{:root{{{named(_DARK)}}}}}"
    return f":root{{{named(_LIGHT)}}}\n{dark}\n{series}\n.curve{{fill:none}}\n"


def _about(machine: Mapping[str, object], measured: Sequence[Measurement]) -> str:
    runs = len(measured[0]["single"]["runs"])
    return (
        f"{machine['processor']}, {machine['cpus']} CPUs, {machine['system']}; ironvec {machine['ironvec']}, "
        f"onnxruntime {machine['onnxruntime']}, Python {machine['python']}. Runs of each kind: {runs}; "
        f"texts of {measured[0]['tokens']:.0f} tokens on average."
    )


def _verdicts(measured: Sequence[Measurement], target_ms: float | None) -> Iterator[str]:
    if target_ms is None:
        return
    for one in measured:
        word, _, rest = verdict(one, target_ms).partition(": ")
        yield f'<p><span class="{word.lower()}">{word}</span> {escape(label(one))}: {escape(rest)}</p>'


def _chart(title: str, about: str, svg: str) -> Iterator[str]:
    """`about` is HTML."""
    yield f"<h2>{escape(title)}</h2><p>{about}</p><figure>"
    yield svg
    yield "</figure>"


def _summary(measured: Sequence[Measurement]) -> Iterator[str]:
    times, around = [], []
    for one in measured:
        single, held = one["single"], (one["memory_mb"], one["peak_memory_mb"])
        found = (single["mean"], single["median"], single["p95"], single["p99"], single["least"], single["most"])
        times.append((label(one), *map(milliseconds, found)))
        memory = ("-" if amount is None else f"{amount:,.0f} MB" for amount in held)
        around.append((label(one), milliseconds(one["load_ms"]), milliseconds(one["first_call_ms"]), *memory))
    yield from _table("One text, in figures", ("", "mean", "median", "P95", "P99", "least", "most"), times)
    yield from _table("Load and memory", ("", "load", "first call", "held", "at most"), around)


def _batches(one: Measurement) -> Iterator[str]:
    rows = [
        (
            f"{batch['texts']:,}", milliseconds(batch["total_ms"]), milliseconds(batch["per_text_ms"]),
            rate(batch["texts_per_s"]), f"{batch['efficiency']:.2f} \xd7",
        )
        for batch in one["batches"]
    ]  # fmt: skip
    heads = ("texts", "total", "per text", "texts/s", "against one")
    yield from _table(f"Batches: {one['model']}, {configuration(one)}", heads, rows)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f'<h2>{escape(title)}</h2><div class="scroll"><table><thead><tr>'
    yield "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr></thead><tbody>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    yield "</tbody></table></div>"
