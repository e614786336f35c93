"""Where CoreML's weights and compiled models are kept, and `ironvec cache`, which shows and removes them."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder, ProviderError
from ironvec._core import cache_entries, cache_folder, remove_cache_entry
from ironvec.cli import main
from kit.checkpoints import write_bert

PROVIDER = "coreml-on-cpu"
LONG = "paris " * 90
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other folders for caches")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("cache") / "bert", max_positions=200).folder


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("IRONVEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_relative_folder_stays_the_one_it_was_at_load(folder, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IRONVEC_CACHE", "mine")
    model = Embedder(folder, provider=PROVIDER)
    report = model.device_report()
    assert Path(str(report["cache_folder"])).is_relative_to(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "elsewhere")
    expected = Embedder(folder).encode(LONG)
    np.testing.assert_allclose(model.encode(LONG), expected, rtol=0, atol=1e-4)
    assert model.device_report()["open_buckets"] == [64, 128]
    assert os.listdir(tmp_path / "elsewhere") == []


@on_linux
def test_the_platforms_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("IRONVEC_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == str(tmp_path / "caches" / "ironvec")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the XDG specification has ignored
    assert cache_folder() == str(tmp_path / "home" / ".cache" / "ironvec")
    monkeypatch.setenv("IRONVEC_CACHE", "")
    assert cache_folder() == str(tmp_path / "home" / ".cache" / "ironvec")


@on_linux
def test_without_a_home_coreml_is_refused_by_name(folder, monkeypatch, capsys):
    monkeypatch.delenv("IRONVEC_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "nowhere")
    with pytest.raises(ProviderError, match=r'"coreml-on-cpu" cannot be used: .* no home folder .* set IRONVEC_CACHE'):
        Embedder(folder, provider=PROVIDER)
    assert Embedder(folder).provider == "cpu"
    assert main(["cache", "list"]) == 1
    assert "set IRONVEC_CACHE" in capsys.readouterr().err


def test_the_cache_is_listed_and_cleared(folder, cache, capsys):
    assert main(["cache", "list"]) == 0
    assert capsys.readouterr().out == f"{cache}: 0 entries, 0.0 MB\n"
    for dtype in ("float32", "float16"):
        Embedder(folder, provider=PROVIDER, dtype=dtype)
    assert main(["cache", "list"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"{re.escape(str(cache))}: 2 entries, \d\.\d MB", head)
    # The one used last is first.
    assert [re.split(r"  +", line.strip(), maxsplit=3)[2:] for line in lines] == [
        ["float16", str(folder)], ["float32", str(folder)],
    ]  # fmt: skip
    assert main(["cache", "clear", "--unused-for", "1"]) == 0
    assert capsys.readouterr().out == f"{cache}: removed 0 entries, 0.0 MB\n"
    os.utime(*(f"{cache_entries()[1]['folder']}.lock",), times=(1, 1))
    assert main(["cache", "clear", "--unused-for", "30"]) == 0
    assert capsys.readouterr().out.startswith(f"{cache}: removed 1 entry, ")
    assert [entry["dtype"] for entry in cache_entries()] == ["float16"]
    assert main(["cache", "clear"]) == 0
    assert cache_entries() == []
    assert Embedder(folder, provider=PROVIDER).encode("paris").shape == (32,)


def test_what_a_process_has_open_is_kept(folder, cache, capsys):
    model = Embedder(folder, provider=PROVIDER)
    (entry,) = cache_entries()
    assert entry["in_use"]
    assert not remove_cache_entry(entry["name"])
    assert main(["cache", "clear"]) == 1
    assert f"kept, in use: {entry['folder']}" in capsys.readouterr().out
    assert model.encode(LONG).shape == (32,)
    del model
    (entry,) = cache_entries()
    assert not entry["in_use"]
    assert main(["cache", "clear"]) == 0
    assert not Path(entry["folder"]).exists()


def test_wrong_arguments(cache, capsys):
    for arguments in (["cache"], ["cache", "empty"], ["cache", "clear", "--unused-for", "-1"]):
        with pytest.raises(SystemExit) as exit_code:
            main(arguments)
        assert exit_code.value.code == 2
    assert "'-1' is not a number of days" in capsys.readouterr().err
