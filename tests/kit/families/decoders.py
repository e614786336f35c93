"""Llama, Qwen2, Qwen3, Mistral and EuroBERT: pre-norm layers with rotated queries and keys.

They differ in biases, norms of queries and keys, masks and windows; all scale rotations alike.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.families import tokenizers
from kit.families.layout import Case, Weights, write_checkpoint

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KEY_VALUE_HEADS, HEAD_DIM, MAX_TOKENS = 32, 48, 3, 4, 2, 8, 180
_ARCHITECTURES = {
    "llama": "LlamaModel", "qwen2": "Qwen2Model", "qwen3": "Qwen3Model", "mistral": "MistralModel",
    "eurobert": "EuroBertModel",
}  # fmt: skip


def decoder_weights(
    name: str, config: Mapping[str, Any], *, biases: set[str], head_norms: bool, embeddings: float = 0.02
) -> Weights:
    """`biases`: the projections that have one. Sizes are the config's; `head_dim` may be absent from it."""
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries, keys = (config[f"num_{kind}_heads"] * head_dim for kind in ("attention", "key_value"))
    weights = Weights(name)
    weights.table("embed_tokens", config["vocab_size"], hidden, embeddings)
    sizes = {
        "self_attn.q_proj": (queries, hidden), "self_attn.k_proj": (keys, hidden), "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries), "mlp.gate_proj": (intermediate, hidden),
        "mlp.up_proj": (intermediate, hidden), "mlp.down_proj": (hidden, intermediate),
    }  # fmt: skip
    for index in range(config["num_hidden_layers"]):
        layer = f"layers.{index}"
        for part, (outputs, inputs) in sizes.items():
            weights.linear(f"{layer}.{part}", outputs, inputs, bias=part.split(".")[1] in biases)
        for which in ("q", "k") if head_norms else ():
            weights.norm(f"{layer}.self_attn.{which}_norm", head_dim)
        weights.norm(f"{layer}.input_layernorm", hidden)
        weights.norm(f"{layer}.post_attention_layernorm", hidden)
    weights.norm("norm", hidden)
    return weights


def _case(
    name: str,
    model_type: str,
    overrides: dict[str, Any] | None = None,
    *,
    prefix: str = "",
    dtype: str = "float32",
    pooling: str = "lasttoken",
    without: tuple[str, ...] = (),
) -> Case:
    def write(folder: Path) -> None:
        if model_type in ("qwen2", "qwen3"):
            tokenizer = tokenizers.end_token_bytes()
        else:
            tokenizer = tokenizers.first_and_last_bytes()
        config: dict[str, Any] = {
            "architectures": [_ARCHITECTURES[model_type]], "model_type": model_type, "vocab_size": tokenizer.size,
            "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "num_key_value_heads": KEY_VALUE_HEADS, "hidden_act": "silu",
            "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None,
            "tie_word_embeddings": True, "pad_token_id": tokenizer.size - 1, "bos_token_id": tokenizer.size - 2,
            "eos_token_id": tokenizer.size - 1,
        }  # fmt: skip
        if model_type in ("qwen2", "qwen3"):
            config |= {"use_sliding_window": False, "sliding_window": None, "max_window_layers": LAYERS}
        if model_type == "qwen3":
            config["head_dim"] = HEAD_DIM
        if model_type == "mistral":
            config["sliding_window"] = None
        config |= overrides or {}
        config = {key: value for key, value in config.items() if key not in without}
        if model_type == "qwen2":
            biases = {"q_proj", "k_proj", "v_proj"}
        else:
            attention = {"q_proj", "k_proj", "v_proj", "o_proj"} if config.get("attention_bias") else set()
            biases = attention | ({"gate_proj", "up_proj", "down_proj"} if config.get("mlp_bias") else set())
        shapes = {"num_key_value_heads": HEADS, **config}  # the classes of Llama and EuroBERT: as many as heads
        weights = decoder_weights(name, shapes, biases=biases, head_norms=model_type == "qwen3")
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

    return Case("decoders", name, write, rotates=True)


_WINDOW = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}
_LLAMA3 = {
    "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
# Head sizes of 16, so that every scaling has slow, middling and fast frequencies.
_WIDE = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
# The ramp of yarn lies between frequencies, and not below the first, only for such lengths.
_LONG = {**_WIDE, "max_position_embeddings": 32768}

CASES = [
    _case("llama", "llama"),
    _case("llama-prefixed-bfloat16", "llama", prefix="model.", dtype="bfloat16"),
    _case("llama-biases", "llama", {"attention_bias": True, "mlp_bias": True}),
    _case("llama-head-dim-mean", "llama", {"head_dim": 12}, pooling="mean"),
    _case("llama-all-heads", "llama", without=("num_key_value_heads", "rope_theta", "rope_scaling")),
    _case("llama-not-causal", "llama", {"is_causal": False}, pooling="mean"),
    _case("llama-rope-linear", "llama", {**_WIDE, "rope_scaling": {"type": "linear", "factor": 4.0}}),
    _case("llama-rope-llama3", "llama", {**_WIDE, "rope_theta": 500000.0, "rope_scaling": _LLAMA3}),
    _case(
        "llama-rope-llama3-parameters",
        "llama",
        {**_WIDE, "rope_parameters": {**_LLAMA3, "rope_theta": 20000.0}},
        without=("rope_theta", "rope_scaling"),
    ),
    # Rows within max_position_embeddings: dynamic scaling does nothing to them.
    _case("llama-rope-dynamic", "llama", {**_WIDE, "rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    _case(
        "qwen2-rope-yarn",
        "qwen2",
        {**_LONG, "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}},
    ),
    _case(
        "llama-rope-yarn-all-fields",
        "llama",
        {
            **_LONG,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 8.0,
                "original_max_position_embeddings": 4096,
                "beta_fast": 16.0,
                "beta_slow": 2.0,
                "mscale": 1.5,
                "mscale_all_dim": 0.7,
                "truncate": False,
            },
        },
    ),
    _case(
        "llama-rope-yarn-attention-factor",
        "llama",
        {**_WIDE, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.3}},
    ),
    _case("qwen2", "qwen2"),
    _case("qwen2-head-dim-theta", "qwen2", {"head_dim": 12, "rope_theta": 1000000.0}, prefix="model."),
    _case("qwen2-window", "qwen2", _WINDOW),
    _case("qwen2-window-unused", "qwen2", {"use_sliding_window": False, "sliding_window": 6, "max_window_layers": 1}),
    _case("qwen2-not-causal", "qwen2", {"is_causal": False}, pooling="mean"),
    _case("qwen2-window-not-causal", "qwen2", {**_WINDOW, "is_causal": False}, pooling="mean"),
    _case(
        "qwen2-layer-types-float16",
        "qwen2",
        {**_WINDOW, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
        dtype="float16",
    ),
    _case("qwen3", "qwen3"),
    _case("qwen3-window", "qwen3", {**_WINDOW, "max_window_layers": 2}),
    _case("qwen3-not-causal", "qwen3", {"is_causal": False, "attention_bias": True}, pooling="mean"),
    _case("mistral", "mistral"),
    _case("mistral-window", "mistral", {"sliding_window": 6}, prefix="model."),
    _case("mistral-window-not-causal", "mistral", {"sliding_window": 6, "is_causal": False}, pooling="mean"),
    _case("mistral-head-dim-bfloat16", "mistral", {"head_dim": 12}, dtype="bfloat16", without=("sliding_window",)),
    _case("eurobert", "eurobert", {"rope_theta": 250000.0, "mask_token_id": 3}, pooling="mean"),
    _case("eurobert-biases", "eurobert", {"attention_bias": True, "mlp_bias": True}, prefix="model.", pooling="cls"),
    _case(
        "eurobert-all-heads-float16",
        "eurobert",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
        pooling="mean",
        dtype="float16",
        without=("num_key_value_heads", "rope_theta", "rope_scaling", "rms_norm_eps"),
    ),
]
