"""Models from the hub, against a local server: what is asked for, what the cache is good for, and what goes wrong."""

from pathlib import Path

import pytest

from ironvec.hub_cache import Module, description_files, weight_files
from kit.checkpoints import write_bert
from kit.hub_machine import close
from kit.hub_server import Repository, write_ballast
from kit.onnx_export import write_decoder_export
from kit.qwen3_checkpoints import write_qwen3

pytestmark = pytest.mark.slow

pytest.importorskip("huggingface_hub")

BERT, QWEN3, EXPORT = "org/bert", "org/qwen3", "org/export"
BALLAST = (
    "pytorch_model.bin",
    "README.md",
    "onnx/model.onnx",
    "openvino/model.xml",
    "tf_model.h5",
    "model.fp16.safetensors",
)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The repositories: a BERT in two revisions, a Qwen3 in shards, an ONNX export."""
    root = tmp_path_factory.mktemp("published")
    bert = write_bert(root / "bert", prompts={"query": "query: "}).folder
    other = write_bert(root / "bert-v2", seed=2).folder
    write_ballast(bert, BALLAST)
    qwen3 = write_qwen3(root / "qwen3", shards=3)
    write_ballast(qwen3.folder, BALLAST)
    # What the published exports hold: no modules.json, no safetensors.
    export = write_qwen3(root / "export")
    for name in ("model.safetensors", "modules.json", "1_Pooling/config.json"):
        (export.folder / name).unlink()
    (export.folder / "onnx").mkdir()
    for name, dtype in (("model", "float32"), ("model_fp16", "float16")):
        write_decoder_export(export.folder / "onnx" / f"{name}.onnx", export, dtype=dtype, external_data=True)
    write_ballast(export.folder, ("README.md", "onnx/model_q4.onnx", "onnx/model_q4.onnx_data"))
    return {BERT: Repository(bert, {"v2": other}), QWEN3: Repository(qwen3.folder), EXPORT: Repository(export.folder)}


def folder_of(published, hub_id, revision="main") -> Path:
    repository = published[hub_id]
    return repository.folders[repository.commits[revision]]


SMALL_FILES = {
    "config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "1_Pooling/config.json",
    "config_sentence_transformers.json",
}  # fmt: skip


def test_only_what_is_needed_is_asked_for_and_only_once(published, hub, machine):
    answer = machine.start(BERT)
    close(answer, folder_of(published, BERT))
    assert answer["model_id"] == BERT
    assert hub.fetched() == {*SMALL_FILES, "sentence_bert_config.json", "model.safetensors"}
    assert not hub.named() & set(BALLAST)
    hub.forget()
    again = machine.start(BERT)
    assert again["rows"] == answer["rows"]
    assert hub.requests == []
    assert again["imported"] is False


def test_a_sharded_checkpoint_comes_with_its_shards(published, hub, machine):
    close(machine.start(QWEN3), folder_of(published, QWEN3))
    shards = {f"model-0000{index}-of-00003.safetensors" for index in (1, 2, 3)}
    assert hub.fetched() == {*SMALL_FILES, "model.safetensors.index.json", *shards}
    assert not hub.named() & set(BALLAST)
    hub.forget()
    close(machine.start(QWEN3), folder_of(published, QWEN3))
    assert hub.requests == []


def test_an_export_comes_with_its_data(published, hub, machine):
    described = {"config.json", "tokenizer.json", "tokenizer_config.json", "config_sentence_transformers.json"}
    close(machine.start(EXPORT), folder_of(published, EXPORT))
    assert hub.fetched() == {*described, "onnx/model.onnx", "onnx/model.onnx_data"}
    hub.forget()
    close(machine.start(EXPORT), folder_of(published, EXPORT))
    assert hub.requests == []


def test_file_name_adds_that_file_alone(published, hub, machine):
    machine.start(EXPORT)
    hub.forget()
    half = {"file_name": "onnx/model_fp16.onnx"}
    close(machine.start(EXPORT, **half), folder_of(published, EXPORT), **half)
    assert hub.fetched() == {"onnx/model_fp16.onnx", "onnx/model_fp16.onnx_data"}
    hub.forget()
    close(machine.start(EXPORT, **half, no_sockets=True), folder_of(published, EXPORT), **half)
    answer = machine.start(EXPORT, file_name="onnx/model_int8.onnx")
    assert answer["error"] == "FileNotFoundError"
    assert "its ONNX files: onnx/model.onnx, onnx/model_fp16.onnx, onnx/model_q4.onnx" in answer["message"]
    assert hub.fetched() == set()


@pytest.mark.parametrize(
    ("environment", "keywords", "reason"),
    [
        ({"HF_HUB_OFFLINE": "1"}, {}, "HF_HUB_OFFLINE is set"),
        ({}, {"local_files_only": True}, "local_files_only=True"),
    ],
)
def test_offline_opens_no_socket(published, hub, machine, environment, keywords, reason):
    before = machine.start(BERT, no_sockets=True, environment=environment, **keywords)
    assert before["error"] == "FileNotFoundError"
    assert before["message"].startswith(f"no model {BERT!r}. Looked at, in this order:\n")
    assert f"the Hugging Face hub: not asked, {reason}" in before["message"]
    assert before["imported"] is False
    assert hub.requests == []
    machine.start(BERT)
    hub.forget()
    close(machine.start(BERT, no_sockets=True, environment=environment, **keywords), folder_of(published, BERT))
    assert hub.requests == []


def test_the_sockets_are_really_forbidden(machine):
    assert "a socket was opened" in machine.start(BERT, no_sockets=True)["message"]


def test_what_is_nowhere_lists_the_hub_too(hub, machine):
    answer = machine.start("org/none")
    assert answer["error"] == "FileNotFoundError"
    lines = answer["message"].splitlines()
    assert lines[0] == "no model 'org/none'. Looked at, in this order:"
    assert lines[-3].endswith("models--org--none: not in the Hugging Face cache")
    assert lines[-2].startswith(f"  {hub.url}/org/none: not there, or private: token=")
    hub.forget()
    assert "cannot be the name of a model" in machine.start("not a name")["message"]
    assert hub.requests == []


def test_a_bare_name_is_asked_for_in_both_spellings(hub, machine):
    message = machine.start("some-model")["message"]
    assert f"{hub.url}/sentence-transformers/some-model: not there" in message
    assert f"{hub.url}/some-model: not there" in message


@pytest.mark.parametrize(("status", "code"), [(401, "GatedRepo"), (403, "GatedRepo"), (401, ""), (403, "")])
def test_a_model_for_those_with_access_asks_for_a_token(hub, machine, status, code):
    hub.refusals[BERT] = (status, code)
    answer = machine.start(BERT)
    assert answer["error"] == "PermissionError"
    assert f"{BERT} from {hub.url}: refused ({status})" in answer["message"]
    assert "pass token=" in answer["message"]


def test_a_token_is_sent(hub, machine):
    assert "rows" in machine.start(BERT, token="hf_abc")
    assert hub.tokens == {"Bearer hf_abc"}


@pytest.mark.parametrize("name", ["model.safetensors", "config_sentence_transformers.json", "modules.json"])
def test_a_transfer_that_breaks_off_is_completed_by_the_next_start(published, hub, machine, name):
    hub.down.add(name)
    answer = machine.start(BERT)
    assert answer["error"] == "ConnectionError"
    assert f"{BERT} from {hub.url}" in answer["message"]
    refused = machine.start(BERT, local_files_only=True)
    assert refused["error"] == "FileNotFoundError"
    assert name in refused["message"] or "without a snapshot of revision 'main'" in refused["message"]
    hub.down.clear()
    hub.forget()
    second = machine.start(BERT)
    close(second, folder_of(published, BERT))
    assert name in hub.fetched()
    assert second["prompts"]["query"] == "query: "


def test_a_cut_transfer_is_never_taken_for_the_whole(published, hub, machine):
    whole = (folder_of(published, BERT) / "model.safetensors").read_bytes()
    hub.cut_after["model.safetensors"] = len(whole) // 2
    answer = machine.start(BERT)
    close(answer, folder_of(published, BERT))
    asked = [path for method, path in hub.requests if method == "GET" and path.endswith("/model.safetensors")]
    assert len(asked) == 2
    assert (machine.snapshot(BERT) / "model.safetensors").read_bytes() == whole


def test_no_hub_at_all(machine):
    machine.endpoint = "http://127.0.0.1:9"
    answer = machine.start(BERT)
    assert answer["error"] == "ConnectionError"
    assert answer["message"].startswith(f"{BERT} from http://127.0.0.1:9: ")
    assert "models--org--bert: not in the Hugging Face cache" in answer["message"]


def test_a_snapshot_that_another_tool_left_in_part_is_completed(published, hub, machine):
    # What transformers fetches: neither modules.json nor the pooling.
    machine.start(BERT)
    machine.forget_listings()
    snapshot = machine.snapshot(BERT)
    (snapshot / "modules.json").unlink()
    (snapshot / "1_Pooling" / "config.json").unlink()
    hub.forget()
    assert "rows" in machine.start(BERT, local_files_only=True)
    assert hub.requests == []
    close(machine.start(BERT), folder_of(published, BERT))
    assert (snapshot / "modules.json").is_file()
    assert (snapshot / "1_Pooling" / "config.json").is_file()


def test_a_whole_snapshot_of_another_tool_is_not_fetched_again(published, hub, machine):
    for hub_id in (BERT, QWEN3):
        machine.start(hub_id)
    machine.forget_listings()
    hub.forget()
    for hub_id in (BERT, QWEN3):
        close(machine.start(hub_id), folder_of(published, hub_id))
    assert hub.requests == []
    (machine.snapshot(QWEN3) / "model-00002-of-00003.safetensors").unlink()
    close(machine.start(QWEN3), folder_of(published, QWEN3))
    assert hub.requests


def test_a_revision_is_fetched_by_its_name_or_commit(published, hub, machine):
    close(machine.start(BERT, revision="v2"), folder_of(published, BERT, "v2"))
    commit = published[BERT].commits["main"]
    close(machine.start(BERT, revision=commit), folder_of(published, BERT))
    hub.forget()
    close(machine.start(BERT, revision="v2"), folder_of(published, BERT, "v2"))
    close(machine.start(BERT, revision=commit), folder_of(published, BERT))
    assert hub.requests == []
    answer = machine.start(BERT, revision="v9")
    assert answer["error"] == "FileNotFoundError"
    assert f"{hub.url}/{BERT}: no revision 'v9'" in answer["message"]


def test_cache_dir_is_where_it_goes(published, hub, machine, tmp_path):
    close(machine.start(BERT, cache_dir=str(tmp_path / "own")), folder_of(published, BERT))
    assert (tmp_path / "own" / "models--org--bert" / "snapshots").is_dir()
    assert not machine.cache.exists()


def test_an_alias_is_fetched_and_checked(published, hub, machine):
    entry = {
        "hub_id": BERT, "package": None, "package_path": None, "pypi": None, "sha256": {},
        "prompts": {"document": "passage: "},
    }  # fmt: skip
    answer = machine.start("short", registry={"short": entry})
    close(answer, folder_of(published, BERT))
    assert answer["model_id"] == BERT
    assert answer["prompts"] == {"query": "query: ", "document": "passage: "}
    entry["sha256"] = {"model.safetensors": "0" * 64}
    refused = machine.start("short", registry={"short": entry})
    assert refused["error"] == "ModelError"
    assert "expected " + "0" * 64 + "; delete it to fetch it anew" in refused["message"]
    assert "rows" in machine.start("short", registry={"short": entry}, revision="main")


def test_the_weights_fit_what_can_be_run():
    both = ["config.json", "model.safetensors", "onnx/model.onnx", "onnx/model.onnx_data", "onnx/model.onnx_data_1"]
    assert weight_files(both, [], None, "qwen3") == ["model.safetensors"]
    assert weight_files(both, [], None, "deberta-v2") == both[2:]
    assert weight_files(both[:2], [], None, "t5") == []
    old = ["modules.json", "0_Transformer/config.json", "0_Transformer/model.safetensors", "1_Pooling/config.json"]
    modules = [Module("Transformer", "0_Transformer/"), Module("Pooling", "1_Pooling/")]
    assert weight_files(old, modules, None, "bert") == ["0_Transformer/model.safetensors"]
    assert description_files(old, modules) == ["0_Transformer/config.json", "1_Pooling/config.json", "modules.json"]
