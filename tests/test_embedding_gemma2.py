"""EmbeddingGemma 2: what its config.json says of single layers, and the model around the texts' part."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ironvec import Embedder, ModelError
from kit.families import CASES
from kit.families.changed import changed
from kit.families.texts import TEXTS

NAME, WRAPPED = "embedding-gemma2", "embedding-gemma2-wrapped"
WIDER = {"head_dim": 16, "num_key_value_heads": 1}
FLAVOURS = [{}, {"dtype": "int8"}, {"provider": "coreml-on-cpu"}, {"provider": "coreml-on-cpu", "dtype": "float16"}]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IRONVEC_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per_layer_config": [WIDER]}, "per_layer_config is"),
        ({"per_layer_config": {"4": WIDER}}, "objects for numbers of layers, 0 to 3"),
        ({"per_layer_config": {"-1": WIDER}}, "objects for numbers of layers, 0 to 3"),
        ({"per_layer_config": {"full_attention": WIDER}}, "objects for numbers of layers, 0 to 3"),
        ({"per_layer_config": {"2": 16}}, "2 is 16; supported: an object"),
        ({"per_layer_config": {"2": WIDER, "3": {**WIDER, "intermediate_size": 96}}}, "intermediate_size is 96"),
        ({"per_layer_config": {"2": WIDER, "3": {**WIDER, "skip": ["mlp"]}}}, "skip is"),
        ({"per_layer_config": {"2": WIDER, "3": {"head_dim": 8}}}, "the same for each full_attention layer"),
        ({"per_layer_config": {"0": WIDER, "2": WIDER, "3": WIDER}}, "the same for each sliding_attention layer"),
        ({"per_layer_config": {"2": {"head_dim": 7}}}, "head_dim is 7; supported: an even number"),
        ({"per_layer_config": {"2": {"num_key_value_heads": 3}}}, "num_key_value_heads is 3; supported: a divisor"),
        ({"global_head_dim": 9}, "global_head_dim is 9; supported: an even number"),
        ({"sliding_window": 0}, "sliding_window is 0"),
        ({"sliding_window_pattern": 0}, "sliding_window_pattern is 0"),
        ({"hidden_size_per_layer_input": 0}, "hidden_size_per_layer_input is 0"),
        ({"embedding_dim": "40"}, "embedding_dim is"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}, "an object that has full_attention"),
        ({"rope_parameters": {"full_attention": {"rope_type": "proportional"}}}, "rope_parameters is"),
        ({"use_double_wide_mlp": True}, "use_double_wide_mlp is"),
    ],
)
def test_what_is_not_done_is_refused_by_name(changes, message, tmp_path):
    with pytest.raises(ModelError) as caught:
        Embedder(changed(NAME, tmp_path / "m", changes))
    assert "config.json" in str(caught.value)
    assert message in str(caught.value), caught.value


def test_spellings_that_say_the_same(tmp_path):
    CASES[NAME].write(tmp_path / "m")
    expected = Embedder(tmp_path / "m").encode(TEXTS)
    same = {
        "every layer, numbers with zeros": {
            "per_layer_config": {f"{index:02}": WIDER if index > 1 else {} for index in range(4)}
        },
        "a last layer is global": {"layer_types": ["sliding_attention"] * 2 + ["full_attention", "sliding_attention"]},
        "not read beside the above": {"global_head_dim": 64, "num_global_key_value_heads": 4},
        "nothing is skipped": {"per_layer_config": {"2": {**WIDER, "skip": []}, "3": WIDER}},
    }
    for spelling, changes in same.items():
        found = Embedder(changed(NAME, tmp_path / "m", changes)).encode(TEXTS)
        assert (found == expected).all(), spelling


def test_layers_that_are_all_alike(tmp_path):
    """Without wider layers, be it said by null or by nothing in it: the tensors then are of other shapes."""
    for alike in (None, {}):
        with pytest.raises(ModelError, match=r"layers\.[23]\.self_attn\..*found shape"):
            Embedder(changed(NAME, tmp_path / "m", {"per_layer_config": alike}))


@pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
def test_a_placeholder_of_an_image_is_looked_up_as_padding(flavour, tmp_path):
    folder = changed(WRAPPED, tmp_path / "m", {})
    ids = Embedder(folder).tokenize("the cat of the city")
    placeholders = {"image_token_id": ids[1], "video_token_id": ids[2], "audio_token_id": ids[-2]}
    texts = ["the cat of the city", TEXTS[1]]
    plain = Embedder(folder, **flavour).encode(texts)
    changed(WRAPPED, folder, placeholders)
    found = Embedder(folder, **flavour).encode(texts)
    changed(WRAPPED, folder, {})
    tensors = load_file(folder / "model.safetensors")
    table = tensors["language_model.embed_tokens.weight"].copy()
    table[list(placeholders.values())] = table[0]
    save_file(tensors | {"language_model.embed_tokens.weight": table}, folder / "model.safetensors")
    expected = Embedder(folder, **flavour).encode(texts)
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found - plain).max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_config": None}, "text_config is"),
        ({"text_config": []}, "text_config is"),
        ({"text_config": {"model_type": "gemma3_text"}}, 'model_type is "gemma3_text"'),
        ({"text_config": {"mine": 1}}, "mine is 1"),
        ({"vision_config": 3}, "vision_config is 3"),
        ({"image_token_id": -1}, "image_token_id is -1"),
        ({"mine": 1}, "mine is 1"),
    ],
)
def test_a_wrong_model_around_the_texts_part(changes, message, tmp_path):
    CASES[WRAPPED].write(tmp_path / "m")
    text = json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))["text_config"]
    inner = changes.get("text_config")
    if isinstance(inner, dict):
        changes = {"text_config": text | inner}
    with pytest.raises(ModelError) as caught:
        Embedder(changed(WRAPPED, tmp_path / "m", changes))
    assert message in str(caught.value), caught.value


def test_towers_are_left_out(tmp_path):
    CASES[WRAPPED].write(tmp_path / "m")
    expected = Embedder(tmp_path / "m").encode(TEXTS)
    tower = {"model_type": "gemma4_vision", "hidden_size": 8}
    folder = changed(WRAPPED, tmp_path / "m", {"vision_config": tower, "audio_config": tower, "eoi_token_id": 9})
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"vision_tower.weight": np.ones((2, 2), np.float32)}, folder / "model.safetensors")
    assert (Embedder(folder).encode(TEXTS) == expected).all()
