"""Which of a folder's forms is loaded: ONNX files by path and by name; and whether prompts are kept."""

import os
import pickle

import numpy as np
import pytest

from ironvec import Embedder
from ironvec.resolve import resolve
from kit.onnx_export import write_decoder_export
from kit.qwen3_checkpoints import write_qwen3
from kit.vectors import close

TEXTS = ["the capital of france is paris", "", "cook pasta"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint, and beside it the export of another one, so that each is known by its vectors."""
    folder = tmp_path_factory.mktemp("arguments") / "qwen3"
    write_qwen3(folder)
    other = write_qwen3(folder.parent / "other", seed=1, dtype="float32")
    (folder / "onnx").mkdir()
    write_decoder_export(folder / "onnx" / "model.onnx", other)
    write_decoder_export(folder / "beside.onnx", other, external_data=True)
    return folder


@pytest.fixture(scope="module")
def of_export(folder):
    return Embedder(folder.parent / "other").encode(TEXTS)


@pytest.mark.parametrize("place", ["onnx/model.onnx", "beside.onnx"])
def test_an_onnx_file_is_taken_by_its_path_or_its_name(folder, of_export, place, monkeypatch):
    assert not np.allclose(Embedder(folder).encode(TEXTS), of_export, atol=0.1)
    close(Embedder(folder / place).encode(TEXTS), of_export)
    close(Embedder(str(folder / place)).encode(TEXTS), of_export)
    close(Embedder(folder, file_name=place).encode(TEXTS), of_export)
    close(Embedder(folder, file_name=f"./{place}").encode(TEXTS), of_export)
    monkeypatch.chdir(folder.parent)
    close(Embedder(f"qwen3/{place}").encode(TEXTS), of_export)


def test_a_path_to_an_onnx_file_says_it_all(folder):
    path = folder / "beside.onnx"
    assert resolve(path).folder == os.path.abspath(path)
    with pytest.raises(ValueError, match=r"file_name= is given, but .*beside\.onnx is itself the ONNX file"):
        Embedder(path, file_name="beside.onnx")
    with pytest.raises(ValueError, match=r"revision= is given, but .*beside\.onnx is itself the ONNX file"):
        Embedder(path, revision="main")
    with pytest.raises(ValueError, match=r"config\.json is a file; expected the folder of a checkpoint or an ONNX"):
        Embedder(folder / "config.json")


@pytest.mark.parametrize("name", ["../beside.onnx", "/beside.onnx", "onnx//model.onnx", "model.safetensors", ""])
def test_a_file_name_stays_inside_and_is_onnx(folder, name):
    with pytest.raises(ValueError, match=r"expected a \.onnx file inside the model's folder"):
        Embedder(folder, file_name=name)


def test_a_file_name_that_is_not_there(folder):
    with pytest.raises(TypeError, match="file_name is int; expected a str"):
        Embedder(folder, file_name=3)
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        Embedder(folder, file_name="none.onnx")


def test_file_name_and_prompt_cache_are_pickled(folder, of_export):
    copy = pickle.loads(pickle.dumps(Embedder(folder, file_name="beside.onnx", prompt_cache=False)))
    close(copy.encode(TEXTS), of_export)
    assert copy._native_arguments["prompt_cache"] is False
    assert Embedder(folder)._native_arguments["prompt_cache"] is True


def test_the_prompt_cache_changes_nothing_but_time(folder):
    with_cache, without = Embedder(folder), Embedder(folder, prompt_cache=False)
    for _ in range(2):
        close(with_cache.encode_query(TEXTS), without.encode_query(TEXTS))
    with pytest.raises(TypeError, match="prompt_cache is str; expected a bool"):
        Embedder(folder, prompt_cache="no")
