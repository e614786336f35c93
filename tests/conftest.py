"""Fixtures: the published MiniLM, the golden vectors, tiny random checkpoints."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ironvec import Embedder

HERE = Path(__file__).parent
# A name that is not on disk must not reach for the real hub; test_hub.py starts processes of its own.
os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE / "golden"))

from kit.checkpoints import Checkpoint, write_bert  # noqa: E402
from kit.hub_machine import Machine  # noqa: E402
from kit.hub_server import HubServer, Repository  # noqa: E402
from kit.texts import TEXTS  # noqa: E402


@pytest.fixture(scope="session")
def minilm() -> Embedder:
    """all-MiniLM-L6-v2 as published, from the installed package that carries it."""
    return Embedder("minilm")


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """What sentence-transformers makes of `golden/texts.py`; see `golden/generate.py`."""
    with np.load(HERE / "golden" / "minilm.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def golden_facts() -> dict[str, Any]:
    return json.loads((HERE / "golden" / "minilm.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint for a whole file. A file that needs another one says so by a fixture of the same name."""
    return write_bert(tmp_path_factory.mktemp("plain")).folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Embedder:
    return Embedder(folder)


@pytest.fixture(scope="module")
def rows(model: Embedder) -> np.ndarray:
    """The vectors of `kit/texts.py`."""
    return model.encode(TEXTS)


@pytest.fixture
def bert(tmp_path: Path) -> Callable[..., Checkpoint]:
    """`write_bert` into this test's folder."""

    def write(**options: Any) -> Checkpoint:
        return write_bert(tmp_path / "checkpoint", **options)

    return write


@pytest.fixture
def tiny(bert: Callable[..., Checkpoint]) -> Embedder:
    """A tiny random checkpoint, loaded."""
    return Embedder(bert().folder)


@pytest.fixture
def hub(published: dict[str, Repository]) -> Iterator[HubServer]:
    """A local hub of what the test's module has published."""
    server = HubServer(published)
    yield server
    server.close()


@pytest.fixture
def machine(tmp_path: Path, hub: HubServer) -> Machine:
    """A machine that knows that hub and has nothing yet."""
    return Machine(tmp_path, hub.url)
