"""`memory="low"`: weights stay where they lie, kernels of our own read them there, and vectors are as exact."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder
from kit import qwen3_reference
from kit.checkpoints import write_bert
from kit.families import CASES
from kit.families.golden import NOT_YET, assert_equal, golden
from kit.families.texts import TEXTS
from kit.qwen3_checkpoints import write_qwen3

OURS = [name for name, case in CASES.items() if case.family != "static" and not name.startswith(NOT_YET)]


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_every_family_equals_its_reference_and_the_portable_path(name, tmp_path, monkeypatch):
    folder, expected = tmp_path / name, golden(name)["vectors"]
    CASES[name].write(folder)
    model = Embedder(folder, memory="low")
    vectors = model.encode(TEXTS)
    assert_equal(vectors, expected)
    assert_equal(np.stack([model.encode(text) for text in TEXTS]), expected)
    best = model.device_report()["kernels"]
    monkeypatch.setenv("IRONVEC_KERNELS", "portable")
    portable = Embedder(folder, memory="low")
    assert portable.device_report()["kernels"] == "portable"
    plain = portable.encode(TEXTS)
    assert_equal(plain, expected)
    if best != "amx":
        # A sum has one order, and a product and its addition are rounded once, whatever computes them.
        np.testing.assert_array_equal(plain, vectors)
        return
    # Tiles have an order of their own. Cases that amplify rounding (a scale of 1 in attention) are further apart at
    # single texts.
    size = np.maximum(1.0, np.linalg.norm(vectors, axis=1, keepdims=True))
    assert np.median((np.abs(plain - vectors) / size).max(axis=1)) <= 2e-6


def test_a_row_has_the_same_bits_alone_and_batched(tmp_path):
    checkpoint = write_qwen3(tmp_path / "qwen3", max_positions=2048)
    model = Embedder(checkpoint.folder, memory="low", prompt_cache=False)
    texts = ["a", "a b c", "b " * 40, "c", "a " * 300, "b c a"]
    alone = np.stack([model.encode(text) for text in texts])
    np.testing.assert_array_equal(model.encode(texts), alone)
    np.testing.assert_array_equal(model.encode(texts, batch_size=2), alone)
    one_thread = Embedder(checkpoint.folder, memory="low", prompt_cache=False, threads=1)
    np.testing.assert_array_equal(one_thread.encode(texts), alone)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["lasttoken", ("max", "mean")], ids=str)
def test_long_documents_and_prompts(tmp_path, pooling):
    checkpoint = write_qwen3(
        tmp_path / "qwen3", max_positions=4096, pooling=pooling, prompts={"query": "a b c a b c a b c "}
    )
    model = Embedder(checkpoint.folder, memory="low")
    texts = ["a" * length for length in (3, 500, 512, 1300)]
    expected = qwen3_reference.of_texts(checkpoint, texts)
    np.testing.assert_allclose(model.encode(texts), expected, rtol=0, atol=1e-5)
    prompted = [f"a b c a b c a b c {text}" for text in texts]
    expected = qwen3_reference.of_texts(checkpoint, prompted)
    np.testing.assert_allclose(model.encode_query(texts), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.encode_query(texts[0]), expected[0], rtol=0, atol=1e-5)


HELD = """
import sys
from ironvec import Embedder

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

Embedder(sys.argv[1] + "/small", threads=1).encode("paris")
before = anonymous()
model = Embedder(sys.argv[1] + "/large", threads=1, memory=sys.argv[2])
model.encode("the capital of france is paris")
print(anonymous() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status tells what a process holds for itself")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_process_holds_no_weights(tmp_path, dtype):
    write_bert(tmp_path / "small")
    write_bert(tmp_path / "large", hidden=512, heads=8, layers=8, intermediate=2048, dtype=dtype)
    weights = (tmp_path / "large" / "model.safetensors").stat().st_size / 1024 * (2 if dtype == "bfloat16" else 1)

    def held(memory: str, **kernels: str) -> int:
        run = [sys.executable, "-c", HELD, str(tmp_path), memory]
        environment = {**os.environ, **kernels}
        printed = subprocess.run(run, capture_output=True, text=True, timeout=120, check=True, env=environment).stdout
        return int(printed)

    assert held("low") < 0.25 * weights
    assert held("fast", IRONVEC_KERNELS="onnxruntime") > 0.7 * weights


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/cpuinfo tells whose the processor is")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_narrow_weights_stay_where_they_lie_where_that_is_no_slower(tmp_path, dtype):
    path = write_bert(tmp_path / "bert", dtype=dtype).folder
    own = Embedder(path, memory="low").device_report()["kernels"]
    mapped = Embedder(path).device_report()["kernels"]
    copied = Embedder(path, memory_map=False).device_report()["kernels"]
    assert copied.startswith("onnxruntime")
    assert mapped == (own if dtype == "bfloat16" and leads() else copied)


def leads() -> bool:
    """Whether the processor is one on which kernels of ours were measured to be no slower."""
    facts = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    return "AuthenticAMD" in facts and {"avx2", "fma", "f16c"} <= set(facts.split())


def test_it_is_told_pickled_and_checked(tmp_path, monkeypatch):
    path = write_bert(tmp_path / "bert").folder
    usual = Embedder(path)
    assert usual.device_report()["kernels"].startswith("onnxruntime")
    low = Embedder(path, memory="low")
    assert "onnxruntime" not in low.device_report()["kernels"]
    assert pickle.loads(pickle.dumps(low)).device_report()["kernels"] == low.device_report()["kernels"]
    np.testing.assert_allclose(low.encode("paris"), usual.encode("paris"), rtol=0, atol=1e-6)
    for options, message in {
        "int8": ({"dtype": "int8"}, r'memory="low": expected "fast" but for dtype="float32"'),
        "coreml": ({"provider": "coreml-on-cpu"}, r'memory="low": expected "fast" with any provider but the CPU'),
        "copies": ({"memory_map": False}, r'memory="low": expected "fast" with memory_map=False'),
    }.values():
        with pytest.raises(ValueError, match=message):
            Embedder(path, memory="low", **options)
    with pytest.raises(ValueError, match=r'memory="none": expected "fast" or "low"'):
        Embedder(path, memory="none")
    monkeypatch.setenv("IRONVEC_KERNELS", "onnxruntime")
    with pytest.raises(ValueError, match=r'IRONVEC_KERNELS="onnxruntime": expected on this processor .*portable'):
        Embedder(path, memory="low")
    monkeypatch.setenv("IRONVEC_KERNELS", "portable")
    assert Embedder(path).device_report()["kernels"] == "portable"


@pytest.mark.parametrize("forced", ["", "neon", "AVX2", "avx2,fma", "onnx"])
def test_a_path_that_is_not_there_is_an_error(tmp_path, monkeypatch, forced):
    path = write_bert(tmp_path / "bert").folder
    monkeypatch.setenv("IRONVEC_KERNELS", forced)
    for options, others in (({}, " or onnxruntime"), ({"memory": "low"}, ""), ({"dtype": "int8"}, "")):
        expected = rf'IRONVEC_KERNELS="{forced}": expected on this processor .*portable{others}'
        with pytest.raises(ValueError, match=expected):
            Embedder(path, **options)


def test_an_onnx_file_and_a_table_are_refused(tmp_path):
    CASES["static-raw"].write(tmp_path / "table")
    with pytest.raises(ValueError, match='"fast" for a static table'):
        Embedder(tmp_path / "table", memory="low")
