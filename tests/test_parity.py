"""MiniLM as published against sentence-transformers: every component of every row, however the rows are batched."""

import hashlib
import json

import numpy as np
import pytest

from ironvec import Embedder
from texts import FIRST_VALIDATION, TEXTS

TOLERANCE = 1e-5


def test_the_golden_vectors_belong_to_these_texts(golden, golden_facts):
    digest = hashlib.sha256(json.dumps(TEXTS).encode()).hexdigest()
    assert len(TEXTS) == len(golden["vectors"]) == golden_facts["texts"] >= 64
    assert digest == golden_facts["texts sha256"], "texts.py changed: run golden/generate.py"
    assert golden_facts["sentence-transformers"].startswith("6.2")


def test_every_component_equals_sentence_transformers(minilm, golden):
    vectors = minilm.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_allclose(vectors, golden["vectors"], rtol=0, atol=TOLERANCE)


def test_unnormalised_lengths_equal_sentence_transformers(minilm, golden):
    norms = np.linalg.norm(minilm.encode(TEXTS, normalize_embeddings=False), axis=1)
    np.testing.assert_allclose(norms, golden["pooled_norms"], rtol=1e-5)


def test_token_ids_equal_sentence_transformers(minilm, golden):
    rows = minilm.tokenize(list(TEXTS))
    assert [len(row) for row in rows] == golden["token_counts"].tolist()
    assert np.concatenate(rows).tolist() == golden["token_ids"].tolist()


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_precisions_equal_sentence_transformers(minilm, golden, precision):
    # A component within the tolerance of a step's edge may fall on the other side of it.
    with np.errstate(all="raise"):
        rows = _quantized(minilm, precision)
    expected = golden[precision]
    assert rows.dtype == expected.dtype
    assert rows.shape == expected.shape
    if precision in ("int8", "uint8"):
        difference = np.abs(rows.astype(int) - expected.astype(int))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 1e-3
    else:
        differing = np.unpackbits(rows.view(np.uint8) ^ expected.view(np.uint8)).sum()
        near_zero = (np.abs(golden["vectors"]) < TOLERANCE).sum()
        assert differing <= near_zero


def _quantized(model: Embedder, precision: str) -> np.ndarray:
    if precision in ("int8", "uint8"):
        with pytest.warns(UserWarning, match="only 90 rows"):
            return model.encode(TEXTS, precision=precision)
    return model.encode(TEXTS, precision=precision)


@pytest.mark.slow
def test_alone_batched_shuffled_and_beside_a_giant_are_the_same(minilm):
    texts = list(TEXTS)
    alone = np.stack([minilm.encode(text) for text in texts])
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = np.empty_like(alone)
    shuffled[order] = minilm.encode([texts[index] for index in order])
    giant = " ".join(["enormous"] * 5000)
    crowd = [f"{number} {text}" for number in range(5) for text in texts]
    variants = {
        "batched": minilm.encode(texts),
        "one row a run": minilm.encode(texts, batch_size=1),
        "three rows a run": minilm.encode(texts, batch_size=3),
        "shuffled": shuffled,
        "beside a giant": minilm.encode([*texts, giant])[:-1],
        "in a crowd": minilm.encode(crowd + texts)[-len(texts) :],
    }
    for name, vectors in variants.items():
        np.testing.assert_allclose(vectors, alone, rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.slow
def test_a_text_that_occurs_twice_gets_the_same_row(minilm):
    texts = list(TEXTS)
    order = np.random.default_rng(3).integers(0, len(texts), 12_000)
    vectors = minilm.encode([texts[index] for index in order])
    first = {int(index): place for place, index in reversed(list(enumerate(order)))}
    np.testing.assert_array_equal(vectors, vectors[[first[int(index)] for index in order]])
    np.testing.assert_allclose(vectors, minilm.encode(texts)[order], rtol=0, atol=TOLERANCE)


def test_the_first_validation_separates_its_sentences(minilm):
    vectors = minilm.encode(FIRST_VALIDATION)
    scores = minilm.similarity(vectors, vectors)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert scores[0, 1] - scores[0, 2] > 0.5


@pytest.mark.slow
def test_truncated_vectors_are_renormalised(minilm, golden):
    kept = golden["vectors"][:, :100]
    expected = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(minilm.encode(TEXTS, truncate_dim=100), expected, rtol=0, atol=TOLERANCE)
    loaded = Embedder("minilm", truncate_dim=100)
    assert loaded.dimension == 100
    np.testing.assert_allclose(loaded.encode(TEXTS), expected, rtol=0, atol=TOLERANCE)


def test_max_length_cuts_as_the_tokenizer_does(minilm):
    text = " ".join(["paris is a city in france"] * 20)
    ids = minilm.tokenize(text)
    short = Embedder("minilm", max_length=16)
    assert short.max_length == 16
    assert short.tokenize(text) == [*ids[:15], ids[-1]]
    np.testing.assert_allclose(short.encode(text), minilm.encode(text, max_length=16), rtol=0, atol=1e-6)
    assert np.abs(short.encode(text) - minilm.encode(text)).max() > 0.01
    assert minilm.count_tokens([text]).tolist() == [122]
