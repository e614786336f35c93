"""What the adapters share, and what they do where their framework is not installed; `integrations/` has the rest."""

import json
import os
import pickle
import re
import threading
from pathlib import Path

import pytest

import ironvec
from ironvec import Embedder, loaded_model
from ironvec.integrations import named_model
from ironvec.integrations.named_model import NamedModel
from kit.interpreter import python

ROOT = Path(__file__).parents[1]
FOLDER = Path(ironvec.__file__).parent / "integrations"
SHARED = {"__init__", "named_model"}
ADAPTERS = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem not in SHARED)


def test_importing_the_package_imports_no_framework_and_no_adapter():
    code = "import sys, ironvec.integrations; print(*(name for name in sys.modules if 'integrations.' in name))"
    assert python(code) == "\n"


# A module that is None in sys.modules cannot be imported.
_WITHOUT = """
import sys
adapter, *packages = sys.argv[1:]
sys.modules.update(dict.fromkeys(packages))
try:
    __import__(f"ironvec.integrations.{adapter}")
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_framework_that_is_missing_is_named_as_pip_knows_it(adapter):
    source = (FOLDER / f"{adapter}.py").read_text(encoding="utf-8")
    [(distribution, block)] = re.findall(r'^with needs\("(.*)"\):\n((?:    .*\n)+)', source, re.MULTILINE)
    imported = re.findall(r"from (\w+)", block)
    assert f"pip install {distribution}\n" in python(_WITHOUT, adapter, *imported)
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(rf'^{adapter.replace("_", "-")} = \["{distribution}>=', pyproject, re.MULTILINE), "no extra"


def test_the_table_names_every_adapter_and_the_versions_tested():
    table = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert {name for row in rows for name in re.findall(r"ironvec\.integrations\.(\w+) import", row)} == set(ADAPTERS)
    pins = (ROOT / "requirements" / "integrations.txt").read_text(encoding="utf-8").splitlines()
    for row in rows:
        tested = [pair.split() for pair in row.split("|")[3].split(",")]
        assert tested
        assert {f"{name}=={version}" for name, version in tested} <= set(pins), row


# --- a model by its name


def test_a_name_and_options_come_back(folder):
    named = NamedModel(folder, {"truncate_dim": 8, "prompts": {"query": "blue "}, "cache_dir": Path("/tmp/cache")})
    expected = (str(folder), {"truncate_dim": 8, "prompts": {"query": "blue "}, "cache_dir": "/tmp/cache"})
    assert (named.name, named.options) == expected
    data = pickle.dumps(named)
    assert len(data) < 500
    copy = pickle.loads(data)
    assert (copy.name, copy.options) == expected
    json.dumps([named.name, named.options])
    named.options["truncate_dim"] = 4
    assert named.load().dimension == 8, "a copy was changed"


def test_an_embedder_is_read_as_name_and_options(folder):
    model = Embedder(folder, max_length=16, token="hf_secret")
    named = NamedModel(model)
    assert named.load() is model
    assert (named.name, named.options) == (str(folder), {"max_length": 16})
    assert NamedModel(folder, {"max_length": 16}).load() is model, "loaded twice"


def test_a_path_is_made_absolute_and_a_name_is_not(folder, monkeypatch):
    monkeypatch.chdir(Path(folder).parent)
    assert NamedModel(Path(folder).name).name == str(folder)
    assert NamedModel("minilm").name == "minilm"


@pytest.fixture
def loaded(monkeypatch):
    """One item for each time that a model's weights are loaded."""
    calls, load = [], loaded_model._load
    monkeypatch.setattr(loaded_model, "_load", lambda arguments: calls.append(arguments) or load(arguments))
    return calls


def test_those_that_name_it_alike_share_it_while_one_holds_it(folder, loaded):
    first, second, other = NamedModel(folder), NamedModel(str(folder), {}), NamedModel(folder, {"truncate_dim": 8})
    assert loaded == [], "loaded before its first use"
    assert first.load() is second.load() is first.load()
    assert other.load() is not first.load()
    assert len(loaded) == 2
    del first, second
    NamedModel(folder).load()
    assert len(loaded) == 3, "kept alive for nobody"


def test_threads_load_it_once(folder, loaded):
    gate, models = threading.Barrier(8), []

    def load():
        gate.wait()
        models.append(NamedModel(folder, {"truncate_dim": 5}).load())

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 1
    assert len(set(map(id, models))) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_can_load_where_its_parent_was_loading():
    with named_model._loading:
        child = os.fork()
        if child == 0:
            os._exit(0 if named_model._loading.acquire(timeout=5) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Special(Embedder):
    pass


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        ("minilm", {"token": "hf_secret"}, ValueError, "options would keep the token in a config: set HF_TOKEN"),
        ("minilm", {"dtyp": "int8"}, TypeError, r"options has \['dtyp'\], which Embedder does not take; it takes"),
        ("minilm", {"prompts": {"query": object()}}, TypeError, "options of 'minilm' holds what a config cannot"),
        (None, None, TypeError, "model is NoneType; expected a name, a path or an ironvec.Embedder"),
    ],
)
def test_what_a_config_cannot_hold_is_refused(model, options, error, message):
    with pytest.raises(error, match=message) as caught:
        NamedModel(model, options)
    assert "hf_secret" not in str(caught.value)


def test_an_embedder_has_its_own_options_and_is_no_subclass(folder, model):
    with pytest.raises(ValueError, match="this Embedder has been made with its own"):
        NamedModel(model, {"truncate_dim": 8})
    with pytest.raises(TypeError, match="model is Special; a config can name an Embedder, not a subclass"):
        NamedModel(Special(folder))
