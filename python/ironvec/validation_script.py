"""The helpers of the first validation script, under their old names, for code that was built on them.

In and out: NumPy arrays. `Embedder` does all of this by itself; nothing in ironvec calls these.
Source: the usage section of the Qwen3-Embedding model cards, there written with torch.
"""

from __future__ import annotations

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike, NDArray


def get_detailed_instruct(task_description: str, query: str) -> str:
    """Puts a query under a one-sentence task, as instruction-tuned embedding models want it.

    Args:
        task_description: What the search is for, e.g. "Given a web search query, retrieve relevant passages".
        query: The text itself.

    Returns:
        ``f"Instruct: {task_description}\\nQuery: {query}"``.
    """
    return f"Instruct: {task_description}\nQuery: {query}"


def last_token_pool(last_hidden_states: ArrayLike, attention_mask: ArrayLike) -> NDArray[Any]:
    """Takes the hidden state of each row's last real token, whichever side the padding is on.

    Args:
        last_hidden_states: shape (B, L, H), any float dtype.
        attention_mask: shape (B, L), 1 at real tokens and 0 at padding; no holes between real tokens.

    Returns:
        Shape (B, H), the dtype of `last_hidden_states`.

    Raises:
        ValueError: The shapes do not fit each other, or a right-padded row has no real token.
    """
    states: NDArray[Any] = np.asarray(last_hidden_states)
    mask = np.asarray(attention_mask)
    if states.ndim != 3 or mask.shape != states.shape[:2]:
        raise ValueError(
            f"last_hidden_states {states.shape} and attention_mask {mask.shape}; expected (B, L, H) and (B, L)"
        )
    if states.shape[1] == 0:
        raise ValueError("last_hidden_states has no tokens: L is 0")
    # A batch in which every row ends in a real token is padded on the left, or not at all.
    if np.all(mask[:, -1] == 1):
        return states[:, -1]
    last_positions = np.count_nonzero(mask, axis=1) - 1
    if np.any(last_positions < 0):
        raise ValueError(f"attention_mask row {int(np.argmin(last_positions))} has no real token")
    last: NDArray[Any] = states[np.arange(len(states)), last_positions]
    return last


def normalize_embeddings(embeddings: ArrayLike) -> NDArray[Any]:
    """Scales each row to L2 norm 1.

    Args:
        embeddings: shape (rows, dimension) or (dimension,), any float dtype.

    Returns:
        A new array of the same shape and dtype. A row of zeros stays zeros, as torch's `normalize` leaves it.
    """
    rows: NDArray[Any] = np.asarray(embeddings)
    if not np.issubdtype(rows.dtype, np.floating):
        rows = rows.astype(np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    # 1e-12 is torch's eps; float16 cannot hold it, and would divide zero by zero.
    scaled: NDArray[Any] = rows / np.maximum(norms, max(1e-12, float(np.finfo(rows.dtype).tiny)))
    return scaled
