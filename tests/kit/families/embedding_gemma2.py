"""EmbeddingGemma 2's text model: bidirectional, each layer gated by a signal projected from the embeddings.

Global layers have wider heads and fewer of them for keys; values are normed; a projection widens each token.
"""

from pathlib import Path
from typing import Any

from kit.families import tokenizers
from kit.families.layout import Case, Weights, write_checkpoint

HIDDEN, INTERMEDIATE, LAYERS, HEADS, SIGNAL, OUTPUT, MAX_TOKENS = 32, 48, 4, 4, 24, 40, 180
LOCAL_HEAD_DIM, GLOBAL_HEAD_DIM, LOCAL_KEY_HEADS, GLOBAL_KEY_HEADS = 8, 16, 2, 1
_SLIDING, _FULL = "sliding_attention", "full_attention"


def _weights(name: str, vocabulary: int, layer_types: list[str], attention_bias: bool) -> Weights:
    weights = Weights(name)
    weights.table("embed_tokens", vocabulary, HIDDEN, 0.005)
    weights.linear("ple.per_layer_model_projection", LAYERS * SIGNAL, HIDDEN, bias=False)
    weights.norm("ple.per_layer_projection_norm", SIGNAL)
    for index, layer_type in enumerate(layer_types):
        layer = f"layers.{index}"
        head_dim, key_heads = (
            (LOCAL_HEAD_DIM, LOCAL_KEY_HEADS) if layer_type == _SLIDING else (GLOBAL_HEAD_DIM, GLOBAL_KEY_HEADS)
        )
        weights.linear(f"{layer}.self_attn.q_proj", HEADS * head_dim, HIDDEN, bias=attention_bias)
        weights.linear(f"{layer}.self_attn.k_proj", key_heads * head_dim, HIDDEN, bias=attention_bias)
        weights.linear(f"{layer}.self_attn.v_proj", key_heads * head_dim, HIDDEN, bias=attention_bias)
        weights.linear(f"{layer}.self_attn.o_proj", HIDDEN, HEADS * head_dim, bias=attention_bias)
        for which in "qk":
            weights.norm(f"{layer}.self_attn.{which}_norm", head_dim)
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            weights.norm(f"{layer}.{norm}_layernorm", HIDDEN)
        weights.linear(f"{layer}.mlp.gate_proj", INTERMEDIATE, HIDDEN, bias=False)
        weights.linear(f"{layer}.mlp.up_proj", INTERMEDIATE, HIDDEN, bias=False)
        weights.linear(f"{layer}.mlp.down_proj", HIDDEN, INTERMEDIATE, bias=False)
        weights.normal(f"{layer}.layer_scalar", (1,), 0.3, 0.8)
        weights.linear(f"{layer}.ple_block.per_layer_input_gate", SIGNAL, HIDDEN, bias=False)
        weights.linear(f"{layer}.ple_block.per_layer_projection", HIDDEN, SIGNAL, bias=False)
        weights.norm(f"{layer}.ple_block.post_per_layer_input_norm", HIDDEN)
    weights.norm("norm", HIDDEN)
    weights.linear("embedding_projection", OUTPUT, HIDDEN, bias=False)
    return weights


def _case(
    name: str,
    overrides: dict[str, Any] | None = None,
    *,
    layer_types: tuple[str, ...] = (_SLIDING, _SLIDING, _FULL, _FULL),
    prefix: str = "",
    dtype: str = "float32",
    without: tuple[str, ...] = (),
    wrapped: bool = False,
) -> Case:
    def write(folder: Path) -> None:
        tokenizer = tokenizers.gemma_pieces()
        wider = {"head_dim": GLOBAL_HEAD_DIM, "num_key_value_heads": GLOBAL_KEY_HEADS}
        config: dict[str, Any] = {
            "architectures": ["EmbeddingGemma2TextModel"], "model_type": "embedding_gemma2_text",
            "vocab_size": tokenizer.size, "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": LOCAL_KEY_HEADS,
            "head_dim": LOCAL_HEAD_DIM, "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-6, "attention_bias": False, "sliding_window": 4, "layer_types": list(layer_types),
            "hidden_size_per_layer_input": SIGNAL, "embedding_dim": OUTPUT, "pad_token_id": 0, "eos_token_id": 1,
            "bos_token_id": 2, "per_layer_config": {str(i): wider for i in range(LAYERS) if layer_types[i] == _FULL},
            "rope_parameters": {
                _SLIDING: {"rope_type": "default", "rope_theta": 10000.0},
                _FULL: {"rope_type": "default", "rope_theta": 1000000.0},
            }, **(overrides or {}),
        }  # fmt: skip
        config = {key: value for key, value in config.items() if key not in without}
        weights = _weights(name, tokenizer.size, list(layer_types), config["attention_bias"])
        if wrapped:
            whole = {"architectures": ["EmbeddingGemma2Model"], "model_type": "embedding_gemma2"}
            config = {**whole, "text_config": config, "vision_config": None, "audio_config": None}
        write_checkpoint(
            folder,
            config,
            weights.prefixed(prefix),
            tokenizer,
            hidden=OUTPUT,
            max_tokens=MAX_TOKENS,
            dtype=dtype,
        )

    patch = "unwrapped" if wrapped else None
    return Case("embedding_gemma2", name, write, reference_patch=patch, rotates=True)


CASES = [
    _case("embedding-gemma2"),
    _case("embedding-gemma2-bfloat16", {"sliding_window": 5, "attention_bias": True}, dtype="bfloat16"),
    # The pattern and the widths that the class makes the layers of.
    _case(
        "embedding-gemma2-pattern",
        {
            "sliding_window_pattern": 2,
            "global_head_dim": GLOBAL_HEAD_DIM,
            "num_global_key_value_heads": GLOBAL_KEY_HEADS,
        },
        layer_types=(_SLIDING, _FULL, _SLIDING, _FULL),
        without=("layer_types", "per_layer_config", "rope_parameters"),
    ),
    # The model that also takes images and sound, without those.
    _case("embedding-gemma2-wrapped", prefix="language_model.", wrapped=True),
]
