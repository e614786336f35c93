"""DistilBERT: BERT without token types under names of its own; distiluse puts a Dense module after it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.checkpoints import MODULE_TYPES_6
from kit.families import tokenizers
from kit.families.layout import IDENTITY, TANH, Case, Dense, Weights, write_checkpoint

HIDDEN, INTERMEDIATE, LAYERS, HEADS, MAX_TOKENS = 32, 64, 2, 4, 180
# The published files have the first spelling; transformers reads the second too.
_SPELLINGS = {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"}


def _case(
    name: str,
    *,
    prefix: str = "",
    dtype: str = "float32",
    pooling: str = "mean",
    long_names: bool = False,
    dense: Sequence[Dense] = (),
    overrides: dict[str, Any] | None = None,
    **options: Any,
) -> Case:
    def write(folder: Path) -> None:
        tokenizer = tokenizers.word_piece()
        sizes = {"dim": HIDDEN, "n_heads": HEADS, "n_layers": LAYERS}
        if long_names:
            sizes = {long: sizes[short] for long, short in _SPELLINGS.items()}
        config = {
            "architectures": ["DistilBertForMaskedLM" if prefix else "DistilBertModel"], "model_type": "distilbert",
            "vocab_size": tokenizer.size, **sizes, "hidden_dim": INTERMEDIATE, "activation": "gelu",
            "max_position_embeddings": MAX_TOKENS, "sinusoidal_pos_embds": False, "pad_token_id": 0,
            "tie_weights_": True, **(overrides or {}),
        }  # fmt: skip
        weights = Weights(name)
        weights.table("embeddings.word_embeddings", tokenizer.size, HIDDEN)
        weights.table("embeddings.position_embeddings", MAX_TOKENS, HIDDEN)
        weights.norm("embeddings.LayerNorm", HIDDEN, bias=True)
        for index in range(LAYERS):
            layer = f"transformer.layer.{index}"
            for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
                weights.linear(f"{layer}.attention.{part}", HIDDEN, HIDDEN, bias=True)
            weights.norm(f"{layer}.sa_layer_norm", HIDDEN, bias=True)
            weights.linear(f"{layer}.ffn.lin1", INTERMEDIATE, HIDDEN, bias=True)
            weights.linear(f"{layer}.ffn.lin2", HIDDEN, INTERMEDIATE, bias=True)
            weights.norm(f"{layer}.output_layer_norm", HIDDEN, bias=True)
        write_checkpoint(
            folder,
            config,
            weights.prefixed(prefix),
            tokenizer,
            hidden=HIDDEN,
            max_tokens=MAX_TOKENS,
            dtype=dtype,
            pooling=pooling,
            dense=dense,
            **options,
        )

    return Case("distilbert", name, write)


CASES = [
    _case("distilbert"),
    _case("distilbert-prefixed-float16", prefix="distilbert.", dtype="float16", pooling="cls"),
    _case("distilbert-long-names", long_names=True),
    _case("distilbert-relu-sinusoidal", overrides={"activation": "relu", "sinusoidal_pos_embds": True}),
    # distiluse: Dense with tanh to another width, nothing normalizes.
    _case("distilbert-dense", dense=[Dense(HIDDEN, 24)], normalize=False),
    _case(
        "distilbert-two-dense",
        dense=[Dense(HIDDEN, 48, bias=False, activation=IDENTITY), Dense(48, 20, activation=TANH)],
        module_types=MODULE_TYPES_6,
    ),
]
