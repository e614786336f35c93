"""BERT and sentence-transformers' poolings in NumPy: what the graph's output is compared with.

In: the checkpoint's tensors by their verbatim names (with or without a `bert.` prefix), its
config.json as a dict, rows of token ids. Out: float32; all arithmetic between is float64, so the
reference's own rounding is far below any tolerance. Refuses activations and poolings it does not
know. B, L, H, D: batch, length, hidden size, head size.

After transformers' modeling_bert.py and sentence-transformers 6.2's pooling.py;
`golden/check_reference.py` compares it with both.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Tensors = Mapping[str, np.ndarray]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _gelu_erf(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0)))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = {
    "gelu": _gelu_erf,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": lambda x: np.maximum(x, 0.0),
}

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


class _Encoder:
    """One checkpoint's tensors in float64, read by the names below the `bert.` prefix."""

    def __init__(self, tensors: Tensors, config: Mapping[str, Any]) -> None:
        self.tensors = {
            name.removeprefix("bert."): np.asarray(tensor, dtype=np.float64) for name, tensor in tensors.items()
        }
        self.heads = config["num_attention_heads"]
        self.layers = config["num_hidden_layers"]
        self.epsilon = config.get("layer_norm_eps", 1e-12)
        self.activation = ACTIVATIONS[config.get("hidden_act", "gelu")]

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def layer_norm(self, name: str, x: np.ndarray) -> np.ndarray:
        # TensorFlow-era checkpoints call the scale and shift gamma and beta.
        scale, shift = (
            self.tensors[f"{name}.{new}"] if f"{name}.{new}" in self.tensors else self.tensors[f"{name}.{old}"]
            for new, old in (("weight", "gamma"), ("bias", "beta"))
        )
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        return centred / np.sqrt(variance + self.epsilon) * scale + shift

    def embeddings(self, token_ids: np.ndarray) -> np.ndarray:
        positions = np.arange(token_ids.shape[1])
        summed = (
            self.tensors["embeddings.word_embeddings.weight"][token_ids]
            + self.tensors["embeddings.position_embeddings.weight"][positions]
            + self.tensors["embeddings.token_type_embeddings.weight"][0]
        )
        return self.layer_norm("embeddings.LayerNorm", summed)

    def attention(self, layer: str, x: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        batch, length, hidden = x.shape

        def heads(name: str) -> np.ndarray:
            projected = self.linear(f"{layer}.attention.self.{name}", x)
            return projected.reshape(batch, length, self.heads, -1).transpose(0, 2, 1, 3)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(hidden // self.heads)
        # The lowest float32 and not -inf: a row without one real token must not become NaN.
        scores = scores + np.where(attention_mask == 0, np.finfo(np.float32).min, 0.0)[:, None, None, :]
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        context = (weights @ value).transpose(0, 2, 1, 3).reshape(batch, length, hidden)
        projected = self.linear(f"{layer}.attention.output.dense", context)
        return self.layer_norm(f"{layer}.attention.output.LayerNorm", projected + x)

    def feed_forward(self, layer: str, x: np.ndarray) -> np.ndarray:
        inner = self.activation(self.linear(f"{layer}.intermediate.dense", x))
        return self.layer_norm(f"{layer}.output.LayerNorm", self.linear(f"{layer}.output.dense", inner) + x)

    def __call__(self, token_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        x = self.embeddings(token_ids)
        for index in range(self.layers):
            layer = f"encoder.layer.{index}"
            x = self.feed_forward(layer, self.attention(layer, x, attention_mask))
        return x


def last_hidden_state(
    tensors: Tensors, config: Mapping[str, Any], token_ids: np.ndarray, attention_mask: np.ndarray
) -> np.ndarray:
    """Hidden states (B, L, H) of padded token ids (B, L) under a mask (B, L) of ones and zeros."""
    return _Encoder(tensors, config)(np.asarray(token_ids), np.asarray(attention_mask)).astype(np.float32)


def prompt_token_count(prompt_ids: Sequence[int], special_ids: Iterable[int]) -> int:
    """Positions that `include_prompt=False` leaves out, counted as sentence-transformers counts.

    `prompt_ids` is the prompt tokenized alone with its special tokens. A special token at its end
    is not counted; one at its start is, so a BERT prompt takes [CLS] with it.
    """
    return len(prompt_ids) - (prompt_ids[-1] in set(special_ids))


def pool(hidden: np.ndarray, mode: str, excluded_tokens: int = 0) -> np.ndarray:
    """One pooling of one text's hidden states (L, H) without its first `excluded_tokens`.

    With nothing left the sums are zero, `max` is -inf and `cls` falls back to the first token.
    """
    hidden = np.asarray(hidden, dtype=np.float64)
    kept = hidden[excluded_tokens:]
    if mode == "cls":
        return kept[0] if len(kept) else hidden[0]
    if mode == "lasttoken":
        return kept[-1] if len(kept) else np.zeros_like(hidden[0])
    if mode == "max":
        return kept.max(axis=0, initial=-np.inf)
    if mode == "mean":
        return kept.sum(axis=0) / max(len(kept), 1e-9)
    if mode == "mean_sqrt_len_tokens":
        return kept.sum(axis=0) / math.sqrt(max(len(kept), 1e-9))
    if mode == "weightedmean":
        # A token keeps the weight of its place in the whole row, the prompt included.
        weights = np.arange(excluded_tokens + 1, len(hidden) + 1, dtype=np.float64)
        return weights @ kept / max(weights.sum(), 1e-9)
    raise ValueError(f"pooling {mode!r} is none of {POOLINGS}")


def embed(
    tensors: Tensors,
    config: Mapping[str, Any],
    token_rows: Sequence[Sequence[int]],
    *,
    pooling: str | Sequence[str] = "mean",
    normalize: bool = True,
    excluded_tokens: int = 0,
) -> np.ndarray:
    """Vectors (B, H times the number of poolings) of rows of token ids, each row run alone.

    Several poolings are concatenated in the order given.
    """
    return embed_rows(_Encoder(tensors, config), config, token_rows, pooling, normalize, excluded_tokens)


def embed_rows(
    model: Callable[[np.ndarray, np.ndarray], np.ndarray],
    config: Mapping[str, Any],
    token_rows: Sequence[Sequence[int]],
    pooling: str | Sequence[str],
    normalize: bool,
    excluded_tokens: int,
) -> np.ndarray:
    """`embed` of either architecture; `model` gives hidden states for ids and a mask."""
    modes = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    vectors = []
    for row in token_rows:
        token_ids = np.asarray([row], dtype=np.int64)
        hidden = model(token_ids, np.ones_like(token_ids))[0]
        vector = np.concatenate([pool(hidden, mode, excluded_tokens) for mode in modes])
        if normalize:
            vector = vector / max(np.linalg.norm(vector), 1e-12)
        vectors.append(vector)
    dimension = config["hidden_size"] * len(modes)
    return np.asarray(vectors, dtype=np.float32).reshape(len(vectors), dimension)
