"""Nomic BERT: post-norm layers with rotation and SwiGLU, in its published spelling and in transformers'."""

from pathlib import Path
from typing import Any

from kit.families import tokenizers
from kit.families.layout import Case, Weights, write_checkpoint

HIDDEN, INTERMEDIATE, LAYERS, HEADS, MAX_TOKENS = 32, 48, 3, 4, 180
_PUBLISHED_NAMES = (
    ("embeddings.LayerNorm", "emb_ln"), ("layers.", "encoder.layers."), ("self_attn.o_proj", "attn.out_proj"),
    ("self_attn.Wqkv", "attn.Wqkv"), ("mlp.up_proj", "mlp.fc11"), ("mlp.gate_proj", "mlp.fc12"),
    ("mlp.down_proj", "mlp.fc2"), ("post_attention_layernorm", "norm1"), ("post_mlp_layernorm", "norm2"),
)  # fmt: skip


def _config(size: int, overrides: dict[str, Any]) -> dict[str, Any]:
    """transformers' spelling."""
    return {
        "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "vocab_size": size, "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INTERMEDIATE,
        "hidden_act": "silu", "max_position_embeddings": 2048, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "pad_token_id": 0, "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}, **overrides,
    }  # fmt: skip


def _published_config(size: int, overrides: dict[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "activation_function": "swiglu",
        "attn_pdrop": 0.0, "bos_token_id": None, "causal": False, "dense_seq_output": True, "embd_pdrop": 0.0,
        "eos_token_id": None, "fused_bias_fc": True, "fused_dropout_add_ln": True, "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-12, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "n_embd": HIDDEN, "n_head": HEADS,
        "n_inner": INTERMEDIATE, "n_layer": LAYERS, "n_positions": 8192, "pad_vocab_size_multiple": 1,
        "parallel_block": False, "parallel_block_tied_norm": False, "prenorm": False, "qkv_proj_bias": False,
        "reorder_and_upcast_attn": False, "resid_pdrop": 0.0, "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False, "rotary_emb_scale_base": None, "rotary_scaling_factor": None,
        "scale_attn_by_inverse_layer_idx": False, "scale_attn_weights": True, "max_trained_positions": 2048,
        "type_vocab_size": 2, "use_cache": True, "use_flash_attn": True, "use_rms_norm": False, "use_xentropy": True,
        "vocab_size": size, **overrides,
    }  # fmt: skip


def _case(
    name: str,
    overrides: dict[str, Any] | None = None,
    *,
    published: bool = False,
    reads_as: dict[str, Any] | None = None,
    prefix: str = "",
    dtype: str = "float32",
    pooling: str = "mean",
) -> Case:
    tokenizer = tokenizers.word_piece()

    def write(folder: Path) -> None:
        weights = Weights(name)
        weights.table("embeddings.word_embeddings", tokenizer.size, HIDDEN)
        weights.table("embeddings.token_type_embeddings", 2, HIDDEN)
        weights.norm("embeddings.LayerNorm", HIDDEN, bias=True)
        for index in range(LAYERS):
            layer = f"layers.{index}"
            for part in "qkvo":
                weights.linear(f"{layer}.self_attn.{part}_proj", HIDDEN, HIDDEN, bias=False)
            for part in ("gate", "up"):
                weights.linear(f"{layer}.mlp.{part}_proj", INTERMEDIATE, HIDDEN, bias=False)
            weights.linear(f"{layer}.mlp.down_proj", HIDDEN, INTERMEDIATE, bias=False)
            weights.norm(f"{layer}.post_attention_layernorm", HIDDEN, bias=True)
            weights.norm(f"{layer}.post_mlp_layernorm", HIDDEN, bias=True)
            if published:
                weights.packed(f"{layer}.self_attn.Wqkv", [f"{layer}.self_attn.{part}_proj" for part in "qkv"])
        if published:
            weights.renamed(_PUBLISHED_NAMES)
        config = _published_config if published else _config
        write_checkpoint(
            folder,
            config(tokenizer.size, overrides or {}),
            weights.prefixed(prefix),
            tokenizer,
            hidden=HIDDEN,
            max_tokens=MAX_TOKENS,
            dtype=dtype,
            pooling=pooling,
        )

    read = _config(tokenizer.size, reads_as or {}) if published else None
    return Case("nomic", name, write, reference_config=read, rotates=True)


CASES = [
    _case("nomic"),
    _case("nomic-prefixed-bfloat16", prefix="nomic_bert.", dtype="bfloat16"),
    _case("nomic-theta", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 20000.0}}),
    _case("nomic-published", published=True),
    _case("nomic-published-float16-cls", published=True, dtype="float16", pooling="cls"),
    _case(
        "nomic-published-geglu",
        # Within max_trained_positions the scaling factor does nothing.
        {"activation_function": "geglu", "rotary_emb_base": 10000, "rotary_scaling_factor": 2.0},
        published=True,
        reads_as={"hidden_act": "gelu", "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
    ),
]
