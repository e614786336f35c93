"""ONNX files that others exported: driven by what their inputs and outputs say. Float32 within 1e-5 of the checkpoint's
reference, float16 within 2e-3."""

import json
import shutil

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit import bert_reference, qwen3_reference
from kit.checkpoints import write_bert
from kit.onnx_export import write_decoder_export, write_encoder_export
from kit.qwen3_checkpoints import write_qwen3

TEXTS = ["", "paris", "the capital of france is paris", "cook pasta in water " * 9, "zzz ÄÖÜ 漢字", "a"]
TOLERANCE = {"float32": 1e-5, "float16": 2e-3}


@pytest.fixture
def decoder(tmp_path):
    """A Qwen3 folder without its weights: what an exporter leaves."""
    checkpoint = write_qwen3(tmp_path / "qwen3")
    (checkpoint.folder / "model.safetensors").unlink()
    return checkpoint


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"external_data": True},
        {"position_ids": False},
        {"caches": False},
        {"caches": False, "position_ids": False, "external_data": True},
        {"sentence_embedding": True},
    ],
    ids=str,
)
def test_decoders(decoder, dtype, options):
    write_decoder_export(decoder.folder / "model.onnx", decoder, dtype=dtype, **options)
    model = Embedder(decoder.folder)
    assert model.pooling == ("sentence_embedding" if "sentence_embedding" in options else "lasttoken")
    expected = qwen3_reference.of_texts(decoder, TEXTS)
    tolerance = TOLERANCE[dtype]
    vectors = model.encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=tolerance)
    alone = np.stack([model.encode(text) for text in TEXTS])
    np.testing.assert_allclose(alone, expected, rtol=0, atol=tolerance)
    prompt = model.prompts["query"]
    queries = qwen3_reference.of_texts(decoder, [prompt + text for text in TEXTS])
    np.testing.assert_allclose(model.encode_query(TEXTS), queries, rtol=0, atol=tolerance)


def test_a_bare_decoder_export_pools_the_last_token(decoder):
    # As onnx-community publishes it: no sentence-transformers files beside config.json and the tokenizer.
    (decoder.folder / "onnx").mkdir()
    write_decoder_export(decoder.folder / "onnx" / "model.onnx", decoder, external_data=True)
    for name in ("modules.json", "config_sentence_transformers.json"):
        (decoder.folder / name).unlink()
    shutil.rmtree(decoder.folder / "1_Pooling")
    expected = qwen3_reference.of_texts(decoder, TEXTS)
    np.testing.assert_allclose(Embedder(decoder.folder).encode(TEXTS), expected, rtol=0, atol=1e-5)
    (decoder.folder / "config.json").unlink()
    np.testing.assert_allclose(Embedder(decoder.folder).encode(TEXTS), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"token_type_ids": False}, {"external_data": True}, {"sentence_embedding": True}]
)
@pytest.mark.parametrize("pooling", ["mean", ["cls", "max", "lasttoken"]], ids=str)
def test_encoders(tmp_path, pooling, options):
    if pooling != "mean" and "sentence_embedding" in options:
        pytest.skip("that output is a mean")
    checkpoint = write_bert(tmp_path / "bert", pooling=pooling)
    (checkpoint.folder / "model.safetensors").unlink()
    write_encoder_export(checkpoint.folder / "model.onnx", checkpoint, **options)
    rows = [checkpoint.tokenize(text) for text in TEXTS]
    expected = bert_reference.embed(checkpoint.tensors, checkpoint.config, rows, pooling=checkpoint.pooling)
    model = Embedder(checkpoint.folder)
    assert model.dimension == expected.shape[1]
    np.testing.assert_allclose(model.encode(TEXTS), expected, rtol=0, atol=1e-5)


def test_which_one_is_used(tmp_path):
    checkpoint = write_qwen3(tmp_path / "qwen3")
    other = write_qwen3(tmp_path / "other", seed=9)
    folder = checkpoint.folder
    (folder / "onnx").mkdir()
    for path in (folder / "model.onnx", folder / "onnx" / "model_other.onnx"):
        write_decoder_export(path, other)
    ours, theirs = qwen3_reference.of_texts(checkpoint, TEXTS), qwen3_reference.of_texts(other, TEXTS)
    for expected, model in (
        (ours, Embedder(folder)),
        (theirs, Embedder(folder, file_name="model.onnx")),
        (theirs, Embedder(folder, file_name="onnx/model_other.onnx")),
        (theirs, Embedder(folder / "model.onnx")),
        (theirs, Embedder(folder / "onnx" / "model_other.onnx")),
    ):
        np.testing.assert_allclose(model.encode(TEXTS), expected, rtol=0, atol=1e-5)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of"}), encoding="utf-8")
    np.testing.assert_allclose(Embedder(folder).encode(TEXTS), theirs, rtol=0, atol=1e-5)


def test_an_unknown_required_input_is_named(decoder):
    write_decoder_export(decoder.folder / "model.onnx", decoder, extra_input="bbox")
    with pytest.raises(ModelError, match=r"model\.onnx: input `bbox` is .*supported: input_ids, attention_mask"):
        Embedder(decoder.folder)


def test_a_missing_data_file_is_named(decoder):
    write_decoder_export(decoder.folder / "model.onnx", decoder, external_data=True)
    (decoder.folder / "model.onnx_data").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: ONNX Runtime refused the model: .*model\.onnx_data"):
        Embedder(decoder.folder)


def test_a_short_data_file_is_refused(decoder):
    write_decoder_export(decoder.folder / "model.onnx", decoder, external_data=True)
    data = decoder.folder / "model.onnx_data"
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"model\.onnx: ONNX Runtime refused the model"):
        Embedder(decoder.folder)


@pytest.mark.parametrize("content", [b"", b"not an onnx file", b"\x08\x08" * 50])
def test_a_file_that_is_no_onnx(decoder, content):
    (decoder.folder / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx"):
        Embedder(decoder.folder)


@pytest.mark.parametrize("name", ["../other.onnx", "/other.onnx", "model.safetensors"])
def test_file_name_stays_inside(decoder, name):
    with pytest.raises(ValueError, match="file_name="):
        Embedder(decoder.folder, file_name=name)


def test_a_file_name_that_is_not_there(decoder):
    with pytest.raises(FileNotFoundError, match=r"model_q4\.onnx"):
        Embedder(decoder.folder, file_name="model_q4.onnx")
