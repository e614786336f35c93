"""Weight files that change while a model is loaded: cut short or overwritten in place, they are a ModelError that names
the file; replaced by renaming, or loaded with memory_map=False, they do no harm. In subprocesses, since reading a
mapped file past its end kills."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit.checkpoints import write_bert
from kit.onnx_export import write_decoder_export, write_encoder_export
from kit.qwen3_checkpoints import write_qwen3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody cut or replace a mapped file"),
]

SCRIPT = """
import json, os, pathlib, sys, time
from ironvec import Embedder, ModelError

model_path, changed, change = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
model = Embedder(model_path, **json.loads(sys.argv[4]))
texts = ["paris", "the capital of france is paris", "a cat sat on a mat"] * 3
before = model.encode(texts)
time.sleep(0.02)
if change == "cut":
    os.truncate(changed, 100)
elif change == "emptied":
    os.truncate(changed, 0)
elif change == "overwritten":
    with changed.open("r+b") as file:
        file.write(b"\\xff" * changed.stat().st_size)
elif change == "replaced":
    (changed.parent / "new").write_bytes(b"new")
    os.replace(changed.parent / "new", changed)
elif change == "removed":
    changed.unlink()
for _ in range(2):
    try:
        rows = model.encode(texts)
    except ModelError as error:
        print("ModelError", error)
    else:
        print("the same" if abs(rows - before).max() == 0 else "other vectors")
"""


def bert(folder: Path) -> tuple[Path, Path]:
    write_bert(folder, hidden=128)
    return folder, folder / "model.safetensors"


def half_bert(folder: Path) -> tuple[Path, Path]:
    write_bert(folder, dtype="float16")
    return folder, folder / "model.safetensors"


def qwen3(folder: Path) -> tuple[Path, Path]:
    write_qwen3(folder, dtype="float32")
    return folder, folder / "model.safetensors"


def shards(folder: Path) -> tuple[Path, Path]:
    write_qwen3(folder, shards=2)
    return folder, folder / "model-00001-of-00002.safetensors"


def encoder_export(folder: Path) -> tuple[Path, Path]:
    write_encoder_export(folder / "model.onnx", write_bert(folder, hidden=128), external_data=True)
    return folder / "model.onnx", folder / "model.onnx_data"


def decoder_export(folder: Path) -> tuple[Path, Path]:
    write_decoder_export(folder / "model.onnx", write_qwen3(folder), external_data=True)
    return folder / "model.onnx", folder / "model.onnx_data"


MODELS: dict[str, tuple[Callable[[Path], tuple[Path, Path]], dict[str, object]]] = {
    "bert": (bert, {}),
    "bert in int8": (bert, {"dtype": "int8"}),
    "bert in float16": (half_bert, {}),
    "qwen3": (qwen3, {}),
    "qwen3 in int8": (qwen3, {"dtype": "int8"}),
    "shards": (shards, {}),
    "shards in int8": (shards, {"dtype": "int8"}),
    "an encoder's ONNX file": (encoder_export, {}),
    "a decoder's ONNX file": (decoder_export, {}),
    "buckets": (bert, {"provider": "coreml-on-cpu"}),
    # Kernels of our own read the file in every run.
    "bert read in place": (bert, {"memory": "low"}),
    "bert in float16 read in place": (half_bert, {"memory": "low"}),
    "qwen3 read in place": (qwen3, {"memory": "low"}),
    "shards read in place": (shards, {"memory": "low"}),
}


def can_be_copied(options: dict[str, object]) -> bool:
    return not {"provider", "memory"} & options.keys()


@pytest.fixture(params=MODELS)
def model(request, tmp_path):
    """Runs the script on a model: what it printed, one line for a call."""
    write, options = MODELS[request.param]
    path, weights = write(tmp_path / "model")

    def run(change: str, **more: object) -> tuple[list[str], Path]:
        command = [sys.executable, "-c", SCRIPT, path, weights, change, json.dumps({**options, **more})]
        environment = {**os.environ, "IRONVEC_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr[-2000:]}"
        return done.stdout.splitlines(), weights

    run.options = options  # type: ignore[attr-defined]
    return run


@pytest.mark.parametrize("change", ["cut", "emptied"])
def test_a_file_that_is_cut_is_named(model, change):
    lines, weights = model(change)
    length = {"cut": 100, "emptied": 0}[change]
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"ModelError {weights}: has {length} bytes, and had ")
        assert "when the model was loaded: load the model again" in line


def test_a_file_that_is_overwritten_is_named(model):
    lines, weights = model("overwritten")
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"ModelError {weights}: was written to after the model was loaded: load the model again")


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_a_file_that_is_replaced_by_renaming_does_no_harm(model, change):
    assert model(change)[0] == ["the same"] * 2


@pytest.mark.parametrize("change", ["cut", "emptied", "overwritten", "replaced"])
def test_a_copy_in_memory_does_not_care(model, change):
    if not can_be_copied(model.options):
        pytest.skip("refused by name, see below and test_memory_low.py")
    assert model(change, memory_map=False)[0] == ["the same"] * 2


def test_a_copy_gives_the_vectors_of_the_map(tmp_path):
    for name, (write, options) in MODELS.items():
        if can_be_copied(options):
            path, _ = write(tmp_path / name)
            mapped, copied = (Embedder(path, memory_map=flag, **options) for flag in (True, False))
            texts = ["paris", "the capital of france is paris"]
            np.testing.assert_array_equal(copied.encode(texts), mapped.encode(texts), err_msg=name)


def test_the_weights_of_a_copy_are_not_mapped(tmp_path):
    if not Path("/proc/self/maps").exists():
        pytest.skip("read from /proc")
    maps = Path("/proc/self/maps").read_text
    for name, (write, options) in MODELS.items():
        if can_be_copied(options):
            path, weights = write(tmp_path / name)
            copied = Embedder(path, memory_map=False, **options)
            copied.encode("paris")
            assert str(weights) not in maps(), name
            mapped = Embedder(path, **options)
            # What is widened at load, for kernels of ONNX Runtime's, is not read again.
            widened = name == "bert in float16" and "onnxruntime" in mapped.device_report()["kernels"]
            assert (str(weights) in maps()) != widened, name
            del mapped


def test_a_copy_pickles_as_one(tmp_path):
    path, weights = bert(tmp_path / "model")
    copied = pickle.loads(pickle.dumps(Embedder(path, memory_map=False)))
    before = copied.encode("paris")
    os.truncate(weights, 100)
    np.testing.assert_array_equal(copied.encode("paris"), before)


def test_weights_are_looked_at_through_a_link(tmp_path):
    # As the Hugging Face cache keeps them.
    path, weights = bert(tmp_path / "snapshot")
    (tmp_path / "blobs").mkdir()
    blob = weights.rename(tmp_path / "blobs" / "0123")
    weights.symlink_to(Path("..") / "blobs" / "0123")
    loaded = Embedder(path)
    before = loaded.encode("paris")
    other = tmp_path / "blobs" / "4567"
    other.write_bytes(b"other")
    weights.unlink()
    weights.symlink_to(Path("..") / "blobs" / "4567")
    np.testing.assert_array_equal(loaded.encode("paris"), before)
    os.truncate(blob, 1000)
    with pytest.raises(ModelError, match=r"model\.safetensors: has 1000 bytes, and had \d+ when"):
        loaded.encode("paris")


def test_memory_map_is_checked(tmp_path):
    path, _ = bert(tmp_path / "model")
    with pytest.raises(ValueError, match=r'memory_map=False: expected True with provider="coreml-on-cpu"'):
        Embedder(path, provider="coreml-on-cpu", memory_map=False)
    with pytest.raises(TypeError, match="memory_map"):
        Embedder(path, memory_map="no")
    assert Embedder(path, memory_map=None).encode("paris").shape == (128,)
