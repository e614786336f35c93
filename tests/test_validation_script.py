"""The helpers of the first validation script, which `embed_texts` and old code are built on."""

import numpy as np
import pytest

import ironvec


def test_get_detailed_instruct():
    assert ironvec.get_detailed_instruct("Find it", "capital?") == "Instruct: Find it\nQuery: capital?"


def test_last_token_pool_follows_the_padding():
    states = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    left = ironvec.last_token_pool(states, np.array([[0, 1, 1], [1, 1, 1]]))
    right = ironvec.last_token_pool(states, np.array([[1, 1, 0], [1, 1, 1]]))
    np.testing.assert_array_equal(left, states[:, 2])
    np.testing.assert_array_equal(right, np.stack([states[0, 1], states[1, 2]]))
    assert right.dtype == np.float16


def test_last_token_pool_refuses_what_it_cannot_pool():
    states = np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match=r"attention_mask \(2, 2\); expected \(B, L, H\) and \(B, L\)"):
        ironvec.last_token_pool(states, np.ones((2, 2)))
    with pytest.raises(ValueError, match="attention_mask row 1 has no real token"):
        ironvec.last_token_pool(states, [[1, 1, 0], [0, 0, 0]])
    with pytest.raises(ValueError, match="has no tokens"):
        ironvec.last_token_pool(np.zeros((2, 0, 4)), np.ones((2, 0)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_normalize_embeddings_keeps_dtype_and_zeros(dtype):
    found = ironvec.normalize_embeddings(np.array([[3, 4], [0, 0]], dtype=dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0]], atol=1e-3)
