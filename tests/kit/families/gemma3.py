"""Gemma 3's text model: norms around both halves of a layer, two rotations, local and global layers.

EmbeddingGemma is bidirectional and ends in two Dense modules; others are causal and take the last token.
"""

from pathlib import Path
from typing import Any

from kit.checkpoints import MODULE_TYPES_6
from kit.families import tokenizers
from kit.families.decoders import decoder_weights
from kit.families.layout import IDENTITY, Case, Dense, Weights, write_checkpoint

# The scale of attention is of 12, not of the heads' 8.
HIDDEN, INTERMEDIATE, LAYERS, HEADS, KEY_VALUE_HEADS, HEAD_DIM, MAX_TOKENS = 32, 48, 4, 4, 2, 8, 180


def _weights(name: str, config: dict[str, Any]) -> Weights:
    projections = {"q_proj", "k_proj", "v_proj", "o_proj"} if config["attention_bias"] else set()
    weights = decoder_weights(name, config, biases=projections, head_norms=True, embeddings=0.005)
    for index in range(LAYERS):
        for half in ("pre", "post"):
            weights.norm(f"layers.{index}.{half}_feedforward_layernorm", HIDDEN)
    for tensor, values in weights.tensors.items():
        if tensor.endswith("norm.weight"):
            values -= 1.0  # the model adds it
    return weights


def _case(
    name: str,
    overrides: dict[str, Any] | None = None,
    *,
    prefix: str = "",
    dtype: str = "float32",
    pooling: str = "lasttoken",
    without: tuple[str, ...] = (),
    **options: Any,
) -> Case:
    def write(folder: Path) -> None:
        tokenizer = tokenizers.gemma_pieces()
        config: dict[str, Any] = {
            "architectures": ["Gemma3TextModel"], "model_type": "gemma3_text", "vocab_size": tokenizer.size,
            "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "num_key_value_heads": KEY_VALUE_HEADS, "head_dim": HEAD_DIM,
            "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
            "attention_bias": False, "query_pre_attn_scalar": 12, "sliding_window": 6, "sliding_window_pattern": 3,
            "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "rope_scaling": None,
            "attn_logit_softcapping": None, "final_logit_softcapping": None, "pad_token_id": 0, "eos_token_id": 1,
            "bos_token_id": 2, **(overrides or {}),
        }  # fmt: skip
        config = {key: value for key, value in config.items() if key not in without}
        write_checkpoint(
            folder,
            config,
            _weights(name, config).prefixed(prefix),
            tokenizer,
            hidden=HIDDEN,
            max_tokens=MAX_TOKENS,
            dtype=dtype,
            pooling=pooling,
            **options,
        )

    return Case("gemma3", name, write, rotates=True)


_NEW_FORM = {
    "layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention"],
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 50000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
    },
}
_OLD_ONLY = ("sliding_window_pattern", "rope_theta", "rope_local_base_freq", "rope_scaling")

CASES = [
    _case("gemma3"),
    _case("gemma3-prefixed-bfloat16", prefix="model.", dtype="bfloat16"),
    # 7 // 2 + 1 tokens to either side are one too many.
    _case("gemma3-bidirectional", {"use_bidirectional_attention": True, "sliding_window": 7}, pooling="mean"),
    _case("gemma3-new-form", _NEW_FORM, without=_OLD_ONLY),
    _case("gemma3-linear-biases", {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "attention_bias": True}),
    _case("gemma3-defaults", without=("rope_theta", "rope_local_base_freq", "rope_scaling", "rms_norm_eps")),
    # EmbeddingGemma
    _case(
        "gemma3-bidirectional-dense",
        {"use_bidirectional_attention": True, "sliding_window": 8},
        pooling="mean",
        dtype="bfloat16",
        dense=(
            Dense(HIDDEN, 64, bias=False, activation=IDENTITY),
            Dense(64, HIDDEN, bias=False, activation=IDENTITY),
        ),
        module_types=MODULE_TYPES_6,
    ),
]
