"""Qwen3 and its embedding checkpoints in NumPy: what the decoder graph's output is compared with.

In: the checkpoint's tensors by their verbatim names (with or without a `model.` prefix), its
config.json as a dict, rows of token ids. Out: float32; all arithmetic between is float64, except
for the angles of RoPE, which transformers defines in float32. Refuses the fields that would change
the arithmetic: scaled RoPE, sliding windows, activations other than SiLU. B, L, H, D: batch,
length, hidden size, head size.

After transformers' modeling_qwen3.py and configuration_qwen3.py, whose defaults stand for absent
fields; `golden/check_qwen3_reference.py` compares it with them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kit.bert_reference import Tensors, embed_rows
from kit.checkpoints import Checkpoint

PREFIX = "model."


def rope_theta(config: Mapping[str, Any]) -> float:
    """The base wavelength, from `rope_parameters` (transformers 5) or from the flat fields."""
    # A `rope_scaling` that says something takes the place of `rope_parameters`.
    parameters = config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind != "default":
        raise ValueError(f"RoPE of type {kind!r} is not the default one")
    return parameters.get("rope_theta", config.get("rope_theta", 10_000.0))


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1.0 + np.exp(-x))


class _Decoder:
    """One checkpoint's tensors in float64, read by the names below the `model.` prefix."""

    def __init__(self, tensors: Tensors, config: Mapping[str, Any]) -> None:
        self.tensors = {
            name.removeprefix(PREFIX): np.asarray(tensor, dtype=np.float64) for name, tensor in tensors.items()
        }
        if config.get("hidden_act", "silu") != "silu":
            raise ValueError(f"activation {config['hidden_act']!r} is not silu")
        windowed = config.get("use_sliding_window", False) and config.get("sliding_window", 4096) is not None
        if windowed or "sliding_attention" in (config.get("layer_types") or ()):
            raise ValueError("sliding windows are not supported")
        self.heads = config["num_attention_heads"]
        self.key_value_heads = config.get("num_key_value_heads", 32) or self.heads
        self.head_dim = config.get("head_dim", 128)
        self.layers = config["num_hidden_layers"]
        self.epsilon = config.get("rms_norm_eps", 1e-6)
        self.theta = rope_theta(config)

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors.get(f"{name}.bias", 0.0)

    def rms_norm(self, name: str, x: np.ndarray) -> np.ndarray:
        variance = np.square(x).mean(axis=-1, keepdims=True)
        return x / np.sqrt(variance + self.epsilon) * self.tensors[f"{name}.weight"]

    def rotation(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and sines (L, D) of the positions 0 to L-1, padding counted."""
        # Rounded to float32 at each step, as torch does: an angle of position 500 feels the last bit.
        exponents = np.arange(0, self.head_dim, 2, dtype=np.float32) / np.float32(self.head_dim)
        powers = np.float64(self.theta) ** exponents.astype(np.float64)
        frequencies = np.float32(1.0) / powers.astype(np.float32)
        half = (np.arange(length, dtype=np.float32)[:, None] * frequencies).astype(np.float64)
        angles = np.concatenate([half, half], axis=-1)
        return np.cos(angles), np.sin(angles)

    def attention(self, layer: str, x: np.ndarray, hidden_keys: np.ndarray) -> np.ndarray:
        batch, length, _ = x.shape
        cosine, sine = self.rotation(length)

        def heads(name: str, count: int) -> np.ndarray:
            return self.linear(f"{layer}.self_attn.{name}", x).reshape(batch, length, count, self.head_dim)

        def rotated(name: str, count: int) -> np.ndarray:
            normed = self.rms_norm(f"{layer}.self_attn.{name}_norm", heads(f"{name}_proj", count)).swapaxes(1, 2)
            first, second = np.split(normed, 2, axis=-1)
            return normed * cosine + np.concatenate([-second, first], axis=-1) * sine

        groups = self.heads // self.key_value_heads
        query = rotated("q", self.heads).reshape(batch, self.key_value_heads, groups, length, self.head_dim)
        key = rotated("k", self.key_value_heads)[:, :, None]
        value = heads("v_proj", self.key_value_heads).swapaxes(1, 2)[:, :, None]
        scores = query @ key.swapaxes(-1, -2) * self.head_dim**-0.5
        # The lowest float32 and not -inf: a left-padded position sees no key and must not be NaN.
        scores = scores + np.where(hidden_keys, np.finfo(np.float32).min, 0.0)[:, None, None]
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        context = (weights @ value).reshape(batch, self.heads, length, self.head_dim)
        return self.linear(f"{layer}.self_attn.o_proj", context.swapaxes(1, 2).reshape(batch, length, -1))

    def feed_forward(self, layer: str, x: np.ndarray) -> np.ndarray:
        gated = _silu(self.linear(f"{layer}.mlp.gate_proj", x)) * self.linear(f"{layer}.mlp.up_proj", x)
        return self.linear(f"{layer}.mlp.down_proj", gated)

    def __call__(self, token_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        length = token_ids.shape[1]
        later = np.triu(np.ones((length, length), dtype=bool), k=1)
        hidden_keys = later | (attention_mask == 0)[:, None, :]
        x = self.tensors["embed_tokens.weight"][token_ids]
        for index in range(self.layers):
            layer = f"layers.{index}"
            x = x + self.attention(layer, self.rms_norm(f"{layer}.input_layernorm", x), hidden_keys)
            x = x + self.feed_forward(layer, self.rms_norm(f"{layer}.post_attention_layernorm", x))
        return self.rms_norm("norm", x)


def last_hidden_state(
    tensors: Tensors, config: Mapping[str, Any], token_ids: np.ndarray, attention_mask: np.ndarray
) -> np.ndarray:
    """Hidden states (B, L, H) of padded token ids (B, L) under a mask (B, L) of ones and zeros.

    A position counts from the row's first token, padding included, as in transformers; RoPE sees
    only differences of positions. What padded positions hold means nothing.
    """
    return _Decoder(tensors, config)(np.asarray(token_ids), np.asarray(attention_mask)).astype(np.float32)


def embed(
    tensors: Tensors,
    config: Mapping[str, Any],
    token_rows: Sequence[Sequence[int]],
    normalize: bool = True,
    *,
    pooling: str | Sequence[str] = "lasttoken",
    excluded_tokens: int = 0,
) -> np.ndarray:
    """Vectors (B, H times the number of poolings) of rows of token ids, each row run alone."""
    return embed_rows(_Decoder(tensors, config), config, token_rows, pooling, normalize, excluded_tokens)


def of_texts(
    checkpoint: Checkpoint, texts: Sequence[str], prompt: str = "", *, normalize: bool | None = None
) -> np.ndarray:
    """What a written checkpoint makes of texts, each behind the prompt; `normalize` in place of what its files say."""
    rows = [checkpoint.tokenize(prompt + text) for text in texts]
    normalize = checkpoint.normalize if normalize is None else normalize
    return embed(checkpoint.tensors, checkpoint.config, rows, normalize, pooling=checkpoint.pooling)
