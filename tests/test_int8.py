"""dtype="int8": close to float32, the same bits for a row wherever it runs, and refused where it cannot be made."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit import qwen3_reference
from kit.bert_reference import embed
from kit.checkpoints import Checkpoint, write_bert, write_safetensors
from kit.onnx_export import write_encoder_export
from kit.qwen3_checkpoints import write_qwen3
from kit.vectors import cosines
from texts import TEXTS

SHORT_TEXTS = ["", "paris", "the capital of france is paris", "cook pasta in water " * 20, "zzz unknown", "a"]


@pytest.fixture(scope="module")
def minilm_int8() -> Embedder:
    return Embedder("minilm", dtype="int8")


def rewrite(checkpoint: Checkpoint, change: Callable[[str, np.ndarray], np.ndarray]) -> None:
    tensors = {name: ("F32", change(name, values)) for name, values in checkpoint.tensors.items()}
    write_safetensors(checkpoint.folder / "model.safetensors", tensors, {"format": "pt"})


def test_minilm_stays_close_to_sentence_transformers(minilm_int8, golden):
    vectors = minilm_int8.encode(TEXTS)
    found = cosines(vectors, golden["vectors"])
    assert minilm_int8.dtype == "int8"
    assert found.mean() >= 0.9995
    assert found.min() >= 0.998
    assert np.abs(vectors - golden["vectors"]).max() > 1e-4, "this is float32"


@pytest.mark.slow
def test_a_row_does_not_depend_on_its_neighbours(minilm_int8):
    # Hidden states have the same bits, or a value at the edge of a step would show; ONNX Runtime's sum over tokens
    # rounds otherwise in a longer batch.
    texts = list(TEXTS)
    alone = np.stack([minilm_int8.encode(text) for text in texts])
    one_thread = Embedder("minilm", dtype="int8", threads=1)
    for variant in (
        minilm_int8.encode(texts), minilm_int8.encode([*texts, "enormous " * 5000])[:-1],
        one_thread.encode(texts[::-1])[::-1],
    ):  # fmt: skip
        np.testing.assert_allclose(variant, alone, rtol=0, atol=1e-7)


def test_a_token_has_the_same_bits_alone_and_batched(tmp_path):
    checkpoint = write_qwen3(tmp_path / "qwen3", max_positions=2048)
    texts = ["a", "a b c", "b " * 40, "c", "a " * 300, "b c a"]
    model = Embedder(checkpoint.folder, dtype="int8", prompt_cache=False)
    alone = np.stack([model.encode(text) for text in texts])
    np.testing.assert_array_equal(model.encode(texts), alone)
    np.testing.assert_array_equal(model.encode(texts, batch_size=2), alone)
    one_thread = Embedder(checkpoint.folder, dtype="int8", prompt_cache=False, threads=1)
    np.testing.assert_array_equal(one_thread.encode(texts), alone)


def test_kernels_are_ours_and_told(tmp_path, monkeypatch):
    folder = write_bert(tmp_path / "bert").folder
    usual = Embedder(folder, dtype="int8")
    assert usual.device_report()["kernels"] in ("amx-int8", "avx512-vnni", "avx2-vnni", "avx2", "portable")
    monkeypatch.setenv("IRONVEC_KERNELS", "portable")
    plain = Embedder(folder, dtype="int8")
    assert plain.device_report()["kernels"] == "portable"
    assert np.abs(plain.encode(SHORT_TEXTS) - usual.encode(SHORT_TEXTS)).max() < 2e-2
    monkeypatch.setenv("IRONVEC_KERNELS", "onnxruntime")
    with pytest.raises(ValueError, match=r'IRONVEC_KERNELS="onnxruntime": expected on .*portable with dtype="int8"'):
        Embedder(folder, dtype="int8")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("options", [{}, {"activation": "relu"}, {"activation": "gelu_new"}], ids=str)
def test_tiny_berts_stay_close_to_the_reference(tmp_path, dtype, options):
    checkpoint = write_bert(tmp_path / "bert", dtype=dtype, **options)
    model = Embedder(checkpoint.folder, dtype="int8")
    rows = [checkpoint.tokenize(text) for text in SHORT_TEXTS]
    expected = embed(checkpoint.tensors, checkpoint.config, rows)
    assert cosines(model.encode(SHORT_TEXTS), expected).min() >= 0.98


@pytest.mark.parametrize("options", [{}, {"dtype": "float32"}, {"attention_bias": True}, {"shards": 2}], ids=str)
def test_tiny_qwen3s_stay_close_to_the_reference(tmp_path, options):
    checkpoint = write_qwen3(tmp_path / "qwen3", **options)
    expected = qwen3_reference.of_texts(checkpoint, SHORT_TEXTS)
    vectors = Embedder(checkpoint.folder, dtype="int8").encode(SHORT_TEXTS)
    assert cosines(vectors, expected).min() >= 0.98
    assert np.abs(vectors - expected).max() > 1e-4, "this is float32"


def test_a_row_of_zeros_stays_a_number(tmp_path):
    checkpoint = write_bert(tmp_path / "bert")
    rewrite(checkpoint, lambda name, values: np.zeros_like(values))
    assert not Embedder(checkpoint.folder, dtype="int8").encode("paris", normalize_embeddings=False).any()


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    checkpoint = write_bert(tmp_path / "bert")
    name = "encoder.layer.0.output.dense.weight"
    nan_in_row_3 = np.where(np.arange(32)[:, None] == 3, np.float32("nan"), np.float32(1))
    rewrite(checkpoint, lambda tensor, values: values * nan_in_row_3 if tensor == name else values)
    with pytest.raises(ModelError, match=rf"`{name}`: found a value in row 3 that is not finite"):
        Embedder(checkpoint.folder, dtype="int8")


def test_an_onnx_file_is_not_quantized(tmp_path):
    checkpoint = write_bert(tmp_path / "bert")
    write_encoder_export(checkpoint.folder / "model.onnx", checkpoint)
    with pytest.raises(ValueError, match=r'dtype.*"int8".*"float32" for an ONNX file, which is run as it is'):
        Embedder(checkpoint.folder / "model.onnx", dtype="int8")


def test_it_pickles(minilm_int8):
    copy = pickle.loads(pickle.dumps(minilm_int8))
    assert copy.dtype == "int8"
    np.testing.assert_array_equal(copy.encode(TEXTS[:8]), minilm_int8.encode(TEXTS[:8]))


@pytest.mark.parametrize("dtype", ["int4", "", "Float32"])
def test_other_dtypes_are_refused_by_name(dtype):
    with pytest.raises(ValueError, match=r'dtype.*expected "float32", "bfloat16", "int8" or, with CoreML, "float16"'):
        Embedder("minilm", dtype=dtype)


@pytest.mark.parametrize("provider", ["coreml-on-cpu", "cuda", "coreml"])
def test_int8_is_for_the_cpu(provider):
    with pytest.raises(ValueError, match=rf'dtype="int8": expected "float32" with provider="{provider}"; int8 is'):
        Embedder("minilm", dtype="int8", provider=provider)
    assert Embedder("minilm", dtype="int8", provider="cpu").device_report()["dtype"] == "int8"
