"""Partitions as onnxruntime's own checker for mobile devices counts them, where its list of operators is current: it
knows neither the conditions of an operator nor that trivial partitions are given back."""

import random
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.tools.mobile_helpers import usability_checker

from ironvec.inspection import inspect
from kit.onnx_protobuf import GraphWriter

LIST = "coreml_supported_mlprogram_ops.md"
LISTED = set(
    re.findall(
        r"^\|ai\.onnx:(\w+)\|",
        Path(usability_checker.__file__).with_name(LIST).read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
SHAPE = [4, 4]


def both_agree(path, given_back=0):
    """Compares the two, and returns our report."""
    report = inspect(path)
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
    theirs = usability_checker.check_coreml_partitions(model, True, LIST)
    assert report["nodes"] == theirs.num_nodes
    assert report["taken"] + given_back == theirs.num_supported_nodes
    if not given_back:
        assert report["partitions"] == theirs.num_partitions
        assert report["partition_sizes"] == [len(group) for group in theirs.supported_groups]
    return report


@pytest.mark.parametrize("seed", range(40))
def test_graphs_of_random_shape(seed, tmp_path):
    chance = random.Random(seed)
    taken, not_taken = ["Add", "Mul", "MatMul", "Tanh", "Sqrt"], ["Neg", "Abs", "Min"]
    assert LISTED.issuperset(taken)
    assert LISTED.isdisjoint(not_taken)
    share = chance.choice([0.1, 0.3, 0.6])
    graph = GraphWriter(tmp_path / "model.onnx", opset=18)
    values = [graph.input(name, "float32", SHAPE) for name in ("x", "y")]
    values.append(graph.constant("w", np.ones(SHAPE, np.float32), "float32"))
    for _ in range(chance.randrange(2, 60)):
        operator = chance.choice(not_taken if chance.random() < share else taken)
        # Of the latest values and of all: long chains and long bypasses.
        pool = values[-4:] if chance.random() < 0.7 else values
        count = 1 if operator in ("Tanh", "Sqrt", "Neg", "Abs") else 2
        values.append(graph.node(operator, *(chance.choice(pool) for _ in range(count))))
    graph.output(values[-1], "last", "float32", SHAPE)
    graph.save()
    report = both_agree(graph.path)
    counts = {operator: count for operator, count in report["ops"].items() if operator in not_taken}
    assert {entry["op"]: entry["count"] for entry in report["refused"]} == counts


def write_layer(path, length=8, heads=4, head_dim=8, intermediate=64):
    """A layer of BERT in the operators and forms that the provider takes."""
    hidden = heads * head_dim
    graph = GraphWriter(path, opset=20)
    node = graph.node

    def linear(name, x, size, of):
        weight, bias = (np.ones(shape, np.float32) for shape in ((size, of), (size,)))
        constants = graph.constant(f"{name}.weight", weight, "float32"), graph.constant(f"{name}.bias", bias, "float32")
        return node("Gemm", x, *constants, transB=1)

    def normed(name, x):
        scale, shift = (graph.constant(f"{name}.{part}", np.ones(hidden), "float32") for part in ("weight", "bias"))
        return node("LayerNormalization", x, scale, shift, axis=-1)

    def ints(*numbers):
        return graph.constant("numbers", np.asarray(numbers), "int64")

    x = graph.input("inputs_embeds", "float32", [length, hidden])
    bias = graph.input("mask_bias", "float32", [1, 1, 1, length])
    pool = graph.input("pool_weights", "float32", [1, 1, length])
    stacked = linear("qkv", x, 3 * hidden, hidden)
    states = graph.nodes_out("Split", stacked, ints(hidden, hidden, hidden), outputs=3, axis=-1)
    query, key, value = (node("Reshape", state, ints(1, length, heads, head_dim)) for state in states)
    query, value = (node("Transpose", state, perm=[0, 2, 1, 3]) for state in (query, value))
    scores = node("Add", node("MatMul", query, node("Transpose", key, perm=[0, 2, 3, 1])), bias)
    context = node("MatMul", node("Softmax", scores, axis=-1), value)
    context = node("Reshape", node("Transpose", context, perm=[0, 2, 1, 3]), ints(length, hidden))
    x = normed("attention", node("Add", x, linear("output", context, hidden, hidden)))
    inner = node("Gelu", linear("inner", x, intermediate, hidden))
    x = normed("feed_forward", node("Add", x, linear("outer", inner, hidden, intermediate)))
    pooled = node("MatMul", pool, node("Reshape", x, ints(1, length, hidden)))
    graph.output(pooled, "pooled", "float32", [1, 1, hidden])
    graph.save()


def test_a_layer_written_for_the_provider_goes_in_whole(tmp_path):
    write_layer(tmp_path / "model.onnx")
    report = inspect(tmp_path / "model.onnx")
    assert (report["share"], report["partitions"], report["partition_sizes"]) == (1.0, 1, [report["nodes"]])
    assert (report["refused"], report["cautions"], report["unchecked"]) == ([], [], [])
    assert (report["max_rank"], report["dynamic_values"], report["large_initializers"]) == (4, 0, [])
    if not LISTED.issuperset(report["ops"]):
        pytest.skip(f"onnxruntime {onnxruntime.__version__} does not list {set(report['ops']) - LISTED}")
    both_agree(tmp_path / "model.onnx")


@pytest.mark.skipif("Identity" not in LISTED, reason="an onnxruntime that does not list Identity")
def test_a_trivial_partition_is_the_difference(tmp_path):
    graph = GraphWriter(tmp_path / "model.onnx", opset=18)
    last = graph.node("Neg", graph.node("Exp", graph.input("x", "float32", SHAPE)))
    graph.output(graph.node("Identity", graph.node("Transpose", last, perm=[1, 0])), "last", "float32", SHAPE)
    graph.save()
    assert both_agree(graph.path, given_back=2)["partitions"] == 1
