"""Tiny random Qwen3 checkpoints against the NumPy reference of the architecture, with and without a shared prompt."""

import numpy as np
import pytest

import qwen3_reference
from ironvec import Embedder
from qwen3_checkpoints import write_qwen3

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


def reference(checkpoint, texts, prompt=""):
    rows = [checkpoint.tokenize(prompt + text) for text in texts]
    return qwen3_reference.embed(checkpoint.tensors, checkpoint.config, rows, normalize=checkpoint.normalize)


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
    expected = reference(checkpoint, TEXTS)
    tolerance = 1e-5 * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(model.encode(TEXTS), expected, rtol=0, atol=tolerance)
    alone = np.stack([model.encode(text) for text in TEXTS])
    np.testing.assert_allclose(alone, expected, rtol=0, atol=tolerance)
    with_prompt = model.encode(TEXTS, prompt=QUERY)
    np.testing.assert_allclose(with_prompt, reference(checkpoint, TEXTS, QUERY), rtol=0, atol=tolerance)
