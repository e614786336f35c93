"""How near to each other two arrays of vectors are."""

import numpy as np


def close(found, expected) -> None:
    """Every component within 1e-5, or within 1e-5 of the largest where vectors are longer than 1."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1.0, np.abs(expected).max(initial=0.0)))


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The cosine of each row with the other array's row."""
    return (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
