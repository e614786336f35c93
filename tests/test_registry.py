"""models/registry.toml: every alias leads to its model, its prompts stand in for those that the files lack, and the
table of models/README.md says the same."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder
from ironvec._core import registry
from kit.checkpoints import write_bert
from kit.hub_machine import Machine, close
from kit.hub_server import HubServer, Repository

ENTRIES = registry()
README = Path(__file__).parent.parent / "models" / "README.md"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NONE = {"query": "", "document": ""}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Two tiny checkpoints that may stand for any model: one without prompts, one with its own."""
    root = tmp_path_factory.mktemp("published")
    own = {"query": "its own: "}
    return {
        "without": write_bert(root / "without", max_positions=256).folder,
        "with": write_bert(root / "with", max_positions=256, prompts=own).folder,
    }


def cached(cache: Path, hub_id: str, folder: Path) -> None:
    """Lays a folder into a Hugging Face cache as the snapshot of a repository."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)


@pytest.mark.parametrize("alias", ENTRIES)
def test_an_alias_leads_to_its_model_and_its_prompts(alias, published, tmp_path):
    entry = ENTRIES[alias]
    cached(tmp_path, entry["hub_id"], published["without"])
    # A revision: neither the package nor the digests of the published files are of interest.
    model = Embedder(alias, cache_dir=tmp_path, revision="main")
    assert model.model_id == entry["hub_id"]
    assert model.prompts == {**NONE, **entry["prompts"]}
    text, plain = "paris", Embedder(published["without"])
    for name, encode in {"query": model.encode_query, "document": model.encode_document}.items():
        expected = plain.encode(entry["prompts"].get(name, "") + text)
        np.testing.assert_allclose(encode(text), expected, rtol=0, atol=1e-6)


def test_the_hub_id_has_the_prompts_too_and_the_files_own_go_before(published, tmp_path):
    assert ENTRIES["e5-small"]["prompts"] == {"query": "query: ", "document": "passage: "}
    cached(tmp_path, "intfloat/e5-small-v2", published["with"])
    model = Embedder("intfloat/e5-small-v2", cache_dir=tmp_path)
    assert model.prompts == {"query": "its own: ", "document": "passage: "}


@pytest.mark.slow
def test_an_alias_is_fetched_from_the_hub(published, tmp_path):
    pytest.importorskip("huggingface_hub")
    server = HubServer({"nomic-ai/nomic-embed-text-v1.5": Repository(published["without"])})
    try:
        answer = Machine(tmp_path, server.url).start("nomic")
    finally:
        server.close()
    close(answer, published["without"])
    assert answer["model_id"] == "nomic-ai/nomic-embed-text-v1.5"
    assert answer["prompts"]["query"] == "search_query: "


def test_the_facts_of_a_model_that_is_here(minilm):
    entry = ENTRIES["minilm"]
    assert (minilm.dimension, minilm.max_length) == (entry["dimension"], entry["max_length"])


def test_no_two_aliases_mean_the_same_model():
    hub_ids = [entry["hub_id"] for entry in ENTRIES.values()]
    assert len(hub_ids) > 30
    assert len(set(hub_ids)) == len(hub_ids)


def test_the_table_says_what_the_registry_says():
    rows = [
        f"| `{alias}` | {entry['hub_id']} | {entry['dimension']} | {entry['max_length'] or 'any'} "
        f"| {entry['parameters'] / 1e6:.0f} M | {entry['license'] or 'not stated'} |"
        for alias, entry in ENTRIES.items()
    ]
    table = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert table == rows
