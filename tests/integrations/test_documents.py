"""`docs/frameworks.md` and the examples: they run, and versions are those of the environment."""

import re
import runpy
from importlib.metadata import version
from pathlib import Path

import pytest

from kit.packages import package

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8"), re.DOTALL)


def _framework(block: str) -> str:
    return re.search(r"ironvec\.integrations\.(\w+)", block).group(1)


@pytest.mark.parametrize("block", BLOCKS, ids=_framework)
def test_an_example_runs(block, tmp_path, monkeypatch):
    package(f"ironvec.integrations.{_framework(block)}")
    assert len([line for line in block.splitlines() if line]) <= 5
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "docs/frameworks.md", "exec"), {})


def test_the_versions_are_those_that_are_installed():
    package("qdrant_client")
    pins = dict(
        re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements" / "integrations.txt").read_text(), re.MULTILINE)
    )
    assert {name: version(name) for name in pins} == pins


def test_the_search_with_qdrant():
    package("qdrant_client")
    example = runpy.run_path(str(ROOT / "examples" / "qdrant_search.py"))
    (text, score), (_, second) = example["main"]("minilm", "What is the capital of France?")
    assert text == "Paris is the capital of France."
    assert score == pytest.approx(0.8561, abs=1e-3)
    assert score > second
