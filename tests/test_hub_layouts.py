"""Each way in which a repository lays out its model, fetched from a local hub and found again without one."""

import hashlib
import re

import pytest

from ironvec import ModelError
from ironvec.hub_cache import read_modules
from kit.checkpoints import write_json
from kit.hub_layouts import TRANSFORMER, write_layouts
from kit.hub_machine import close
from kit.hub_server import HubServer, Repository

pytestmark = pytest.mark.slow

pytest.importorskip("huggingface_hub")

LAYOUTS = [
    "org/bin", "org/bin-shards", "org/both", "org/head", "org/named", "org/old", "org/static", "org/model2vec",
    "org/bare",
]  # fmt: skip
# What each cannot be run without.
VITAL = [
    ("org/bin", "pytorch_model.bin"),
    ("org/bin-shards", "pytorch_model-00002-of-00002.bin"),
    ("org/both", "2_Dense/config.json"),
    ("org/both", "2_Dense/model.safetensors"),
    ("org/head", "2_Dense/pytorch_model.bin"),
    ("org/head", "3_LayerNorm/model.safetensors"),
    ("org/named", "Pooling/config.json"),
    ("org/named", "head/to eight/model.safetensors"),
    ("org/old", "0_Transformer/config.json"),
    ("org/static", "0_StaticEmbedding/model.safetensors"),
    ("org/static", "0_StaticEmbedding/tokenizer.json"),
    ("org/model2vec", "model.safetensors"),
]


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    return write_layouts(tmp_path_factory.mktemp("layouts"))


@pytest.fixture
def hub(layouts):
    server = HubServer({hub_id: Repository(layout.folder) for hub_id, layout in layouts.items()})
    yield server
    server.close()


@pytest.mark.parametrize("hub_id", LAYOUTS)
def test_what_is_needed_is_fetched_and_found_again(layouts, hub, machine, hub_id):
    close(machine.start(hub_id), layouts[hub_id].folder)
    assert hub.fetched() == layouts[hub_id].needed
    hub.forget()
    close(machine.start(hub_id), layouts[hub_id].folder)
    assert hub.requests == []
    close(machine.start(hub_id, no_sockets=True, local_files_only=True), layouts[hub_id].folder)


@pytest.mark.parametrize("hub_id", [hub_id for hub_id in LAYOUTS if hub_id != "org/bare"])
def test_a_whole_snapshot_of_another_tool_is_not_fetched_again(layouts, hub, machine, hub_id):
    machine.start(hub_id)
    machine.forget_listings()
    hub.forget()
    close(machine.start(hub_id), layouts[hub_id].folder)
    assert hub.requests == []


@pytest.mark.parametrize("by_ironvec", [True, False])
@pytest.mark.parametrize(("hub_id", "file"), VITAL)
def test_a_file_that_is_missing_is_named_offline_and_fetched_online(layouts, hub, machine, hub_id, file, by_ironvec):
    machine.start(hub_id)
    if not by_ironvec:
        machine.forget_listings()
    (machine.snapshot(hub_id) / file).unlink()
    refused = machine.start(hub_id, local_files_only=True)
    assert refused["error"] == "FileNotFoundError"
    # Which of its formats a folder lacks, only the repository's listing tells.
    known = by_ironvec or file.rpartition("/")[2] != "pytorch_model.bin"
    named = file if known else file.replace("pytorch_model.bin", "model.safetensors")
    assert f"incomplete, without {named}" in refused["message"]
    hub.forget()
    close(machine.start(hub_id), layouts[hub_id].folder)
    assert file in hub.named()


def test_a_module_outside_the_repository_is_refused_before_anything_else_is_fetched(hub, machine):
    answer = machine.start("org/outside")
    assert answer["error"] == "ModelError"
    assert (
        'modules.json: module 1: path is "../1_Pooling"; supported: a folder inside the model\'s' in answer["message"]
    )
    assert hub.fetched() == {"modules.json"}


@pytest.mark.parametrize("path", ["..", "a/../../b", "/etc", "a\\..\\..\\b", "~/b", "a\0b"])
def test_paths_that_leave(path, tmp_path):
    write_json(tmp_path / "modules.json", [{"type": TRANSFORMER, "path": path}])
    with pytest.raises(ModelError, match=re.escape("modules.json: module 0: path is ")):
        read_modules(str(tmp_path))


@pytest.mark.parametrize("content", [{}, [3], [{"type": TRANSFORMER}], [{"type": 3, "path": ""}]])
def test_what_is_no_list_of_modules_is_left_to_the_loader(content, tmp_path):
    write_json(tmp_path / "modules.json", content)
    assert read_modules(str(tmp_path)) == []


def test_another_file_is_run_without_the_weights_that_the_registry_knows(layouts, machine):
    machine.start("org/bin")
    machine.forget_listings()
    snapshot = machine.snapshot("org/bin")
    digests = {
        name: hashlib.sha256((snapshot / name).read_bytes()).hexdigest()
        for name in ("config.json", "pytorch_model.bin")
    }
    (snapshot / "pytorch_model.bin").unlink()
    (snapshot / "other.onnx").write_bytes(b"no graph")
    entry = {
        "hub_id": "org/bin", "package": None, "package_path": None, "pypi": None, "sha256": digests, "prompts": {},
    }  # fmt: skip
    # It gets as far as reading the file.
    answer = machine.start("short", registry={"short": entry}, file_name="other.onnx", local_files_only=True)
    assert (answer["error"], "other.onnx" in answer["message"]) == ("ModelError", True), answer
    (snapshot / "config.json").unlink()
    answer = machine.start("short", registry={"short": entry}, file_name="other.onnx", local_files_only=True)
    assert "incomplete, without config.json" in answer["message"]
    answer = machine.start("short", registry={"short": entry}, local_files_only=True)
    assert "without config.json, model.safetensors, pytorch_model.bin" in answer["message"]
