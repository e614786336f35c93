"""Tiny random BERT checkpoints, one for each branch of the configs, against the NumPy reference of the architecture."""

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit import bert_reference
from kit.checkpoints import MODULE_TYPES_5_4, MODULE_TYPES_6, Checkpoint, write_safetensors

TEXTS = [
    "",
    "paris",
    "the capital of france is paris",
    "[MASK] is a city, a river: what is in paris?",
    "cook pasta in water " * 30,
    "zzz ÄÖÜ 漢字 unknown-word",
    "a",
    "what is the capital of france",
]


def assert_equals_reference(checkpoint: Checkpoint, prompt: str = "", **options):
    """Batched and alone, through the public face."""
    excluded = 0
    if prompt and not checkpoint.include_prompt:
        excluded = bert_reference.prompt_token_count(checkpoint.tokenize(prompt), checkpoint.special_ids)
    expected = bert_reference.embed(
        checkpoint.tensors,
        checkpoint.config,
        [checkpoint.tokenize(prompt + text) for text in TEXTS],
        pooling=checkpoint.pooling,
        normalize=checkpoint.normalize,
        excluded_tokens=excluded,
    )
    model = Embedder(checkpoint.folder, **options)
    batched = model.encode(TEXTS, prompt=prompt)
    scale = 1e-5 * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(batched, expected, rtol=0, atol=scale)
    alone = np.stack([model.encode(text, prompt=prompt) for text in TEXTS])
    np.testing.assert_allclose(alone, expected, rtol=0, atol=scale)
    return model


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_activations_and_dtypes(bert, activation, dtype):
    model = assert_equals_reference(bert(activation=activation, dtype=dtype))
    assert model.dtype == "float32"


POOLINGS = ["mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_with_and_without_normalize(bert, pooling, normalize):
    model = assert_equals_reference(bert(pooling=pooling, normalize=normalize))
    assert model.normalize is normalize
    assert model.pooling == pooling


@pytest.mark.parametrize("form", ["booleans", "mode"])
@pytest.mark.parametrize(
    "pooling", [["max", "mean"], ["cls", "max", "lasttoken"], ["weightedmean", "mean_sqrt_len_tokens", "max", "mean"]]
)
def test_several_poolings_are_concatenated_in_order(bert, pooling, form):
    checkpoint = bert(pooling=pooling, pooling_form=form)
    model = assert_equals_reference(checkpoint)
    assert model.dimension == 32 * len(pooling)
    assert model.pooling == "+".join(checkpoint.pooling)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_prompt_left_out_of_the_pooling(bert, pooling):
    checkpoint = bert(pooling=pooling, include_prompt=False, prompts={"query": "query: "})
    assert_equals_reference(checkpoint, prompt="query: ")


def test_a_prompt_that_takes_part(bert):
    assert_equals_reference(bert(prompts={"query": "query: "}), prompt="query: ")


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": "bert."},
        {"prefix": "bert.", "pooler": False},
        {"pooler": False},
        {"position_ids": True},
        {"legacy_layer_norm": True},
        {"heads": 1},
        {"heads": 8, "hidden": 40, "intermediate": 24},
        {"layers": 1},
        {"layers": 5, "seed": 3},
        {"config_overrides": {"layer_norm_eps": 1e-2}},
        {"config_overrides": {"type_vocab_size": 1}},
        {"max_seq_length": 16},
        {"model_max_length": 12},
        {"module_types": MODULE_TYPES_5_4},
        {"module_types": MODULE_TYPES_6, "pooling_form": "mode"},
    ],
    ids=str,
)
def test_shapes_names_and_layouts(bert, options):
    checkpoint = bert(**options)
    model = assert_equals_reference(checkpoint)
    assert model.max_length == checkpoint.max_tokens
    assert model.tokenize(TEXTS) == [checkpoint.tokenize(text) for text in TEXTS]


def test_without_modules_json_the_mean_is_normalised(bert):
    checkpoint = bert()
    (checkpoint.folder / "modules.json").unlink()
    model = assert_equals_reference(checkpoint)
    assert (model.pooling, model.normalize) == ("mean", True)


def test_lowercasing_that_the_checkpoint_asks_for(bert):
    tokenizer = {"normalizer": None}
    checkpoint = bert(tokenizer_overrides=tokenizer)
    cased = Embedder(checkpoint.folder)
    (checkpoint.folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    lowered = Embedder(checkpoint.folder)
    assert cased.tokenize("PARIS") != lowered.tokenize("PARIS") == lowered.tokenize("paris")
    assert lowered.tokenize("[SEP]") == cased.tokenize("[SEP]"), "special tokens keep their case"


def test_the_start_is_cut_where_the_checkpoint_says_so(bert):
    checkpoint = bert(max_seq_length=5)
    config = checkpoint.folder / "tokenizer_config.json"
    config.write_text('{"truncation_side": "left"}')
    ids = Embedder(checkpoint.folder).tokenize("the capital of france is paris")
    assert ids == checkpoint.tokenize("france is paris")


def test_the_checkpoint_is_left_alone(bert):
    checkpoint = bert(dtype="bfloat16")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in checkpoint.folder.rglob("*")}
    Embedder(checkpoint.folder).encode(TEXTS)
    assert before == {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in checkpoint.folder.rglob("*")}


def test_weights_behind_a_link_as_in_the_hub_cache(bert, tmp_path):
    checkpoint = bert()
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for name in ("model.safetensors", "config.json"):
        path = checkpoint.folder / name
        path.rename(blobs / f"blob-of-{name}")
        path.symlink_to(blobs / f"blob-of-{name}")
    assert_equals_reference(checkpoint)


@pytest.mark.parametrize(
    ("tensor", "poisoned"), [("pooler.dense.bias", False), ("encoder.layer.1.output.dense.bias", True)]
)
def test_nan_weights_are_an_error_where_they_reach_a_vector(bert, tensor, poisoned):
    checkpoint = bert()
    tensors = {name: ("F32", values) for name, values in checkpoint.tensors.items()}
    tensors[tensor] = ("F32", np.full_like(checkpoint.tensors[tensor], np.nan))
    write_safetensors(checkpoint.folder / "model.safetensors", tensors)
    model = Embedder(checkpoint.folder)
    if poisoned:
        with pytest.raises(ModelError, match=r"NaN or infinite components in the vector of texts\["):
            model.encode(TEXTS)
    else:
        assert np.isfinite(model.encode(TEXTS)).all()
