"""Graphs of fixed shape as the engine runs them, with the CPU provider in CoreML's place: buckets, padding, what is
kept open, the proof at first use, the cache. And providers that are not there.

`IRONVEC_TEST_PROVIDER=coreml` runs the same tests on a Mac with CoreML itself.
"""

import os
import pickle
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ironvec import Embedder, ModelError, ProviderError
from kit.checkpoints import write_bert
from kit.coreml_graphs import broken_rules
from kit.onnx_export import write_encoder_export
from kit.qwen3_checkpoints import write_qwen3
from texts import TEXTS

PROVIDER = os.environ.get("IRONVEC_TEST_PROVIDER", "coreml-on-cpu")
ON_CPU = PROVIDER == "coreml-on-cpu"
# CoreML's float32 products run on a GPU, in an order of their own.
TOLERANCE = 1e-4 if ON_CPU else 1e-3


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("IRONVEC_CACHE", str(folder))
    return folder


@pytest.mark.slow
def test_minilm_over_its_buckets(minilm):
    model = Embedder("minilm", provider=PROVIDER)
    report = model.device_report()
    assert model.provider == report["provider"] == PROVIDER
    assert report["buckets"] == [64, 128, 256, 512]
    assert report["open_buckets"] == [64]
    giant = " ".join(["enormous"] * 5000)
    texts = [*TEXTS, giant, "the river runs under nine bridges " * 12]
    expected = minilm.encode(texts)
    np.testing.assert_allclose(model.encode(texts), expected, rtol=0, atol=TOLERANCE)
    assert model.device_report()["open_buckets"] == [64, 128, 256]
    np.testing.assert_allclose(model.encode(texts, batch_size=7), expected, rtol=0, atol=TOLERANCE)
    alone = np.stack([model.encode(text) for text in texts[:10]])
    np.testing.assert_allclose(alone, expected[:10], rtol=0, atol=TOLERANCE)
    # The 512 positions are beyond the model's own limit of 256, and within its buckets.
    np.testing.assert_allclose(
        model.encode(giant, max_length=512), minilm.encode(giant, max_length=512), rtol=0, atol=TOLERANCE
    )
    assert model.device_report()["open_buckets"] == [64, 128, 256, 512]


@pytest.mark.slow
def test_minilm_in_float16(minilm):
    model = Embedder("minilm", provider=PROVIDER, dtype="float16")
    assert model.dtype == model.device_report()["dtype"] == "float16"
    vectors = model.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert (vectors * minilm.encode(TEXTS)).sum(axis=1).min() >= 0.999


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "options",
    [
        {"pooling": ["cls", "max", "mean"], "pooling_form": "mode", "normalize": False},
        {"include_prompt": False, "prompts": {"query": "query: "}, "pooling": "cls"},
        {"prefix": "bert.", "dtype": "bfloat16"},
        {"max_positions": 100},
    ],
    ids=str,
)
def test_tiny_berts(tmp_path, options, dtype):
    checkpoint = write_bert(tmp_path / "bert", **options)
    compare(checkpoint, dtype, prompt="query: " if "prompts" in options else None)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("options", [{}, {"prefix": "model.", "shards": 2}, {"pooling": "mean"}], ids=str)
def test_tiny_qwen3s(tmp_path, options, dtype):
    model = compare(write_qwen3(tmp_path / "qwen3", max_positions=600, **options), dtype)
    assert model.device_report()["buckets"] == [128, 512, 600]
    # The query's prompt, which the CPU flavour computes once for all rows.
    cpu = Embedder(tmp_path / "qwen3")
    assert (model.encode_query(["cat", "dog"]) * cpu.encode_query(["cat", "dog"])).sum(axis=1).min() >= 0.999


def compare(checkpoint, dtype, prompt=None):
    texts = ["", "paris", "the capital of france is paris", "cook pasta in water " * 40, "zzz ÄÖÜ 漢字 unknown-word"]
    cpu, model = Embedder(checkpoint.folder), Embedder(checkpoint.folder, provider=PROVIDER, dtype=dtype)
    expected, found = (each.encode(texts, prompt=prompt) for each in (cpu, model))
    if dtype == "float32":
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * max(1.0, np.abs(expected).max()))
    else:
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        assert ((found * expected).sum(axis=1) / norms).min() >= 0.999
    return model


def test_few_buckets_are_kept_open(tmp_path):
    model = Embedder(write_qwen3(tmp_path / "qwen3", max_positions=600).folder, provider=PROVIDER)
    lengths = {128: "a", 512: "the capital of france " * 20, 600: "the capital of france " * 56}
    tokens = model.count_tokens(list(lengths.values())).tolist()
    assert tokens[0] <= 128 < tokens[1] <= 512 < tokens[2] <= 600
    opened = []
    for bucket in (128, 512, 600, 128):
        model.encode(lengths[bucket])
        opened.append(model.device_report()["open_buckets"])
    assert opened == [[128], [128, 512], [512, 600], [128, 600]]


def test_a_text_beyond_the_last_bucket_is_refused(tmp_path):
    model = Embedder(write_qwen3(tmp_path / "qwen3", max_positions=4096).folder, provider=PROVIDER)
    assert model.device_report()["buckets"] == [128, 512, 2048]
    long = "the capital of france " * 900
    with pytest.raises(ValueError, match=r"a text of \d+ tokens: expected at most 2048 tokens .*max_length=2048 cuts"):
        model.encode(["short", long])
    assert model.encode(["short", long], max_length=2048).shape == (2, 32)


def test_the_report_of_fixed_graphs(tmp_path, cache):
    model = Embedder(write_bert(tmp_path / "bert").folder, provider=PROVIDER)
    report = model.device_report()
    folder = Path(report["cache_folder"])
    assert folder.is_relative_to(cache)
    assert (report["partitions"], report["nodes_placed"]) == (1, report["nodes"])
    assert report["nodes"] > 40
    assert report["runtime_version"] == onnxruntime.__version__
    assert report["threads"] >= 1
    assert broken_rules(folder / "64.onnx") == []
    assert (folder / "weights.bin").stat().st_size > 0


def test_the_report_of_the_cpu_provider(tmp_path):
    checkpoint = write_bert(tmp_path / "bert")
    report = Embedder(checkpoint.folder, provider="cpu").device_report()
    assert (report["provider"], report["partitions"], report["nodes_placed"]) == ("cpu", 1, report["nodes"])
    assert report["nodes"] > 10
    assert (report["buckets"], report["open_buckets"], report["cache_folder"]) == ([], [], None)
    assert report["available_providers"][:2] == ["auto", "cpu"]
    assert report["runtime_version"] == onnxruntime.__version__
    write_encoder_export(checkpoint.folder / "model.onnx", checkpoint)
    assert Embedder(checkpoint.folder, file_name="model.onnx").device_report()["nodes"] is None


@pytest.mark.skipif(not ON_CPU, reason="CoreML compiles the weights into a cache of its own")
@pytest.mark.parametrize(
    ("damage", "message"),
    [(b"\0", r"their cosine is .*, less than 0\.9999"), (b"\xff", r"32 of 32 components are NaN or infinite")],
)
def test_other_vectors_than_the_cpus_are_refused(tmp_path, cache, damage, message):
    folder = write_bert(tmp_path / "bert").folder
    Embedder(folder, provider=PROVIDER)
    (weights,) = cache.glob("coreml/*/weights.bin")
    weights.write_bytes(damage * weights.stat().st_size)
    with pytest.raises(
        ProviderError, match=r'provider "coreml-on-cpu" cannot be used: its vector of a test text of 32 tokens is not'
    ):
        Embedder(folder, provider=PROVIDER)
    with pytest.raises(ProviderError, match=message):
        Embedder(folder, provider=PROVIDER)
    weights.unlink()
    assert Embedder(folder, provider=PROVIDER).encode("paris").shape == (32,)


@pytest.mark.skipif(not ON_CPU, reason="CoreML compiles the weights into a cache of its own")
def test_each_bucket_proves_itself(tmp_path, cache):
    model = Embedder(write_bert(tmp_path / "bert", max_positions=200).folder, provider=PROVIDER)
    (weights,) = cache.glob("coreml/*/weights.bin")
    content = weights.read_bytes()
    # Renamed, not overwritten: the open bucket maps the old file.
    weights.with_name("damaged").write_bytes(b"\xff" * len(content))
    weights.with_name("damaged").replace(weights)
    assert np.isfinite(model.encode("paris")).all()
    with pytest.raises(ProviderError, match="at 128 tokens"):
        model.encode("paris " * 90)
    weights.write_bytes(content)
    assert np.isfinite(model.encode("paris " * 90)).all()


def test_the_cache_belongs_to_the_files(tmp_path, cache):
    first = write_bert(tmp_path / "first", seed=1)
    Embedder(first.folder, provider=PROVIDER)
    # What CoreML compiles lies deeper.
    written = {path: path.stat().st_mtime_ns for path in cache.glob("coreml/*/*") if path.is_file()}
    assert sorted(path.name for path in written) == ["64.onnx", "about.json", "weights.bin"]
    Embedder(first.folder, provider=PROVIDER)
    assert written == {path: path.stat().st_mtime_ns for path in written}
    Embedder(first.folder, provider=PROVIDER, dtype="float16")
    # The same folder with other weights, and a truncated entry of the cache.
    second = write_bert(tmp_path / "first", seed=2)
    expected = Embedder(second.folder).encode("the capital of france")
    found = Embedder(second.folder, provider=PROVIDER).encode("the capital of france")
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    folders = [path for path in (cache / "coreml").iterdir() if path.is_dir()]
    assert len(folders) == 3
    for weights in cache.glob("coreml/*/weights.bin"):
        os.truncate(weights, 100)
    found = Embedder(second.folder, provider=PROVIDER).encode("the capital of france")
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    assert [path.name for path in cache.glob("coreml/*/.*")] == []


@pytest.mark.slow
def test_threads_share_the_buckets(minilm):
    model = Embedder("minilm", provider=PROVIDER)
    expected = minilm.encode(TEXTS)
    results = {}

    def work(index):
        results[index] = model.encode(TEXTS[index::4])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(4):
        np.testing.assert_allclose(results[index], expected[index::4], rtol=0, atol=TOLERANCE)


def test_pickles_keep_the_provider(tmp_path):
    model = Embedder(write_bert(tmp_path / "bert").folder, provider=PROVIDER, dtype="float16")
    again = pickle.loads(pickle.dumps(model))
    assert (again.provider, again.dtype) == (PROVIDER, "float16")
    np.testing.assert_array_equal(again.encode("paris"), model.encode("paris"))


@pytest.mark.parametrize("provider", ["coreml", "cuda"])
def test_a_provider_that_is_not_there_is_no_silent_fallback(tmp_path, provider):
    folder = write_bert(tmp_path / "bert").folder
    there = Embedder(folder, provider="cpu").device_report()["available_providers"]
    names = ", ".join(f'"{name}"' for name in there)
    # A library may have a provider that the machine has no hardware for: only a session tells.
    problem = "cannot be used: " if provider in there else f"is not available; available: {names}"
    try:
        ran_on = Embedder(folder, provider=provider).provider
    except ProviderError as error:
        ran_on = str(error)
    assert ran_on.startswith(f'provider "{provider}" {problem}') or (provider in there and ran_on == provider)
    assert Embedder(folder).provider == "cpu", "auto takes no accelerator unasked"


def test_what_the_provider_does_not_do_is_refused(tmp_path):
    checkpoint = write_bert(tmp_path / "bert")
    for provider in ("auto", "cpu"):
        with pytest.raises(ValueError, match=f'dtype="float16": expected "float32" with provider="{provider}"'):
            Embedder(checkpoint.folder, provider=provider, dtype="float16")
    write_encoder_export(checkpoint.folder / "model.onnx", checkpoint)
    with pytest.raises(ProviderError, match=r"it runs checkpoints, and .*model\.onnx is an ONNX file"):
        Embedder(checkpoint.folder, provider=PROVIDER, file_name="model.onnx")
    (checkpoint.folder / "model.onnx").unlink()
    (checkpoint.folder / "model.safetensors").unlink()
    with pytest.raises((FileNotFoundError, ModelError)):
        Embedder(checkpoint.folder, provider=PROVIDER)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("IRONVEC_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"coreml.*cannot be written"):
        Embedder(write_bert(tmp_path / "bert").folder, provider=PROVIDER)
