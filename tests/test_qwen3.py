"""Tiny random Qwen3 checkpoints against the NumPy reference of the architecture, with and without a shared prompt."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit import qwen3_reference
from kit.bert_reference import pool
from kit.qwen3_checkpoints import write_qwen3

TEXTS = [
    "",
    "paris",
    "the capital of france is paris",
    "what is the capital of france",
    "cook pasta in water " * 20,
    "zzz ÄÖÜ 漢字 unknown-word",
    "a",
    "the capital of france is paris",
]
QUERY = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


@pytest.mark.parametrize(
    "options",
    [
        {"heads": 4, "key_value_heads": 4},
        {"heads": 4, "key_value_heads": 2},
        {"heads": 4, "key_value_heads": 1},
        {"heads": 8, "key_value_heads": 2, "head_dim": 6, "hidden": 40},
        {"layers": 1},
        {"layers": 4, "seed": 5},
        {"attention_bias": True},
        {"prefix": "model."},
        {"prefix": "model.", "shards": 3},
        {"shards": 2},
        {"dtype": "float32"},
        {"dtype": "float16"},
        {"rope_theta": 10000.0},
        {"rope_parameters_form": True, "rope_theta": 5e5},
        {"padding_side": "right"},
        {"normalize": False},
    ],
    ids=str,
)
def test_every_shape_equals_the_reference(tmp_path, options):
    checkpoint = write_qwen3(tmp_path / "qwen3", **options)
    model = Embedder(checkpoint.folder)
    assert model.pooling == "lasttoken"
    assert model.tokenize(TEXTS) == [checkpoint.tokenize(text) for text in TEXTS]
    expected = qwen3_reference.of_texts(checkpoint, TEXTS)
    tolerance = 1e-5 * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(model.encode(TEXTS), expected, rtol=0, atol=tolerance)
    alone = np.stack([model.encode(text) for text in TEXTS])
    np.testing.assert_allclose(alone, expected, rtol=0, atol=tolerance)
    with_prompt = model.encode(TEXTS, prompt=QUERY)
    np.testing.assert_allclose(with_prompt, qwen3_reference.of_texts(checkpoint, TEXTS, QUERY), rtol=0, atol=tolerance)


GOLDEN = Path(__file__).parent / "golden"


def test_vectors_equal_transformers(tmp_path):
    facts = json.loads((GOLDEN / "qwen3_tiny.json").read_text(encoding="utf-8"))
    checkpoint = write_qwen3(tmp_path / "qwen3", **facts["write_qwen3"])
    digest = hashlib.sha256((checkpoint.folder / "model.safetensors").read_bytes()).hexdigest()
    assert digest == facts["model.safetensors sha256"], "another checkpoint than the golden one"
    model = Embedder(checkpoint.folder)
    with np.load(GOLDEN / "qwen3_tiny.npz") as golden:
        assert np.concatenate(model.tokenize(facts["texts"])).tolist() == golden["token_ids"].tolist()
        np.testing.assert_allclose(model.encode(facts["texts"]), golden["vectors"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(model.encode_query(facts["texts"]), golden["query_vectors"], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_qwen3(tmp_path_factory.mktemp("qwen3") / "qwen3", layers=3, max_positions=4096).folder


@pytest.fixture(scope="module")
def model(folder):
    return Embedder(folder)


# "cat" takes the prompt's last character into its own first token, so that row shares less of the prompt, or nothing.
PROMPTED = ["cat", "cats of the river", *TEXTS]


def test_a_prompt_equals_the_concatenated_text(model):
    expected = model.encode([QUERY + text for text in PROMPTED])
    for name, vectors in {
        "prompt": model.encode(PROMPTED, prompt=QUERY),
        "encode_query": model.encode_query(PROMPTED),
        "one by one": np.stack([model.encode_query(text) for text in PROMPTED]),
        "again, from the cache": model.encode_query(PROMPTED),
    }.items():
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5, err_msg=name)


def test_the_prompt_cache_changes_nothing(folder, model):
    uncached = Embedder(folder, prompt_cache=False)
    many = [f"{text} {index}" for index, text in enumerate(PROMPTED * 12)]
    common = ["the capital of france is " + text for text in many]  # a prefix that no prompt names
    for texts in (many, common):
        np.testing.assert_allclose(model.encode(texts), uncached.encode(texts), rtol=0, atol=1e-5)
        np.testing.assert_allclose(model.encode_query(texts), uncached.encode_query(texts), rtol=0, atol=1e-5)


def test_many_prompts_through_a_small_store(folder, model):
    uncached = Embedder(folder, prompt_cache=False)
    for round_of in range(3):
        for index in range(12):
            prompt = f"Instruct: task number {index} of the capital of france\nQuery:"
            expected = uncached.encode(TEXTS, prompt=prompt)
            np.testing.assert_allclose(model.encode(TEXTS, prompt=prompt), expected, atol=1e-5, err_msg=str(round_of))


@pytest.mark.slow
@pytest.mark.parametrize("cached", [True, False])
def test_long_rows_run_in_pieces(folder, cached):
    # Longer than a piece, exactly one, one more, several: each against the reference, alone and among others.
    checkpoint = write_qwen3(folder.parent / f"long{cached}", layers=2, max_positions=4096)
    model = Embedder(checkpoint.folder, prompt_cache=cached)
    unit = len(checkpoint.tokenize("a" * 1000)) - 1000
    texts = ["a b" * 10, *("a" * (length - unit) for length in (511, 512, 513, 1024, 1025, 1500))]
    assert model.count_tokens(texts)[1:].tolist() == [511, 512, 513, 1024, 1025, 1500]
    np.testing.assert_allclose(model.encode(texts), qwen3_reference.of_texts(checkpoint, texts), rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        model.encode_query(texts), qwen3_reference.of_texts(checkpoint, texts, QUERY), rtol=0, atol=1e-5
    )


def test_alone_equals_batched_at_equal_lengths(model):
    texts = [f"the capital of france is number {number}" for number in range(10, 40)]
    assert len(set(model.count_tokens(texts))) == 1
    alone = np.stack([model.encode(text) for text in texts])
    np.testing.assert_allclose(model.encode(texts), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "weightedmean", ["mean", "lasttoken"]])
def test_other_poolings(tmp_path, pooling):
    checkpoint = write_qwen3(tmp_path / "qwen3", pooling=pooling)
    model = Embedder(checkpoint.folder)
    hidden = [
        qwen3_reference.last_hidden_state(
            checkpoint.tensors, checkpoint.config, np.array([row]), np.ones((1, len(row)), np.int64)
        )[0]
        for row in map(checkpoint.tokenize, TEXTS)
    ]
    expected = np.stack([np.concatenate([pool(states, mode) for mode in checkpoint.pooling]) for states in hidden])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode(TEXTS), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kept", [32, 48])
def test_matryoshka(tmp_path, kept):
    folder = write_qwen3(tmp_path / "qwen3", hidden=64).folder
    whole = Embedder(folder).encode(TEXTS)[:, :kept]
    expected = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(Embedder(folder, truncate_dim=kept).encode(TEXTS), expected, rtol=0, atol=1e-5)


def test_ten_threads_share_the_prompt_cache(model):
    texts = [f"{text} {index}" for index, text in enumerate(PROMPTED * 4)]
    expected = model.encode_query(texts)
    with ThreadPoolExecutor(10) as pool_of_threads:
        for vectors in pool_of_threads.map(lambda _: model.encode_query(texts), range(20)):
            np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"rope_scaling": {"rope_type": "longrope", "factor": 4.0}}, "rope_scaling is .*longrope.*default"),
        ({"rope_scaling": {"type": "linear", "factor": -2.0}}, "factor is -2.0; supported: a positive number"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "factor is missing"),
        (
            {"rope_scaling": {"type": "default", "partial_rotary_factor": 0.5}},
            "rope_scaling is .*partial_rotary_factor",
        ),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "rope_parameters"),
        ({"use_sliding_window": True, "sliding_window": 0}, "sliding_window is 0"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"some_new_scale": 0.5}, "some_new_scale is 0.5; supported: absent; ironvec does not know this field"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"hidden_act": "mish"}, 'hidden_act is "mish"; supported: gelu'),
        ({"num_key_value_heads": 3}, "num_key_value_heads is 3; supported: a divisor"),
        ({"head_dim": 7}, "head_dim is 7; supported: an even number"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_what_would_change_the_arithmetic_is_refused(tmp_path, overrides, message):
    folder = write_qwen3(tmp_path / "qwen3").folder
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **overrides}), encoding="utf-8")
    with pytest.raises(ModelError, match=f"config.json: {message}"):
        Embedder(folder)


def index_of(folder):
    return json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))


def test_a_missing_shard_is_named(tmp_path):
    folder = write_qwen3(tmp_path / "qwen3", shards=3).folder
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model-00002-of-00003\.safetensors: no such file"):
        Embedder(folder)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "a/b.safetensors", "", "..", 3])
def test_an_index_may_not_leave_the_folder(tmp_path, name):
    folder = write_qwen3(tmp_path / "qwen3", shards=2).folder
    (tmp_path / "outside.safetensors").write_bytes((folder / "model-00001-of-00002.safetensors").read_bytes())
    index = index_of(folder)
    index["weight_map"]["norm.weight"] = name
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ModelError, match=r"index.json: weight_map\[\"norm.weight\"\] is .*in the same folder"):
        Embedder(folder)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    folder = write_qwen3(tmp_path / "qwen3", shards=2).folder
    shard = folder / "model-00001-of-00002.safetensors"
    (folder / "model-00002-of-00002.safetensors").write_bytes(shard.read_bytes())
    with pytest.raises(ModelError, match="is in another of the files too"):
        Embedder(folder)
