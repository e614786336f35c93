"""MPNet: one table of relative biases for all layers, positions after the padding id, no token types."""

from pathlib import Path

from kit.families import tokenizers
from kit.families.layout import Case, Weights, write_checkpoint

# Rows of more than 128 tokens, so that every bucket is used.
HIDDEN, INTERMEDIATE, LAYERS, HEADS, MAX_TOKENS = 32, 64, 3, 4, 180


def _case(name: str, *, prefix: str = "", dtype: str = "float32", pooling: str = "mean") -> Case:
    def write(folder: Path) -> None:
        tokenizer = tokenizers.mpnet_word_piece()
        config = {
            "architectures": ["MPNetForMaskedLM" if prefix else "MPNetModel"], "model_type": "mpnet",
            "vocab_size": tokenizer.size, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "intermediate_size": INTERMEDIATE, "hidden_act": "gelu",
            "max_position_embeddings": MAX_TOKENS + 2, "layer_norm_eps": 1e-5, "relative_attention_num_buckets": 32,
            "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
        }  # fmt: skip
        weights = Weights(name)
        weights.table("embeddings.word_embeddings", tokenizer.size, HIDDEN)
        weights.table("embeddings.position_embeddings", MAX_TOKENS + 2, HIDDEN)
        weights.norm("embeddings.LayerNorm", HIDDEN, bias=True)
        weights.table("encoder.relative_attention_bias", 32, HEADS, 1.5)
        for index in range(LAYERS):
            layer = f"encoder.layer.{index}"
            for part in "qkvo":
                weights.linear(f"{layer}.attention.attn.{part}", HIDDEN, HIDDEN, bias=True)
            weights.norm(f"{layer}.attention.LayerNorm", HIDDEN, bias=True)
            weights.linear(f"{layer}.intermediate.dense", INTERMEDIATE, HIDDEN, bias=True)
            weights.linear(f"{layer}.output.dense", HIDDEN, INTERMEDIATE, bias=True)
            weights.norm(f"{layer}.output.LayerNorm", HIDDEN, bias=True)
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

    return Case("mpnet", name, write)


CASES = [
    _case("mpnet"),
    _case("mpnet-prefixed-bfloat16", prefix="mpnet.", dtype="bfloat16"),
    _case("mpnet-cls", pooling="cls"),
]
