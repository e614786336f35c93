"""The CoreML flavour under the coverage checker: every node taken, in one partition; the CPU flavour is not."""

import pytest

from ironvec import Embedder
from ironvec.inspection import inspect
from kit.checkpoints import write_bert
from kit.qwen3_checkpoints import write_qwen3

CHECKPOINTS = {
    "bert": lambda folder: write_bert(folder),
    "bert with every pooling": lambda folder: write_bert(
        folder, pooling=["max", "mean", "cls", "weightedmean"], pooling_form="mode"
    ),
    "bert with relu": lambda folder: write_bert(folder, activation="relu"),
    "bert with tanh gelu": lambda folder: write_bert(folder, activation="gelu_new", dtype="float16"),
    "qwen3": lambda folder: write_qwen3(folder),
    "qwen3 with biases": lambda folder: write_qwen3(folder, attention_bias=True, dtype="float32"),
    "qwen3 with one key/value head": lambda folder: write_qwen3(folder, heads=4, key_value_heads=1),
}


def assert_taken_whole(path) -> None:
    report = inspect(path)
    assert report["refused"] == report["cautions"] == report["unchecked"] == []
    assert report["taken"] == report["nodes"] > 20
    assert report["partitions"] == 1
    assert report["max_rank"] <= 4
    assert report["dynamic_values"] == report["unknown_shapes"] == 0
    assert report["large_initializers"] == []


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_tiny_models_go_in_whole(name, dtype, tmp_path):
    model = Embedder(CHECKPOINTS[name](tmp_path / "model").folder)
    for length, batch in ((8, 1), (32, 2)):
        path = tmp_path / f"{length}.onnx"
        model.export(path, "coreml", length=length, batch=batch, dtype=dtype)
        assert_taken_whole(path)


@pytest.mark.parametrize("length", [64, 128, 256])
def test_minilm_goes_in_whole(minilm, length, tmp_path):
    minilm.export(tmp_path / "minilm.onnx", "coreml", length=length)
    assert_taken_whole(tmp_path / "minilm.onnx")


def test_the_cpu_flavour_does_not(minilm, tmp_path):
    minilm.export(tmp_path / "minilm.onnx", "cpu")
    report = inspect(tmp_path / "minilm.onnx", dimensions={"B": 1, "L": 64})
    assert report["partitions"] > 1
    assert {finding["op"] for finding in report["refused"]} >= {
        f"com.microsoft:{name}" for name in ("EmbedLayerNormalization", "Attention", "BiasGelu")
    }
