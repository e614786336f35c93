"""`ironvec bench`: figures that fit each other, a verdict, and a page that stands alone and shows its charts."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from ironvec.benchmark import latency
from ironvec.benchmark_page import page
from ironvec.benchmark_text import block, milliseconds, side_by_side
from ironvec.cli import main
from kit.checkpoints import write_bert

pytestmark = pytest.mark.slow

MACHINE = {
    "processor": "A <processor>", "cpus": 2, "system": "Linux x86_64", "python": "3.11", "ironvec": "0.1.0",
    "onnxruntime": "1.32.0",
}  # fmt: skip
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def measurement(model: str = "org/<model>", dtype: str = "float32", slower: float = 1.0) -> Any:
    runs = [slower * time for time in (8.0, 9.0, 10.0, 11.0, 30.0)]
    return {
        "model": model, "provider": "cpu", "dtype": dtype, "memory": "fast", "dimension": 384, "threads": 2,
        "kernels": "onnxruntime", "load_ms": 1234.0, "first_call_ms": 20.0, "tokens": 10.4, "single": latency(runs),
        "batches": [
            {
                "texts": texts, "total_ms": 10.0 * slower * texts / (1 + index),
                "per_text_ms": 10.0 * slower / (1 + index),
                "texts_per_s": 100.0 * (1 + index) / slower, "efficiency": 1.0 + index,
            }
            for index, texts in enumerate((1, 8, 32))
        ],
        "split": {"tokenize_ms": 0.5 * slower, "infer_ms": 9.0 * slower, "finish_ms": 0.1},
        "memory_mb": 140.0, "peak_memory_mb": 150.5,
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bench") / "bert").folder


def test_the_figures_fit_each_other(folder, capsys):
    assert main(["bench", str(folder), "--runs", "5", "--batches", "1,3", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    (one,) = record["measurements"]
    single = one["single"]
    assert len(single["runs"]) == 5
    assert single["least"] == min(single["runs"]) <= single["median"] <= single["p95"] <= single["p99"]
    assert single["p99"] <= single["most"] == max(single["runs"])
    assert single == latency(single["runs"])
    assert [batch["texts"] for batch in one["batches"]] == [1, 3]
    for batch in one["batches"]:
        assert batch["per_text_ms"] * batch["texts"] == pytest.approx(batch["total_ms"])
        assert batch["texts_per_s"] == pytest.approx(1000 / batch["per_text_ms"])
        assert batch["efficiency"] == pytest.approx(single["median"] / batch["per_text_ms"])
    assert min(one["split"].values()) >= 0
    assert one["split"]["tokenize_ms"] > 0
    assert one["peak_memory_mb"] >= one["memory_mb"] > 10
    assert record["machine"]["cpus"] >= 1


def test_the_target_decides(folder, capsys):
    arguments = ["bench", str(folder), "--runs", "2", "--batches", "1"]
    assert main([*arguments, "--target-p95-ms", "60000"]) == 0
    assert re.search(r"target +ok: P95 .* ms, target 60.00 s, 0.00 of it", capsys.readouterr().out)
    assert main([*arguments, "--target-p95-ms", "0.0001"]) == 1
    assert "target    FAIL: P95 " in capsys.readouterr().out


def test_configurations_side_by_side(folder, tmp_path, capsys):
    report = tmp_path / "bench.html"
    arguments = ["--runs", "2", "--batches", "1,2", "--dtype", "float32,int8", "--report", str(report)]
    assert main(["bench", str(folder), *arguments]) == 0
    out = capsys.readouterr().out
    assert f"{folder} on cpu, float32\n" in out
    assert f"{folder} on cpu, int8\n" in out
    assert "Side by side; texts/s of the best batch\n" in out
    assert f"Written: {report}\n" in out
    html = report.read_text(encoding="utf-8")
    assert html.count("<svg") == 3
    assert "bert, cpu, int8" in html


def test_texts_of_ones_own(folder, tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("paris " * 30 + "\n", encoding="utf-8")
    assert main(["bench", str(folder), "--runs", "2", "--batches", "1", "--texts", str(texts), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measurements"][0]["tokens"] == 32
    texts.write_bytes(b"\xff\n")
    assert main(["bench", str(folder), "--texts", str(texts)]) == 2
    assert "not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--runs=0", "--batches=1,x", "--batches=", "--target-p95-ms=-1", "--threads=0"])
def test_a_wrong_option_is_named(option, folder, capsys):
    with pytest.raises(SystemExit) as error:
        main(["bench", str(folder), option])
    assert error.value.code == 2
    assert "is not a " in capsys.readouterr().err


def test_a_model_that_is_nowhere(folder, tmp_path, capfd):
    assert main(["bench", str(tmp_path / "none")]) == 2
    assert "no model at " in capfd.readouterr().err
    # Of several, each in a process of its own, the one that is missing is named.
    assert main(["bench", str(tmp_path / "none"), str(folder), "--runs", "1", "--batches", "1"]) == 2
    error = capfd.readouterr().err
    assert "no model at " in error
    assert "not measured, as said above" in error
    assert main(["bench", str(folder), "--dtype", "float7"]) == 2


def test_the_lines():
    one = measurement()
    lines = list(block(one, 20.0))
    assert lines[0] == "org/<model> on cpu, float32"
    assert "  load      1.23 s, first call 20.0 ms" in lines
    assert "            P95 26.2 ms, P99 29.2 ms" in lines
    assert "  target    FAIL: P95 26.2 ms, target 20.0 ms, 1.31 of it" in lines
    assert any("infer     9.00 ms  94%" in line for line in lines)
    assert lines[-1] == "     32   107 ms   3.33 ms      300       3.00 \xd7"
    table = list(side_by_side([one, measurement(dtype="int8", slower=2.0)]))
    assert table[-1].split() == ["cpu,", "int8", "1.23", "s", "20.0", "ms", "52.4", "ms", "150", "140", "MB"]
    assert max(map(len, [*lines, *table])) <= 80
    assert [milliseconds(time) for time in (0.5, 12.34, 123.4, 12345.0)] == ["0.50 ms", "12.3 ms", "123 ms", "12.35 s"]


class Elements(HTMLParser):
    """Every element and its attributes, and whether each that was opened was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone():
    html = page([measurement(), measurement("b", "int8", 3.0)], MACHINE, 20.0)
    elements = Elements(html)
    assert elements.open == []
    tags = [tag for tag, _ in elements.found]
    assert not {"script", "link", "img", "iframe"} & set(tags)
    assert not any(name in ("src", "href") or name.startswith("on") for _, about in elements.found for name in about)
    assert "url(" not in html
    assert "http" not in html
    assert "@media (prefers-color-scheme:dark)" in html
    assert "A &lt;processor&gt;" in html
    assert "org/&lt;model&gt;" in html
    assert "<model>" not in html


def test_the_charts_draw_what_was_measured():
    one, other = measurement(), measurement("b", "int8", 3.0)
    html = page([one, other], MACHINE, 20.0)
    charts = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]
    latencies, throughput, splits = charts

    def places(chart, kind, series):
        return [float(dot.get("cx")) for dot in chart.iter("circle") if dot.get("class") == f"s{series} {kind}".strip()]

    # Ten times as far from the axis for ten times as long: all dots lie on one line through the axis at 10.
    for series, drawn in enumerate((one, other)):
        scale = {
            round((x - 10) / time, 2)
            for x, time in zip(places(latencies, "run", series), drawn["single"]["runs"], strict=True)
        }
        assert len(places(latencies, "run", series)) == 5
        assert max(scale) - min(scale) <= 0.02
    assert [line.get("class") for line in latencies.iter("line")].count("target") == 1
    curves = [curve.get("points").split() for curve in throughput.iter("polyline")]
    assert [len(points) for points in curves] == [3, 3]
    heights = [[220 - float(point.split(",")[1]) for point in points] for points in curves]
    assert heights[0][2] == pytest.approx(3 * heights[0][0], rel=0.01)
    assert heights[0][0] == pytest.approx(3 * heights[1][0], rel=0.01)
    widths = {bar.get("class"): float(bar.get("width")) for bar in list(splits.iter("rect"))[:3]}
    assert widths["infer"] == pytest.approx(18 * widths["tokenize"], rel=0.03)


def test_a_page_without_batches_or_target():
    one = {**measurement(), "batches": [], "memory_mb": None, "peak_memory_mb": None}
    html = page([one], MACHINE, None)
    assert html.count("<svg") == 2
    assert "target" not in re.sub(r"<style>.*</style>", "", html, flags=re.DOTALL)
    assert "memory    not known on this platform" in "\n".join(block(one, None))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_charts(scheme, tmp_path):
    # What the page becomes is read back from the browser, after its layout: sizes and colours as computed.
    probe = """<script>addEventListener("load", () => {
        const charts = [...document.querySelectorAll("svg")].map(svg => {
            const box = svg.getBoundingClientRect();
            const marks = [...svg.querySelectorAll("circle,rect,polyline")].filter(
                mark => mark.getBoundingClientRect().width > 0 && mark.getBoundingClientRect().right <= box.right + 1);
            const style = getComputedStyle(marks[0]);
            return [Math.round(box.width), Math.round(box.height), marks.length, style.fill, style.stroke];
        });
        const page = getComputedStyle(document.body);
        document.title = JSON.stringify({charts, paper: page.backgroundColor, ink: page.color});
    })</script>"""
    html = tmp_path / "bench.html"
    html.write_text(page([measurement(), measurement("b", "int8", 3.0)], MACHINE, 20.0) + probe, encoding="utf-8")
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=900,1200", "--dump-dom", html.as_uri(),
    ]  # fmt: skip
    if scheme == "dark":
        command.insert(1, "--blink-settings=preferredColorScheme=0")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = json.loads(re.search(r"<title>(.*?)</title>", done.stdout)[1])
    assert [chart[2] for chart in found["charts"]] == [10, 10, 6]
    for width, height, _, fill, stroke in found["charts"]:
        assert width > 600
        assert height > 80
        assert {fill, stroke} - {"none", "rgb(0, 0, 0)"}
    paper, ink = (sum(map(int, re.findall(r"\d+", found[name])[:3])) for name in ("paper", "ink"))
    assert (paper > ink) == (scheme == "light")
