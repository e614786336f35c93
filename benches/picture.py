"""Draws what compare.py measured: horizontal bars of texts a second and of the time for one text.

    python benches/picture.py [.bench/results.json] [benches/compare.svg]

Plain SVG without a background, its colours chosen to be read on white and on black.
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
PANELS = (
    ("mixed", "Mixed texts", "5 to 256 tokens, texts a second", "{:.0f}"),
    ("short", "Short texts", "8 to 26 tokens, texts a second", "{:.0f}"),
    ("one p50", "One text", "12 tokens, milliseconds, less is better", "{:.1f}"),
)
LABELS = {
    "script": "ONNX Runtime by hand",
    "fastembed": "fastembed",
    "fastembed-32": "fastembed, batches of 32",
    "openvino": "OpenVINO by hand",
    "openvino-default": "OpenVINO, its default",
    "sentence-transformers": "sentence-transformers",
    "sentence-transformers-bfloat16": "sentence-transformers, bfloat16",
}
WIDTH, BARS_FROM, BARS_TO, MARGIN = 760, 225, 610, 8
ROW, BAR, HEAD, GAP = 25, 15, 34, 20
INK, RUST, BAND = "#737b86", "#d2602a", "#8a93a0"


class Bar(NamedTuple):
    label: str
    value: float
    ratio: float | None  # None: ours


def bars(figures: Sequence[dict[str, Any]]) -> list[Bar]:
    """Ours first, then the peers from the best to the worst."""
    ours = Bar("ironvec", statistics.median(one["ours"] for one in figures), None)
    theirs = [Bar(LABELS.get(one["peer"], one["peer"]), one["theirs"], one["ratio"]) for one in figures]
    return [ours, *sorted(theirs, key=lambda bar: bar.ratio or 0)]


def text(x: float, y: float, content: str, **attributes: str) -> str:
    fields = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:g}" y="{y:g}"{fields}>{escape(content)}</text>'


def panel(top: float, title: str, about: str, form: str, rows: Sequence[Bar]) -> tuple[list[str], float]:
    """The panel's elements, and where it ends."""
    heading = escape(title) + f'<tspan class="about" dx="8">{escape(about)}</tspan>'
    parts = [f'<text x="{MARGIN}" y="{top + 16:g}" class="title">{heading}</text>']
    parts.append(text(WIDTH - MARGIN, top + 16, "ironvec's speed against it", text_anchor="end", **{"class": "about"}))
    y, most = top + HEAD, max(bar.value for bar in rows)
    for bar in rows:
        length = max(2.0, bar.value / most * (BARS_TO - BARS_FROM))
        middle, kind = y + BAR - 3, "ours" if bar.ratio is None else "theirs"
        parts.append(text(BARS_FROM - 10, middle, bar.label, text_anchor="end", **{"class": kind}))
        parts.append(f'<rect x="{BARS_FROM}" y="{y:g}" width="{length:.1f}" height="{BAR}" rx="3" class="{kind}"/>')
        parts.append(text(BARS_FROM + length + 7, middle, form.format(bar.value), **{"class": kind}))
        if bar.ratio is not None:
            ratio = f"{bar.ratio:.2f} ×" if bar.ratio < 1.995 else f"{bar.ratio:.1f} ×"
            parts.append(text(WIDTH - MARGIN, middle, ratio, text_anchor="end", **{"class": "theirs"}))
        y += ROW
    return parts, y + GAP


def draw(results: dict[str, Any]) -> str:
    parts: list[str] = []
    top: float = MARGIN
    for name, title, about, form in PANELS:
        figures = [one for one in results["figures"] if one["figure"] == name]
        if figures:
            drawn, top = panel(top, title, about, form, bars(figures))
            parts += drawn
    about = results["about"]
    versions = about["versions"]
    named = ", ".join(
        f"{name} {versions[name]}"
        for name in ("sentence-transformers", "torch", "fastembed", "openvino", "onnxruntime")
        if name in versions
    )
    machine = f"{about['processor']}, {about['cpus']} CPUs, Python {about['python']}, {named}."
    parts.append(
        text(
            MARGIN,
            top + 2,
            "all-MiniLM-L6-v2, float32 unless named otherwise, the same texts, taken in turns; medians.",
            **{"class": "foot"},
        )
    )
    parts.append(text(MARGIN, top + 18, machine, **{"class": "foot"}))
    height = top + 18 + MARGIN
    style = (
        "text{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;"
        f"fill:{INK};font-variant-numeric:tabular-nums}}"
        f".title{{font-size:15px;font-weight:600}}.about,.foot{{font-size:11.5px;font-weight:400}}"
        f"text.ours{{fill:{RUST};font-weight:700}}rect.ours{{fill:{RUST}}}rect.theirs{{fill:{BAND};fill-opacity:.55}}"
    )
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        'role="img" aria-label="Texts a second and the time for one text: ironvec and its peers">'
    )
    return "\n".join([opening, f"<style>{style}</style>", *parts, "</svg>\n"])


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".bench" / "results.json"
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "benches" / "compare.svg"
    target.write_text(draw(json.loads(source.read_text(encoding="utf-8"))), encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
