"""RoBERTa, XLM-RoBERTa and CamemBERT: BERT whose positions begin after the padding id."""

from pathlib import Path
from typing import Any

from kit.families import tokenizers
from kit.families.layout import Case, Weights, write_checkpoint

_ARCHITECTURES = {"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"}
HIDDEN, INTERMEDIATE, LAYERS, HEADS, MAX_TOKENS = 32, 64, 2, 4, 180


def _case(
    name: str,
    model_type: str,
    *,
    prefix: str = "",
    dtype: str = "float32",
    pooling: str = "mean",
    overrides: dict[str, Any] | None = None,
) -> Case:
    def write(folder: Path) -> None:
        tokenizer = tokenizers.roberta_bytes() if model_type == "roberta" else tokenizers.unigram()
        config = {
            "architectures": [_ARCHITECTURES[model_type] + ("ForMaskedLM" if prefix else "Model")],
            "model_type": model_type, "vocab_size": tokenizer.size, "hidden_size": HIDDEN,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INTERMEDIATE,
            "hidden_act": "gelu", "max_position_embeddings": MAX_TOKENS + 2, "type_vocab_size": 1,
            "layer_norm_eps": 1e-5, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
            "position_embedding_type": "absolute", **(overrides or {}),
        }  # fmt: skip
        weights = Weights(name)
        for kind, key in (
            ("word", "vocab_size"),
            ("position", "max_position_embeddings"),
            ("token_type", "type_vocab_size"),
        ):
            weights.table(f"embeddings.{kind}_embeddings", config[key], HIDDEN)
        weights.norm("embeddings.LayerNorm", HIDDEN, bias=True)
        for index in range(LAYERS):
            layer = f"encoder.layer.{index}"
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                weights.linear(f"{layer}.attention.{part}", HIDDEN, HIDDEN, bias=True)
            weights.norm(f"{layer}.attention.output.LayerNorm", HIDDEN, bias=True)
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

    return Case("roberta", name, write)


CASES = [
    _case("xlm-roberta", "xlm-roberta"),
    _case("xlm-roberta-cls-float16", "xlm-roberta", dtype="float16", pooling="cls"),
    _case("xlm-roberta-prefixed", "xlm-roberta", prefix="roberta."),
    _case("xlm-roberta-two-types-tanh-gelu", "xlm-roberta", overrides={"type_vocab_size": 2, "hidden_act": "gelu_new"}),
    _case("roberta", "roberta"),
    _case("roberta-prefixed-bfloat16", "roberta", prefix="roberta.", dtype="bfloat16"),
    _case("camembert", "camembert", overrides={"layer_norm_eps": 1e-12}),
]
