"""GTE: post-norm layers with rotation and a gated GELU; "new" is the remote code it comes from.

Both spellings: packed matrices with `rope_scaling` of type "ntk", and transformers' own.
"""

from pathlib import Path
from typing import Any

from kit.families import tokenizers
from kit.families.layout import IDENTITY, Case, Dense, Weights, write_checkpoint

HIDDEN, INTERMEDIATE, LAYERS, HEADS, MAX_TOKENS = 32, 48, 3, 4, 180
_HEAD_DIM = HIDDEN // HEADS
_PUBLISHED_NAMES = (
    ("layers.", "encoder.layer."), ("self_attn.", "attention."), ("post_attention_layernorm", "attn_ln"),
    ("post_mlp_layernorm", "mlp_ln"),
)  # fmt: skip


def _config(size: int, overrides: dict[str, Any]) -> dict[str, Any]:
    """transformers' spelling."""
    return {
        "architectures": ["GteModel"], "model_type": "gte", "vocab_size": size, "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INTERMEDIATE,
        "hidden_act": "gelu", "max_position_embeddings": 8192, "type_vocab_size": 1, "layer_norm_eps": 1e-12,
        "pad_token_id": 1, "rope_parameters": {"rope_type": "default", "rope_theta": 160000.0}, **overrides,
    }  # fmt: skip


def _published_config(size: int, overrides: dict[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["NewModel"], "model_type": "new", "attention_probs_dropout_prob": 0.0, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "layer_norm_eps": 1e-12,
        "layer_norm_type": "layer_norm", "logn_attention_clip1": False, "logn_attention_scale": False,
        "max_position_embeddings": 8192, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "pack_qkv": True,
        "pad_token_id": 1, "position_embedding_type": "rope", "rope_scaling": None, "rope_theta": 160000.0,
        "type_vocab_size": 1, "unpad_inputs": False, "use_memory_efficient_attention": False, "vocab_size": size,
        **overrides,
    }  # fmt: skip


def _ntk(theta: float, factor: float) -> dict[str, Any]:
    """What fixed NTK scaling without `mixed_b` is in transformers' terms."""
    return {"rope_type": "linear", "rope_theta": theta * factor, "factor": factor ** (2 / _HEAD_DIM)}


def _case(
    name: str,
    overrides: dict[str, Any] | None = None,
    *,
    published: bool = False,
    reads_as: dict[str, Any] | None = None,
    patch: str | None = None,
    prefix: str = "",
    dtype: str = "float32",
    pooling: str = "cls",
    dense: tuple[Dense, ...] = (),
    normalize: bool = True,
) -> Case:
    tokenizer = tokenizers.unigram()
    changed = overrides or {}
    types = changed.get("type_vocab_size", 1)

    def write(folder: Path) -> None:
        weights = Weights(name)
        weights.table("embeddings.word_embeddings", tokenizer.size, HIDDEN)
        if types:
            weights.table("embeddings.token_type_embeddings", types, HIDDEN)
        weights.norm("embeddings.LayerNorm", HIDDEN, bias=True)
        for index in range(LAYERS):
            layer = f"layers.{index}"
            for part in "qkvo":
                weights.linear(f"{layer}.self_attn.{part}_proj", HIDDEN, HIDDEN, bias=True)
            for part in ("up", "gate"):
                weights.linear(f"{layer}.mlp.{part}_proj", INTERMEDIATE, HIDDEN, bias=False)
            weights.linear(f"{layer}.mlp.down_proj", HIDDEN, INTERMEDIATE, bias=True)
            weights.norm(f"{layer}.post_attention_layernorm", HIDDEN, bias=True)
            weights.norm(f"{layer}.post_mlp_layernorm", HIDDEN, bias=True)
            if published:
                weights.packed(f"{layer}.self_attn.qkv_proj", [f"{layer}.self_attn.{part}_proj" for part in "qkv"])
                weights.packed(f"{layer}.mlp.up_gate_proj", [f"{layer}.mlp.{part}_proj" for part in ("up", "gate")])
        if published:
            weights.renamed(_PUBLISHED_NAMES)
        config = _published_config if published else _config
        write_checkpoint(
            folder,
            config(tokenizer.size, changed),
            weights.prefixed(prefix),
            tokenizer,
            hidden=HIDDEN,
            max_tokens=MAX_TOKENS,
            dtype=dtype,
            pooling=pooling,
            dense=dense,
            normalize=normalize,
        )

    read = _config(tokenizer.size, {"type_vocab_size": types, **(reads_as or {})}) if published else None
    return Case("gte", name, write, reference_config=read, reference_patch=patch, rotates=True)


CASES = [
    _case("gte"),
    _case("gte-prefixed-bfloat16", {"type_vocab_size": 0}, prefix="gte.", dtype="bfloat16", pooling="mean"),
    _case("gte-linear", {"rope_parameters": _ntk(20000.0, 8.0)}),
    # arctic-embed-m-v2.0: the published names under this model type.
    _case("gte-published", {"model_type": "gte"}, published=True),
    # gte-multilingual-base
    _case(
        "new-ntk",
        {"rope_theta": 20000, "rope_scaling": {"factor": 8.0, "type": "ntk"}},
        published=True,
        reads_as={"rope_parameters": _ntk(20000.0, 8.0)},
        prefix="new.",
        dtype="float16",
    ),
    # gte-base-en-v1.5
    _case(
        "new-no-types",
        {"rope_theta": 500000, "rope_scaling": {"factor": 2.0, "type": "ntk"}, "type_vocab_size": 0},
        published=True,
        reads_as={"rope_parameters": _ntk(500000.0, 2.0)},
    ),
    # stella: two token types, the mean through a Dense that changes nothing but the width
    _case(
        "new-two-types-dense",
        {"rope_scaling": {"factor": 2.0, "type": "ntk"}, "type_vocab_size": 2},
        published=True,
        reads_as={"rope_parameters": _ntk(160000.0, 2.0)},
        prefix="new.",
        pooling="mean",
        dense=(Dense(HIDDEN, 48, activation=IDENTITY),),
        normalize=False,
    ),
    _case(
        "new-mixed-ntk",
        {"rope_theta": 10000.0, "rope_scaling": {"factor": 4.0, "type": "ntk", "mixed_b": 0.625}},
        published=True,
        patch="mixed ntk: theta 10000, factor 4, mixed_b 0.625",
    ),
    _case(
        "new-logn",
        {"logn_attention_scale": True, "max_position_embeddings": 32},
        published=True,
        patch="logn: 32",
    ),
    _case(
        "new-logn-clipped",
        {"logn_attention_scale": True, "logn_attention_clip1": True, "max_position_embeddings": 32},
        published=True,
        patch="clipped logn: 32",
    ),
]
