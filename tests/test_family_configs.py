"""config.json of the families: nonsense and what is not done is refused by name, published configs load."""

import json

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit.checkpoints import write_safetensors
from kit.families import CASES
from kit.families.changed import changed

TEXTS = ["the river", "a cat and a dog of the city"]
ROTATED = ("llama", "mistral", "qwen2", "qwen3", "eurobert", "modernbert", "nomic", "nomic-published", "gte", "new-ntk",
           "gemma3", "embedding-gemma2")  # fmt: skip
OWN_HEADS = ("qwen3", "gemma3", "embedding-gemma2")
OTHERS = ("roberta", "xlm-roberta", "camembert", "distilbert", "mpnet")
# The spellings of hidden size, heads and layers, where they are not the usual ones.
_NOMIC = {"hidden_size": "n_embd", "num_attention_heads": "n_head", "num_hidden_layers": "n_layer"}
_DISTIL = {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"}


def spelling(name: str, field: str) -> str:
    known = {"nomic-published": _NOMIC, "distilbert": _DISTIL}.get(name, {})
    return known.get(field, field)


def refusal(name, folder, changes, *parts, without=()):
    with pytest.raises(ModelError) as caught:
        Embedder(changed(name, folder, changes, without))
    message = str(caught.value)
    assert "config.json" in message
    for part in parts:
        assert part in message, message
    return message


@pytest.mark.parametrize("name", [*ROTATED, *OTHERS])
@pytest.mark.parametrize("value", [0, -1, 1 << 60, 2.5, "32", True, [32]])
def test_sizes_that_are_none(name, value, tmp_path):
    for field in ("hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size"):
        field = spelling(name, field)
        refusal(name, tmp_path / field, {field: value}, f"{field} is", "a whole number from")


@pytest.mark.parametrize("name", [*ROTATED, *OTHERS])
def test_heads_that_do_not_divide(name, tmp_path):
    field = spelling(name, "num_attention_heads")
    if name in OWN_HEADS:  # whose heads have a size of their own, and keys that must divide them
        refusal(name, tmp_path / "m", {"num_attention_heads": 3}, "num_key_value_heads", "divisor")
    else:
        refusal(name, tmp_path / "m", {field: 5, "num_key_value_heads": 5}, f"{field} is 5", "divisor")


@pytest.mark.parametrize("name", ROTATED)
def test_heads_of_an_odd_size_do_not_rotate(name, tmp_path):
    field = spelling(name, "num_attention_heads")
    own = name in ("llama", "mistral", "qwen2", "eurobert", *OWN_HEADS)
    if own:
        refusal(name, tmp_path / "own", {"head_dim": 7}, "head_dim is 7; supported: an even number")
    if name not in OWN_HEADS:
        changes = {field: 32, "num_key_value_heads": 32} if own else {field: 32}
        refusal(name, tmp_path / "divided", changes, f"{field} is 32", "even size", "not 1")


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("mistral", {"sliding_window": 0}, "sliding_window"),
        ("qwen2-window", {"sliding_window": 0}, "sliding_window"),
        ("qwen3", {"use_sliding_window": True, "sliding_window": -4}, "sliding_window"),
        ("gemma3", {"sliding_window": 0}, "sliding_window"),
        ("modernbert", {"local_attention": 0}, "local_attention"),
        ("modernbert", {"global_attn_every_n_layers": 0}, "global_attn_every_n_layers"),
        ("gemma3", {"sliding_window_pattern": 0}, "sliding_window_pattern"),
        ("gemma3", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar"),
        ("gemma3", {"query_pre_attn_scalar": -3}, "query_pre_attn_scalar"),
        ("gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
        ("mpnet", {"relative_attention_num_buckets": 64}, "relative_attention_num_buckets"),
        ("roberta", {"max_position_embeddings": 2}, "max_position_embeddings"),
        ("roberta", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("gte", {"position_embedding_type": "alibi"}, "position_embedding_type"),
        ("new-ntk", {"layer_norm_type": "rms_norm"}, "layer_norm_type"),
        ("new-ntk", {"logn_attention_scale": True}, "logn_attention_scale"),
        ("nomic-published", {"activation_function": "gelu"}, "activation_function"),
        ("nomic-published", {"rotary_emb_fraction": 0.5}, "rotary_emb_fraction"),
        ("nomic-published", {"rotary_emb_interleaved": True}, "rotary_emb_interleaved"),
        ("nomic-published", {"prenorm": True}, "prenorm"),
        ("nomic-published", {"causal": True}, "causal"),
        ("nomic-published", {"num_experts": 8, "moe_every_n_layers": 2}, "num_experts"),
        ("nomic-published", {"scale_attn_weights": False}, "scale_attn_weights"),
        ("nomic-published", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("llama", {"hidden_act": "relu2"}, "hidden_act"),
        ("llama", {"rms_norm_eps": 0}, "rms_norm_eps"),
        ("llama", {"rms_norm_eps": -1e-6}, "rms_norm_eps"),
        ("llama", {"rope_theta": 0}, "rope_theta"),
        ("llama", {"rope_theta": 1e300}, "rope_theta"),
        ("llama", {"num_key_value_heads": 3}, "num_key_value_heads"),
        ("llama", {"attention_bias": 1}, "attention_bias"),
        ("distilbert", {"activation": "tanh"}, "activation"),
    ],
)  # fmt: skip
def test_fields_of_families_are_refused_by_name(name, changes, field, tmp_path):
    refusal(name, tmp_path / "m", changes, f"{field} is")


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "modernbert", "gemma3", "embedding-gemma2"])
@pytest.mark.parametrize(
    "types",
    [[], ["full_attention"], ["full_attention"] * 9, "full_attention", ["chunked_attention"] * 3, [1, 2, 3]],
)
def test_layer_types_of_another_length_or_kind(name, types, tmp_path):
    refusal(name, tmp_path / "m", {"layer_types": types}, "layer_types is")


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2", "qwen3", "eurobert", "gte", "nomic"])
@pytest.mark.parametrize("field", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "longrope", "factor": 2.0},
        {"type": "su", "factor": 2.0},
        {"rope_type": "mine"},
        {"rope_type": 3},
        {"rope_type": "linear", "factor": -1.0},
        {"rope_type": "linear", "factor": 0},
        {"rope_type": "llama3", "factor": 8.0},
        {"rope_type": "default", "partial_rotary_factor": 0.5},
        {"full_attention": {"rope_type": "default"}},
        "linear",
        [1],
    ],
)
def test_rotations_that_are_not_known(name, field, rope, tmp_path):
    refusal(name, tmp_path / "m", {field: rope}, without=("rope_scaling", "rope_parameters"))


@pytest.mark.parametrize("name", ["gemma3", "modernbert"])
def test_one_rotation_for_both_kinds_of_layers(name, tmp_path):
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
    refusal(name, tmp_path / "m", rope, "rope_parameters is", "full_attention and sliding_attention")


@pytest.mark.parametrize("name", [*ROTATED, *OTHERS])
def test_unknown_fields_that_are_set(name, tmp_path):
    for value in (True, 1, 0.5, "on", [1], {"a": 1}):
        refusal(name, tmp_path / "set", {"soft_gate": value}, "soft_gate is", "does not know this field")
    idle = {"soft_gate": None, "other_gate": False, "third_gate": [], "fourth_gate": {}, "fifth_gate": ""}
    Embedder(changed(name, tmp_path / "idle", idle))


@pytest.mark.parametrize("name", [*ROTATED, *OTHERS])
def test_what_no_family_does(name, tmp_path):
    for field, value in {
        "quantization_config": {"bits": 4}, "pruned_heads": {"0": [1]}, "is_decoder": True, "add_cross_attention": True,
    }.items():  # fmt: skip
        refusal(name, tmp_path / field, {field: value}, f"{field} is")


@pytest.mark.parametrize("name", [*ROTATED, *OTHERS])
def test_missing_tensors_and_other_shapes(name, tmp_path):
    """Every tensor is needed, in its shape, but those that a model does not use."""
    folder = tmp_path / "m"
    CASES[name].write(folder)
    raw = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = {key: value for key, value in json.loads(raw[8 : 8 + length]).items() if key != "__metadata__"}
    every = {key: ("F32", np.zeros(value["shape"])) for key, value in header.items()}
    for tensor in list(every)[:: max(1, len(every) // 6)]:
        rest = {key: value for key, value in every.items() if key != tensor}
        write_safetensors(folder / "model.safetensors", rest)
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            Embedder(folder)
        longer = np.zeros((every[tensor][1].shape[0] + 1, *every[tensor][1].shape[1:]))
        write_safetensors(folder / "model.safetensors", rest | {tensor: ("F32", longer)})
        with pytest.raises(ModelError, match="shape") as caught:
            Embedder(folder)
        assert tensor in str(caught.value)


@pytest.mark.parametrize("name", [*OTHERS, "llama", "mistral", "qwen2", "qwen3", "modernbert", *OWN_HEADS[1:]])
def test_own_code_is_refused(name, tmp_path):
    own = {"AutoModel": "modeling_mine.MyModel"}
    refusal(name, tmp_path / "m", {"auto_map": own}, "auto_map is", "code of the checkpoint's own")


@pytest.mark.parametrize("name", ["eurobert", "nomic", "nomic-published", "gte", "new-ntk", "qwen2-not-causal"])
def test_code_that_the_family_comes_from_is_not_needed(name, tmp_path):
    folder = tmp_path / "m"
    CASES[name].write(folder)
    expected = Embedder(folder).encode(TEXTS)
    changed(name, folder, {"auto_map": {"AutoModel": "modeling.Published"}})
    assert (Embedder(folder).encode(TEXTS) == expected).all()
