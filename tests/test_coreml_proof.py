"""What graphs of fixed shape prove before they serve: every bucket, with a row that fills it and with a short one."""

import os

import numpy as np
import pytest

from ironvec import Embedder, ModelError, ProviderError
from kit.checkpoints import write_bert, write_safetensors
from kit.qwen3_checkpoints import write_qwen3

PROVIDER = os.environ.get("IRONVEC_TEST_PROVIDER", "coreml-on-cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IRONVEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_bucket_whose_long_rows_alone_are_wrong_is_refused(tmp_path):
    # The sum over the tokens, of about 6,000 in every component, leaves float16 between 64 and 128 tokens.
    checkpoint = write_bert(tmp_path / "bert", pooling="mean_sqrt_len_tokens", max_positions=128)
    name = "encoder.layer.1.output.LayerNorm.bias"
    assert name in checkpoint.tensors, sorted(checkpoint.tensors)
    tensors = {**checkpoint.tensors, name: np.full_like(checkpoint.tensors[name], 6000.0)}
    write_safetensors(
        checkpoint.folder / "model.safetensors", {key: ("F32", tensor) for key, tensor in tensors.items()}
    )
    model = Embedder(checkpoint.folder, provider=PROVIDER, dtype="float16")
    assert np.isfinite(model.encode("paris", normalize_embeddings=False)).all()
    long_enough_for_the_bucket_and_no_more = "paris " * 70
    with pytest.raises(
        ProviderError, match=r"test text of 128 tokens .* at 128 tokens .*: 32 of 32 components are NaN"
    ):
        model.encode(long_enough_for_the_bucket_and_no_more)
    assert model.device_report()["open_buckets"] == [64]
    in_float32 = Embedder(checkpoint.folder, provider=PROVIDER)
    expected = Embedder(checkpoint.folder).encode("paris " * 120)
    np.testing.assert_allclose(in_float32.encode("paris " * 120), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("options", [{"max_positions": 3}, {"max_positions": 70}], ids=str)
def test_buckets_of_any_length_are_proven(tmp_path, options):
    model = Embedder(write_bert(tmp_path / "bert", **options).folder, provider=PROVIDER)
    assert model.encode(["paris", "paris " * 80]).shape == (2, 32)
    assert model.device_report()["open_buckets"] == model.device_report()["buckets"]


def test_a_bucket_that_comes_back_is_proven_without_the_cpu_again(tmp_path):
    checkpoint = write_qwen3(tmp_path / "qwen3", max_positions=600)
    models = [Embedder(checkpoint.folder, provider=PROVIDER) for _ in range(2)]
    texts = {128: "a", 512: "the capital of france " * 20, 600: "the capital of france " * 56}
    before = [models[0].encode(text) for text in texts.values()]
    assert models[0].device_report()["open_buckets"] == [512, 600]
    # What is open maps the old file; the CPU's session would have to read the new one.
    damaged = checkpoint.folder / "damaged"
    damaged.write_bytes(b"not weights")
    damaged.replace(checkpoint.folder / "model.safetensors")
    np.testing.assert_array_equal(models[0].encode(texts[128]), before[0])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        models[1].encode(texts[512])
