"""ModernBERT: pre-norm layers with packed matrices, a gated GELU, and local attention between global layers."""

from pathlib import Path
from typing import Any

from kit.families import tokenizers
from kit.families.layout import Case, Weights, write_checkpoint

# A window of 8 reaches 4 tokens to either side.
HIDDEN, INTERMEDIATE, LAYERS, HEADS, MAX_TOKENS = 32, 48, 4, 4, 180


def _case(
    name: str,
    overrides: dict[str, Any] | None = None,
    *,
    prefix: str = "",
    dtype: str = "float32",
    pooling: str = "mean",
    without: tuple[str, ...] = (),
) -> Case:
    def write(folder: Path) -> None:
        tokenizer = tokenizers.word_piece()
        config: dict[str, Any] = {
            "architectures": ["ModernBertForMaskedLM" if prefix else "ModernBertModel"], "model_type": "modernbert",
            "vocab_size": tokenizer.size, "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_activation": "gelu",
            "max_position_embeddings": 512, "norm_eps": 1e-5, "norm_bias": False, "attention_bias": False,
            "mlp_bias": False, "local_attention": 8, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0,
            "local_rope_theta": 10000.0, "pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3,
            "position_embedding_type": "absolute", **(overrides or {}),
        }  # fmt: skip
        config = {key: value for key, value in config.items() if key not in without}
        norm_bias, attention_bias, mlp_bias = (config[f"{part}_bias"] for part in ("norm", "attention", "mlp"))
        weights = Weights(name)
        weights.table("embeddings.tok_embeddings", tokenizer.size, HIDDEN)
        weights.norm("embeddings.norm", HIDDEN, bias=norm_bias)
        for index in range(LAYERS):
            layer = f"layers.{index}"
            if index:
                weights.norm(f"{layer}.attn_norm", HIDDEN, bias=norm_bias)
            weights.linear(f"{layer}.attn.Wqkv", 3 * HIDDEN, HIDDEN, bias=attention_bias)
            weights.linear(f"{layer}.attn.Wo", HIDDEN, HIDDEN, bias=attention_bias)
            weights.norm(f"{layer}.mlp_norm", HIDDEN, bias=norm_bias)
            weights.linear(f"{layer}.mlp.Wi", 2 * INTERMEDIATE, HIDDEN, bias=mlp_bias)
            weights.linear(f"{layer}.mlp.Wo", HIDDEN, INTERMEDIATE, bias=mlp_bias)
        weights.norm("final_norm", HIDDEN, bias=norm_bias)
        write_checkpoint(
            folder,
            config,
            weights.prefixed(prefix),
            tokenizer,
            hidden=HIDDEN,
            max_tokens=MAX_TOKENS,
            dtype=dtype,
            pooling=pooling,
        )

    return Case("modernbert", name, write, rotates=True)


_OLD_ONLY = ("global_attn_every_n_layers", "global_rope_theta", "local_rope_theta")
_NEW_FORM = {
    "layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention"],
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 80000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
    },
}

CASES = [
    _case("modernbert"),
    _case("modernbert-prefixed-bfloat16", prefix="model.", dtype="bfloat16", pooling="cls"),
    _case("modernbert-biases", {"norm_bias": True, "attention_bias": True, "mlp_bias": True}),
    # Odd windows: 7 // 2 to either side.
    _case("modernbert-every-second", {"global_attn_every_n_layers": 2, "local_attention": 7}),
    _case("modernbert-defaults", {"local_attention": 10}, without=(*_OLD_ONLY, "norm_eps", "hidden_activation")),
    _case("modernbert-new-form-float16", _NEW_FORM, dtype="float16", without=_OLD_ONLY),
    _case("modernbert-equal-thetas", {"local_rope_theta": 160000.0, "hidden_activation": "gelu_pytorch_tanh"}),
]
