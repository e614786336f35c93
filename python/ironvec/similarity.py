"""Scores between embeddings, by the four names that checkpoints use for them.

In: array-likes of shape (rows, dimension) or (dimension,). Out: float32. Refuses arrays whose dimensions differ.
Distances are negated, so that more is always more similar. Source: sentence_transformers/util/similarity.py, 6.2.
"""

from __future__ import annotations

import numpy as np

from .validation_script import normalize_embeddings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def _matrix(name: str, embeddings: ArrayLike) -> NDArray[np.float32]:
    matrix = np.asarray(embeddings, dtype=np.float32)
    if matrix.ndim == 1 and matrix.size:
        matrix = matrix[None, :]
    if matrix.ndim != 2:
        raise ValueError(f"{name} has shape {matrix.shape}; expected (rows, dimension) or (dimension,)")
    return matrix


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    left, right = _matrix("a", a), _matrix("b", b)
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"a has dimension {left.shape[1]} and b has dimension {right.shape[1]}; they must be equal")
    return left, right


def _distances(a: NDArray[np.float32], b: NDArray[np.float32], function: str) -> NDArray[np.float32]:
    """Row against row; either side may be one row that stands for many."""
    difference = a - b
    summed = np.abs(difference).sum(axis=-1) if function == "manhattan" else np.linalg.norm(difference, axis=-1)
    distances: NDArray[np.float32] = summed.astype(np.float32, copy=False)
    return distances


def score_matrix(a: ArrayLike, b: ArrayLike, function: str) -> NDArray[np.float32]:
    """Every row of `a` against every row of `b`: shape (rows of a, rows of b)."""
    left, right = _pair(a, b)
    scores: NDArray[np.float32]
    if function == "cosine":
        left, right = normalize_embeddings(left), normalize_embeddings(right)
    if function in ("cosine", "dot"):
        scores = left @ right.T
        return scores
    scores = np.empty((len(left), len(right)), dtype=np.float32)
    # Row by row: all at once would hold rows x rows x dimension differences.
    for row, vector in enumerate(left):
        scores[row] = -_distances(vector[None, :], right, function)
    return scores


def pair_scores(a: ArrayLike, b: ArrayLike, function: str) -> NDArray[np.float32]:
    """Row i of `a` against row i of `b`: shape (rows,)."""
    left, right = _pair(a, b)
    if len(left) != len(right):
        raise ValueError(f"a has {len(left)} rows and b has {len(right)}; pairwise scores need as many")
    if function == "cosine":
        left, right = normalize_embeddings(left), normalize_embeddings(right)
    if function in ("cosine", "dot"):
        scores: NDArray[np.float32] = np.einsum("ij,ij->i", left, right)
        return scores
    return -_distances(left, right, function)
