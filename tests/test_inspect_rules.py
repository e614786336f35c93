"""The CoreML provider's rules as `inspect` knows them: for each a graph of three nodes whose middle one is refused, and
one whose middle one is taken. What onnxruntime would not even load is tested in `src/inspect/`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ironvec.inspection import inspect
from kit.onnx_protobuf import GraphWriter

Operand = tuple[str, list[int | str]] | np.ndarray | None


def inspected(
    folder: Path,
    operator: str,
    *operands: Operand,
    outputs: int = 1,
    opset: int = 18,
    static_shapes: bool = True,
    **attributes: Any,
) -> tuple[dict[str, Any], list[str]]:
    """A report on X → OPERATOR → Y, and why the provider refuses the operator.

    An operand is (dtype, shape) for an input of the graph, an array for a constant, None for one left out. The first
    goes through a node X; Y takes the first output.
    """  # fmt: skip
    graph = GraphWriter(folder / "model.onnx", opset=opset)
    names = []
    for index, operand in enumerate(operands):
        if operand is None:
            names.append("")
        elif isinstance(operand, np.ndarray):
            names.append(graph.constant(f"constant_{index}", operand, str(operand.dtype)))
        else:
            names.append(graph.input(f"input_{index}", *operand))
    names[0] = graph.node("Identity", names[0])
    made = graph.nodes_out(operator, *names, outputs=outputs, **attributes)
    # A value of a known type, so that the graph has an output whatever the operator makes.
    last = graph.node("Shape", made[0])
    graph.output(last, "last", "int64", ["rank"])
    graph.save()
    report = inspect(folder / "model.onnx", static_shapes=static_shapes)
    name = f"{attributes['domain']}:{operator}" if "domain" in attributes else operator
    given_back = "in a partition of trivial operators only, which the provider gives back"
    reasons = [entry["reason"] for entry in report["refused"] if entry["op"] == name]
    assert report["nodes"] == 3
    return report, [reason for reason in reasons if reason != given_back]


def f32(*shape: int | str) -> tuple[str, list[int | str]]:
    return "float32", list(shape)


def f16(*shape: int | str) -> tuple[str, list[int | str]]:
    return "float16", list(shape)


def i64(*shape: int | str) -> tuple[str, list[int | str]]:
    return "int64", list(shape)


def ints(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


REFUSED: dict[str, tuple[str, Callable[..., Any]]] = {}
TAKEN: dict[str, Callable[..., Any]] = {}


def refused(name: str, reason: str, operator: str, *operands: Operand, **options: Any) -> None:
    assert name not in REFUSED
    REFUSED[name] = (reason, lambda folder: inspected(folder, operator, *operands, **options))


def taken(name: str, operator: str, *operands: Operand, **options: Any) -> None:
    assert name not in TAKEN
    TAKEN[name] = lambda folder: inspected(folder, operator, *operands, **options)


# --- shapes

refused("rank 6", "input 0 has rank 6, more than 5", "Relu", f32(1, 2, 1, 2, 1, 2))
taken("rank 5", "Relu", f32(1, 2, 1, 2, 2))
refused("rank 6, a constant", "input 1 has rank 6, more than 5", "Add", f32(2), ones(1, 1, 1, 1, 1, 2))
refused("no elements", "input 0 has a dimension of 0", "Relu", f32(2, 0))
refused("no elements, a constant", "input 1 has a dimension of 0", "Add", f32(1, 1), ones(0, 1))
refused("dynamic, named", "input 0 has a dynamic dimension, batch_size", "Relu", f32("batch_size", 4))
refused("dynamic, without a name", "input 0 has a dynamic dimension", "Relu", f32("", 4))
refused("the second input dynamic", "input 1 has a dynamic dimension, n", "Add", f32(4), f32("n"))
taken("dynamic, where that is allowed", "Relu", f32("batch_size", 4), static_shapes=False)
taken("left out", "LayerNormalization", f32(2, 4), ones(4), None, axis=-1)

# --- types

refused("int32", "input 0 is int32, not float32 or float16 or int64", "Add", ("int32", [2]), ("int32", [2]))
refused("bool", "input 0 is bool, not float32 or float16 or int64", "Transpose", ("bool", [2, 3]), perm=[1, 0])
refused("float64", "input 0 is float64, not float32 or float16 or int64", "Add", ("float64", [2]), ("float64", [2]))
for dtype in ("float32", "float16", "int64"):
    taken(dtype, "Add", (dtype, [2]), (dtype, [2]))

# --- operators with conditions

TWO_DIMENSIONS = "an input has fewer than 2 dimensions"
refused("MatMul, A", TWO_DIMENSIONS, "MatMul", f32(4), ones(4, 3))
refused("MatMul, B", TWO_DIMENSIONS, "MatMul", f32(3, 4), ones(4))
taken("MatMul with a constant", "MatMul", f32(2, 3, 4), ones(4, 5))
taken("MatMul of two inputs", "MatMul", f32(2, 3, 4, 5), f32(2, 3, 5, 4))
refused("Gemm, transA", "transA is not 0", "Gemm", f32(4, 3), ones(5, 4), transA=1, transB=1)
refused("Gemm, alpha", "alpha is 0.5, not 1", "Gemm", f32(3, 4), ones(5, 4), alpha=0.5, transB=1)
refused("Gemm, beta", "beta is 2, not 1", "Gemm", f32(3, 4), ones(5, 4), ones(5), beta=2.0, transB=1)
taken("Gemm", "Gemm", f32(3, 4), ones(5, 4), ones(5), alpha=1.0, beta=1.0, transA=0, transB=1)
refused("Pow", "inputs are float32 and int64", "Pow", f32(3), ints(2))
taken("Pow", "Pow", f32(3), ones(1))
for axes_operator in ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"):
    refused(f"{axes_operator}, axes", "axes is not constant", axes_operator, f32(2, 3), i64(1))
    taken(axes_operator, axes_operator, f32(2, 3), ints(-1))
    taken(f"{axes_operator} over all", axes_operator, f32(2, 3))
taken("ReduceMean, axes an attribute", "ReduceMean", f32(2, 3), opset=17, axes=[1])
for axes_operator in ("Squeeze", "Unsqueeze"):
    refused(f"{axes_operator}, axes", "axes is not constant", axes_operator, f32(1, 3), i64(1))
    taken(axes_operator, axes_operator, f32(1, 3), ints(0))
refused("LayerNormalization, scale", "the scale is not constant", "LayerNormalization", f32(2, 4), f32(4), axis=-1)
refused(
    "LayerNormalization, bias", "the bias is not constant", "LayerNormalization", f32(2, 4), ones(4), f32(4), axis=-1
)
refused(
    "LayerNormalization, outputs", "it has more than one output", "LayerNormalization", f32(2, 4), ones(4), ones(4),
    outputs=2, axis=-1,
)  # fmt: skip
taken("LayerNormalization", "LayerNormalization", f32(2, 4), ones(4), ones(4), axis=-1)
refused("Concat", "fewer than 2 inputs", "Concat", f32(2, 3), axis=0)
taken("Concat", "Concat", f32(2, 3), f32(2, 3), axis=0)
refused("Split, outputs", "fewer than 2 outputs", "Split", f32(4, 3), ints(4))
refused("Split, sizes", "split is not constant", "Split", f32(4, 3), i64(2), outputs=2)
refused("Split, nothing", "split has a size of 0", "Split", f32(4, 3), ints(4, 0), outputs=2)
refused("Split, nothing in an attribute", "split has a size of 0", "Split", f32(4), outputs=2, opset=11, split=[4, 0])
taken("Split", "Split", f32(4, 3), ints(1, 3), outputs=2)
taken("Split, sizes in an attribute", "Split", f32(4), outputs=2, opset=11, split=[1, 3])
taken("Split evenly", "Split", f32(4, 3), outputs=2, opset=17)
for index, name in enumerate(("starts", "ends", "axes", "steps")):
    slice_operands: list[Operand] = [ints(0), ints(2), ints(0), ints(1)]
    slice_operands[index] = i64(1)
    refused(f"Slice, {name}", f"{name} is not constant", "Slice", f32(4, 3), *slice_operands)
refused(
    "Slice, data", "the data has a dynamic dimension", "Slice", f32("n", 3), ints(0), ints(2), static_shapes=False
)  # fmt: skip
taken("Slice", "Slice", f32(4, 3), ints(0), ints(2), ints(0), ints(1))
taken("Slice, axes left out", "Slice", f32(4, 3), ints(0, 0), ints(2, 1), None, ints(1, 1))
refused("Reshape, shape", "the shape is not constant", "Reshape", f32(4, 3), i64(2))
refused("Reshape, data", "the data has a dynamic dimension", "Reshape", f32("n", 3), ints(-1), static_shapes=False)
refused("Reshape, rank", "the output has rank 6, more than 5", "Reshape", f32(4, 3), ints(4, 1, 1, 1, 1, 3))
taken("Reshape", "Reshape", f32(4, 3), ints(4, 1, 1, 1, 3))
refused("Cast to bool", "it casts to bool", "Cast", f32(2), to=9)
refused("Cast to float64", "it casts to float64", "Cast", f32(2), to=11)
refused("Cast from bool", "input 0 is bool, not float32 or float16 or int64 or int32", "Cast", ("bool", [2]), to=1)
for dtype in ("float32", "float16", "int64", "int32"):
    for target, element in (("float32", 1), ("int32", 6), ("int64", 7), ("float16", 10)):
        taken(f"Cast {dtype} to {target}", "Cast", (dtype, [2]), to=element)
refused("Where, integers", "input 1 is int64, not float32 or float16", "Where", ("bool", [2]), i64(2), ints(1, 1))
taken("Where", "Where", ("bool", [2]), f32(2), ones(2))
taken("Where, float16", "Where", ("bool", [2]), f16(2), f16(2))
STAYS = "its table has a dimension over 16384, which stays on the CPU in practice"
refused("Gather, table", STAYS, "Gather", f32(16385, 2), i64(3))
refused("Gather, rank", "the output has rank 6, more than 5", "Gather", f32(4, 2, 2, 2), i64(1, 1, 3))
taken("Gather", "Gather", f32(16384, 2), i64(3))
taken("Gather, int32 indices", "Gather", f32(4, 2, 2), ("int32", [1, 1, 3]))
for approximation in ("none", "tanh"):
    taken(f"Gelu, {approximation}", "Gelu", f32(2), opset=20, approximate=approximation)
taken("Gelu", "Gelu", f32(2), opset=20)

# --- operators without

for operator in ("Ceil", "Cos", "Erf", "Exp", "Identity", "Reciprocal", "Relu", "Round", "Sigmoid", "Sin"):
    taken(operator, operator, f32(2, 3))
for operator in ("Softmax", "Sqrt", "Tanh", "Transpose"):
    taken(operator, operator, f32(2, 3))
for operator in ("Add", "Div", "Max", "Mul", "Sub"):
    taken(f"{operator}, broadcast", operator, f32(2, 3), f32(3))
taken("Tile", "Tile", f32(2, 3), i64(2))

# --- operators that are not taken

NOT_TAKEN = "the provider does not take this operator"
UNKNOWN = "not among the operators that the provider is known to take"
for operator in ("Abs", "Neg"):
    refused(operator, NOT_TAKEN, operator, f32(2))
refused("Not", NOT_TAKEN, "Not", ("bool", [2]))
refused("Min", NOT_TAKEN, "Min", f32(2), f32(2))
refused("Equal", NOT_TAKEN, "Equal", f32(2), f32(2))
refused("Einsum", NOT_TAKEN, "Einsum", f32(2, 3), f32(3, 2), equation="ij,jk->ik")
refused("Expand", NOT_TAKEN, "Expand", f32(1, 3), ints(2, 3))
refused("Range", NOT_TAKEN, "Range", i64(), np.asarray(4), np.asarray(1))
refused("ReduceL2", NOT_TAKEN, "ReduceL2", f32(2, 3))
refused("DequantizeLinear", NOT_TAKEN, "DequantizeLinear", ("uint8", [2]), np.asarray(1, np.float32))
refused("SimplifiedLayerNormalization", NOT_TAKEN, "SimplifiedLayerNormalization", f32(2, 4), ones(4))
refused("an operator nobody lists", UNKNOWN, "Floor", f32(2))
CONTRIB = "an operator of com.microsoft: the provider takes only those of ONNX itself"
refused("QuickGelu", CONTRIB, "QuickGelu", f32(2, 4), domain="com.microsoft")
# The name alone does not make it one of ONNX's own.
refused("Gelu of com.microsoft", CONTRIB, "Gelu", f32(2, 4), domain="com.microsoft")
refused(
    "SkipSimplifiedLayerNormalization", CONTRIB, "SkipSimplifiedLayerNormalization", f32(1, 2, 4), f32(1, 2, 4),
    ones(4), domain="com.microsoft",
)  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    reason, run = REFUSED[name]
    report, reasons = run(tmp_path)
    # Identity before and Shape after may be refused for the same reason, as where all are dynamic.
    assert set(reasons) == {reason}
    assert report["taken"] < report["nodes"]
    assert sum(entry["count"] for entry in report["refused"]) == report["nodes"] - report["taken"]


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name, tmp_path):
    report, reasons = TAKEN[name](tmp_path)
    assert reasons == []
    assert sum(entry["count"] for entry in report["refused"]) == report["nodes"] - report["taken"]


def test_a_shape_of_which_not_even_the_rank_is_known(tmp_path):
    graph = GraphWriter(tmp_path / "model.onnx")
    reshaped = graph.node("Reshape", graph.input("x", *f32(4)), graph.input("sizes", *i64("n")))
    summed = graph.node("ReduceSum", graph.input("y", *f32(4)), keepdims=0)
    graph.output(graph.node("Add", reshaped, summed), "last", "float32", ["m"])
    graph.save()
    report = inspect(graph.path)
    assert {(entry["op"], entry["reason"]) for entry in report["refused"]} == {
        ("Reshape", "input 1 has a dynamic dimension, n"),
        ("Add", "the shape of input 0 is not known"),
    }
    # A scalar, which onnxruntime describes in the same way, is of known shape.
    assert report["unknown_shapes"] == 1


CAUTIONS = {
    "Gemm with transB=0": ("Gemm", [f32(3, 4), ones(4, 5)], {}, "transB=0 writes the weight into the model's text"),
    "Gemm with transB=1": ("Gemm", [f32(3, 4), ones(5, 4)], {"transB": 1}, None),
    "Reciprocal": ("Reciprocal", [f32(3)], {}, "the provider adds 1e-4 to its input: use Div"),
    "LayerNormalization without axis": ("LayerNormalization", [f32(2, 3, 4), ones(4), ones(4)], {}, "write axis=-1"),
    "LayerNormalization with axis": ("LayerNormalization", [f32(2, 3, 4), ones(4), ones(4)], {"axis": -1}, None),
    "where 1 is -1": ("LayerNormalization", [f32(2, 4), ones(4), ones(4)], {}, None),
}


@pytest.mark.parametrize("name", CAUTIONS)
def test_what_is_taken_with_a_caution(name, tmp_path):
    operator, operands, attributes, caution = CAUTIONS[name]
    report, reasons = inspected(tmp_path, operator, *operands, **attributes)
    assert (reasons, report["taken"]) == ([], 3)
    found = [entry["reason"] for entry in report["cautions"] if entry["op"] == operator]
    assert len(found) == (caution is not None)
    assert caution is None or caution in found[0]


def test_what_is_taken_on_the_lists_word_is_said(tmp_path):
    report, reasons = inspected(tmp_path, "Clip", f32(3), np.asarray(0, np.float32), np.asarray(1, np.float32))
    assert (reasons, report["taken"], report["partitions"]) == ([], 3, 1)
    assert [(entry["op"], entry["count"]) for entry in report["unchecked"]] == [("Clip", 1), ("Shape", 1)]


# Attributes, the constant in input 1 if any, and the rank of the output.
TRIVIAL = {
    "Cast": ({"to": 10}, None, 2),
    "Ceil": ({}, None, 2),
    "Flatten": ({}, None, 2),
    "Identity": ({}, None, 2),
    "Reshape": ({}, ints(-1), 1),
    "Squeeze": ({}, ints(0), 1),
    "Tile": ({}, ints(1, 1), 2),
    "Transpose": ({}, None, 2),
    "Unsqueeze": ({}, ints(0), 3),
}


@pytest.mark.parametrize("followed", [False, True], ids=["alone", "with an Exp"])
@pytest.mark.parametrize("operator", TRIVIAL)
def test_a_partition_of_trivial_operators_only_is_given_back(operator, followed, tmp_path):
    attributes, numbers, rank = TRIVIAL[operator]
    graph = GraphWriter(tmp_path / "model.onnx", opset=18)
    constants = [] if numbers is None else [graph.constant("numbers", numbers, "int64")]
    last = graph.node(operator, graph.input("x", *f32(1, 4)), *constants, **attributes)
    last = graph.node("Exp", last) if followed else last
    dtype = "float16" if operator == "Cast" else "float32"
    graph.output(last, "last", dtype, [f"dimension_{axis}" for axis in range(rank)])
    graph.save()
    report = inspect(graph.path)
    assert (report["taken"], report["partitions"]) == ((2, 1) if followed else (0, 0))
    if not followed:
        reason = "in a partition of trivial operators only, which the provider gives back"
        assert report["refused"] == [{"op": operator, "reason": reason, "count": 1, "example": f"{operator}_0"}]


def test_nodes_of_subgraphs_are_not_taken(tmp_path):
    branches = []
    for name in ("then_branch", "else_branch"):
        branch = GraphWriter(tmp_path / name)
        branch.output(branch.node("Exp", branch.node("Exp", "x")), f"{name}_out", "float32", [4])
        branches.append((name, branch.graph().replace(b"Exp_", f"{name[:3]}_".encode())))
    graph = GraphWriter(tmp_path / "model.onnx")
    doubled = graph.node("Add", graph.input("x", *f32(4)), "x")
    chosen = graph.node("If", graph.input("flag", "bool", []), **dict(branches))
    graph.output(graph.node("Add", chosen, doubled), "last", "float32", [4])
    graph.save()
    report = inspect(graph.path)
    assert (report["nodes"], report["taken"], report["ops"]) == (7, 2, {"Add": 2, "Exp": 4, "If": 1})
    found = {(entry["op"], entry["count"]): entry["reason"] for entry in report["refused"]}
    assert found == {
        ("Exp", 4): "in a subgraph, where the provider is not run",
        ("If", 1): "not among the operators that the provider is known to take",
    }
