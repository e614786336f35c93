"""`ironvec inspect`: what a graph is made of and what CoreML would take of it, on whole models; fixed dimensions, the
command line, files that are broken. The provider's single rules are in `test_inspect_rules.py`."""

import json
import re

import numpy as np
import pytest

from ironvec import ModelError
from ironvec.cli import main
from ironvec.inspection import inspect
from kit.checkpoints import write_bert
from kit.onnx_export import write_decoder_export, write_encoder_export
from kit.onnx_protobuf import GraphWriter, varint
from kit.qwen3_checkpoints import write_qwen3

FIXED = {"batch_size": 1, "sequence_length": 8, "past_sequence_length": 2, "total_sequence_length": 10}
DOES_NOT_TAKE = "the provider does not take this operator"
CONTRIB = "an operator of com.microsoft: the provider takes only those of ONNX itself"


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    """An export of a tiny Qwen3 of two layers, as exporters write it: ONNX's own operators, dynamic dimensions."""
    path = tmp_path_factory.mktemp("decoder") / "model.onnx"
    write_decoder_export(path, write_qwen3(path.parent / "qwen3", layers=2), external_data=True)
    return path


def weights(graph, *shape):
    return graph.constant(f"weight_{len(graph._initializers)}", np.ones(shape, np.float32), "float32")


def write_published_decoder(path, layers, vocabulary=16385):
    """A decoder of the operators that published exports are made of, those of com.microsoft among them."""
    hidden, heads, key_value_heads, head_dim = 32, 4, 2, 8
    graph = GraphWriter(path)
    contrib = {"domain": "com.microsoft"}
    token_ids, positions = (graph.input(name, "int64", [1, 8]) for name in ("input_ids", "position_ids"))
    lengths, total = graph.input("seqlens_k", "int32", [1]), graph.input("total_sequence_length", "int32", [])
    cosine, sine = weights(graph, 64, head_dim // 2), weights(graph, 64, head_dim // 2)
    x = graph.node("Gather", weights(graph, vocabulary, hidden), token_ids)
    normed = graph.node("SimplifiedLayerNormalization", x, weights(graph, hidden), axis=-1, epsilon=1e-6)
    for layer in range(layers):
        sizes = {"query": heads * head_dim, "key": key_value_heads * head_dim, "value": key_value_heads * head_dim}
        states = {name: graph.node("MatMul", normed, weights(graph, hidden, size)) for name, size in sizes.items()}
        for name, count in (("query", heads), ("key", key_value_heads)):
            sizes = {"num_heads": count, "rotary_embedding_dim": head_dim}
            states[name] = graph.node("RotaryEmbedding", states[name], positions, cosine, sine, **sizes, **contrib)
        past = [
            graph.input(f"past.{layer}.{kind}", "float32", [1, key_value_heads, 2, head_dim]) for kind in ("k", "v")
        ]
        context, *_ = graph.nodes_out(
            "GroupQueryAttention", *states.values(), *past, lengths, total, outputs=3, num_heads=heads,
            kv_num_heads=key_value_heads, **contrib,
        )  # fmt: skip
        attended = graph.node("MatMul", context, weights(graph, heads * head_dim, hidden))
        normed, *_, x = graph.nodes_out(
            "SkipSimplifiedLayerNormalization", x, attended, weights(graph, hidden), outputs=4, epsilon=1e-6, **contrib
        )
        gate = graph.node("MatMul", normed, weights(graph, hidden, 48))
        up = graph.node("MatMul", normed, weights(graph, hidden, 48))
        gated = graph.node("Mul", graph.node("Mul", gate, graph.node("Sigmoid", gate)), up)
        fed = graph.node("MatMul", gated, weights(graph, 48, hidden))
        normed, *_, x = graph.nodes_out(
            "SkipSimplifiedLayerNormalization", x, fed, weights(graph, hidden), outputs=4, epsilon=1e-6, **contrib
        )
    graph.output(graph.node("Identity", normed), "last_hidden_state", "float32", [1, 8, hidden])
    graph.save()


def test_an_export_with_dynamic_dimensions_is_refused_for_them(decoder):
    report = inspect(decoder)
    assert report["taken"] < 0.02 * report["nodes"]
    assert report["dynamic_values"] > 0.9 * report["nodes"]
    assert sorted(report["symbols"]) == sorted(FIXED)
    reasons = {entry["reason"] for entry in report["refused"] if entry["op"] == "MatMul"}
    assert "input 0 has a dynamic dimension, batch_size" in reasons
    # Older runtimes infer less of the shapes that depend on others.
    assert reasons <= {
        "input 0 has a dynamic dimension, batch_size",
        "input 0 has a dynamic dimension",
        "the shape of input 0 is not known",
    }


def test_an_export_with_fixed_dimensions_falls_apart_where_operators_are_not_taken(decoder):
    report = inspect(decoder, dimensions=FIXED)
    assert (report["dynamic_values"], report["unknown_shapes"], report["max_rank"]) == (0, 0, 5)
    # Each layer's attention waits for a Neg, and then for an Expand, of its own.
    assert report["partitions"] == len(report["partition_sizes"]) == 2 * 2 + 1
    assert sum(report["partition_sizes"]) == report["taken"]
    assert report["share"] == report["taken"] / report["nodes"]
    assert report["nodes"] == sum(report["ops"].values())
    assert report["opsets"] == {"ai.onnx": 17}
    refused = {entry["op"]: entry for entry in report["refused"]}
    assert {op: entry["count"] for op, entry in refused.items() if entry["reason"] == DOES_NOT_TAKE} == {
        "Neg": 4,
        "Expand": 4,
        "Range": 2,
    }
    assert refused["Neg"]["example"].startswith("Neg_")
    assert refused["Cast"] | {"example": ""} == {"op": "Cast", "reason": "it casts to bool", "count": 1, "example": ""}
    assert sum(entry["count"] for entry in report["refused"]) == report["nodes"] - report["taken"]
    assert {"name": "input_ids", "dtype": "int64", "shape": [1, 8]} in report["inputs"]
    assert {"name": "past_key_values.1.key", "dtype": "float32", "shape": [1, 2, 2, 8]} in report["inputs"]
    assert report["outputs"][0] == {"name": "last_hidden_state", "dtype": "float32", "shape": [1, 8, 32]}


def test_a_published_export_falls_apart_at_every_contrib_operator(tmp_path):
    path, layers = tmp_path / "model.onnx", 3
    write_published_decoder(path, layers)
    report = inspect(path)
    assert {(entry["op"], entry["reason"], entry["count"]) for entry in report["refused"]} == {
        ("com.microsoft:SkipSimplifiedLayerNormalization", CONTRIB, 2 * layers),
        ("com.microsoft:RotaryEmbedding", CONTRIB, 2 * layers),
        ("com.microsoft:GroupQueryAttention", CONTRIB, layers),
        ("SimplifiedLayerNormalization", DOES_NOT_TAKE, 1),
        ("Gather", "its table has a dimension over 16384, which stays on the CPU in practice", 1),
        ("Identity", "in a partition of trivial operators only, which the provider gives back", 1),
    }
    # In each layer: the products before the attention, the one after it, the feed-forward network.
    assert report["partition_sizes"] == [3, 1, 6] * layers
    assert report["ops"]["com.microsoft:RotaryEmbedding"] == 2 * layers
    assert report["opsets"] == {"ai.onnx": 17, "com.microsoft": 1}
    assert report["large_initializers"] == [{"name": "weight_2", "shape": [16385, 32]}]


def test_neither_weights_nor_their_file_are_needed(decoder, tmp_path):
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(decoder.read_bytes())
    assert decoder.with_name("model.onnx_data").exists()
    assert inspect(alone, dimensions=FIXED) == inspect(decoder, dimensions=FIXED)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_half_precision_and_weights_inside_change_nothing(dtype, tmp_path):
    path = tmp_path / "model.onnx"
    write_encoder_export(path, write_bert(tmp_path / "bert"), dtype=dtype, external_data=False)
    report = inspect(path, dimensions={"batch_size": 1, "sequence_length": 8})
    refused = {(entry["op"], entry["reason"]) for entry in report["refused"]}
    assert refused == {
        ("Range", DOES_NOT_TAKE),
        ("Cast", "it casts to bool"),
        ("Unsqueeze", "input 0 is bool, not float32 or float16 or int64"),
    }


def test_a_kernel_that_wants_to_see_its_weights_gets_them(tmp_path):
    graph = GraphWriter(tmp_path / "model.onnx", external_data=True)
    quantized = graph.constant("quantized", np.zeros((256, 4, 16), np.uint8), "uint8")
    scales = graph.constant("scales", np.ones(256 * 4, np.float32), "float32")
    product = graph.node(
        "MatMulNBits", graph.input("x", "float32", [2, 128]), quantized, scales, K=128, N=256, bits=4, block_size=32,
        domain="com.microsoft",
    )  # fmt: skip
    graph.output(graph.node("Exp", product), "last", "float32", [2, 256])
    graph.save()
    report = inspect(graph.path)
    assert (report["nodes"], report["taken"], report["unknown_shapes"]) == (2, 1, 0)


# --- dimensions and shapes


def test_shapes_fix_named_dimensions_wherever_they_occur(decoder):
    shapes = {"input_ids": [1, 8], "attention_mask": [1, 10], "past_key_values.0.key": [1, 2, 2, 8]}
    assert inspect(decoder, shapes=shapes) == inspect(decoder, dimensions=FIXED)


def test_shapes_fix_dimensions_without_a_name(tmp_path):
    graph = GraphWriter(tmp_path / "model.onnx")
    graph.output(graph.node("Exp", graph.input("x", "float32", ["", 4])), "last", "float32", ["", 4])
    graph.save()
    assert (inspect(graph.path)["taken"], inspect(graph.path)["symbols"]) == (0, [])
    assert inspect(graph.path)["inputs"][0]["shape"] == [None, 4]
    report = inspect(graph.path, shapes={"x": [3, 4]})
    assert (report["taken"], report["outputs"][0]["shape"]) == (1, [3, 4])
    with pytest.raises(ValueError, match="dimensions=n: expected none, since no dynamic dimension of an input has a"):
        inspect(graph.path, dimensions={"n": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimensions": {"batch": 1}}, "dimensions=batch: expected one of batch_size, past_sequence_length, sequence_"),
        ({"dimensions": {"batch_size": -1}}, "dimensions=batch_size=-1: expected a size of at least 0"),
        ({"dimensions": {"batch_size": 10**20}}, f"batch_size={10**20}: expected a size of at most 2,147,483,647"),
        ({"shapes": {"input_ids": [1, -(10**20)]}}, f"input_ids={-(10**20)}: expected a size of at most"),
        (
            {"shapes": {"ids": [1, 8]}},
            "shapes=ids: expected one of the inputs input_ids, attention_mask, position_ids",
        ),
        ({"shapes": {"input_ids": [1]}}, "shapes=[1]: expected 2 dimensions for input input_ids"),
        ({"shapes": {"input_ids": [1, -8]}}, "shapes=input_ids=-8: expected a size of at least 0"),
        (
            {"shapes": {"past_key_values.0.key": [1, 3, 2, 8]}},
            "shapes=3: expected 2 in this place of input past_key_values.0.key, where the graph fixes it",
        ),
        (
            {"shapes": {"input_ids": [1, 8], "position_ids": [1, 9]}},
            "shapes=sequence_length=9: expected sequence_length=8 everywhere",
        ),
        ({"shapes": {"input_ids": [2, 8]}, "dimensions": {"batch_size": 1}}, "expected batch_size=1 everywhere"),
    ],
)
def test_sizes_that_the_graph_cannot_have(arguments, message, decoder):
    with pytest.raises(ValueError, match=re.escape(message)):
        inspect(decoder, **arguments)


def test_sizes_that_contradict_each_other_are_the_runtimes_error(tmp_path):
    graph = GraphWriter(tmp_path / "model.onnx")
    product = graph.node("MatMul", graph.input("a", "float32", [2, "m"]), graph.input("b", "float32", ["n", 3]))
    graph.output(product, "last", "float32", [2, 3])
    graph.save()
    assert inspect(graph.path, dimensions={"m": 4, "n": 4})["taken"] == 1
    message = f"{graph.path}: ONNX Runtime refused the model: "
    with pytest.raises(ModelError, match=re.escape(message) + ".*ncompatible dimensions"):
        inspect(graph.path, dimensions={"m": 4, "n": 5})


# --- the command line


def test_the_command_explains(decoder, capsys):
    assert main(["inspect", str(decoder), *(f"--fix={name}={size}" for name, size in FIXED.items())]) == 0
    out = capsys.readouterr().out
    report = inspect(decoder, dimensions=FIXED)
    assert f"model.onnx: {report['nodes']} nodes; operator sets ai.onnx 17\n" in out
    assert (
        f"CoreML would take {report['taken']} of {report['nodes']} nodes ({report['share']:.1%}) in 5 partitions" in out
    )
    assert re.search(rf"^  4 +Neg +{DOES_NOT_TAKE} \(Neg_\d+\)$", out, re.MULTILINE)
    assert "have not yet been run on Apple hardware" in out
    assert "--fix" not in out
    assert main(["inspect", str(decoder)]) == 0
    assert "--fix batch_size=N" in capsys.readouterr().out


def test_the_command_prints_json(decoder, capsys):
    assert main(["inspect", str(decoder), "--json", "--shape", "input_ids=1,8"]) == 0
    assert json.loads(capsys.readouterr().out) == inspect(decoder, shapes={"input_ids": [1, 8]})


@pytest.mark.parametrize("option", ["--fix=batch_size", "--fix=batch_size=x", "--fix=batch_size=1,2", "--shape=x=1,"])
def test_the_command_names_a_wrong_option(option, decoder, capsys):
    with pytest.raises(SystemExit) as error:
        main(["inspect", str(decoder), option])
    assert error.value.code == 2
    assert re.search(r"is not (NAME=SIZE|INPUT=SIZE,SIZE)\n", capsys.readouterr().err)


def test_the_command_says_what_it_cannot_inspect(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "missing.onnx")]) == 2
    assert capsys.readouterr().err == (
        f"ironvec: error: {tmp_path / 'missing.onnx'}: no such file; it is the model to inspect\n"
    )


# --- files that are no models


def nested(levels):
    """A model whose graph holds an If in an If in an If: each level is three messages deep."""
    graph = b""
    for _ in range(levels):
        attribute = b"\x32" + varint(len(graph)) + graph
        node = b"\x2a" + varint(len(attribute)) + attribute
        graph = b"\x0a" + varint(len(node)) + node
    return b"\x3a" + varint(len(graph)) + graph


BROKEN = {
    "empty": (b"", "is empty"),
    "text": (b"not a model", "is not an ONNX model: "),
    "zeros": (bytes(1 << 16), "is not an ONNX model: "),
    "no graph": (b"\x08\x08", "is not an ONNX model: it has no graph"),
    "a length past the end": (b"\x3a\xff\xff\xff\xff\x0f", "is not an ONNX model: "),
    "a string that is not UTF-8": (b"\x3a\x03\x12\x01\xff", "is not an ONNX model: "),
    "subgraphs in subgraphs": (nested(40), "is not an ONNX model: .*recursion limit"),
    "subgraphs in many more": (nested(2000), "is not an ONNX model: .*recursion limit"),
    "nothing in the graph": (b"\x08\x08\x3a\x00", "ONNX Runtime refused the model: "),
    "a node of no operator": (b"\x08\x08\x3a\x04\x0a\x02\x0a\x00", "ONNX Runtime refused the model: "),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named(name, tmp_path):
    content, message = BROKEN[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(f"{path}: ") + message):
        inspect(path)


def test_a_model_cut_anywhere_is_an_error_or_a_smaller_model(tmp_path):
    path = tmp_path / "model.onnx"
    write_published_decoder(path, 1, vocabulary=10)
    whole = path.read_bytes()
    refused = 0
    for end in range(1, len(whole), len(whole) // 50):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match=re.escape(str(path))):
            inspect(path)
        refused += 1
    assert refused >= 50


def test_a_file_too_large_for_a_message(tmp_path):
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate((1 << 31) + 1)
    with pytest.raises(ModelError, match=r"has 2147483649 bytes; an ONNX file has at most 2 GiB"):
        inspect(path)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(f"{tmp_path / 'x.onnx'}: no such file")):
        inspect(tmp_path / "x.onnx")
    with pytest.raises(ModelError, match=re.escape(f"{tmp_path}: is a folder; name the ONNX file in it")):
        inspect(tmp_path)


def test_names_that_are_not_ascii_survive(tmp_path):
    graph = GraphWriter(tmp_path / "モデル.onnx")
    graph.output(graph.node("Exp", graph.input("größe", "float32", ["länge"])), "außen", "float32", ["länge"])
    graph.save()
    report = inspect(graph.path, dimensions={"länge": 3})
    assert (report["inputs"][0]["name"], report["outputs"][0]) == (
        "größe",
        {"name": "außen", "dtype": "float32", "shape": [3]},
    )
