"""What the tests of the CoreML flavour share: feeding an exported graph as the host does, and the rules it keeps.

In: an exported file, the checkpoint's tensors or folder, rows of token ids. Out: pooled rows; or the rules of ONNX
Runtime's CoreML provider (MLProgram) that a graph breaks, in words.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

HIDDEN = -1e4
# Operators that the provider takes, of those that matter here; Reciprocal and Pow are left out on purpose.
TAKEN = {
    "MatMul", "Gemm", "Add", "Sub", "Mul", "Div", "Max", "Sqrt", "Erf", "Sigmoid", "Tanh", "Relu", "Gelu", "ReduceMean",
    "ReduceSum", "ReduceMax", "ReduceMin", "LayerNormalization", "Softmax", "Concat", "Split", "Slice", "Reshape",
    "Transpose",
}  # fmt: skip


def read_checkpoint(folder: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """config.json, and the tensors of a float32 or bfloat16 model.safetensors, mapped."""
    path = Path(folder) / "model.safetensors"
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    tensors = {}
    for name, about in header.items():
        if about["dtype"] in ("F32", "BF16"):
            kind, start = {"F32": "<f4", "BF16": "<u2"}[about["dtype"]], 8 + length + about["data_offsets"][0]
            tensors[name] = np.memmap(path, kind, "r", start, tuple(about["shape"]))
    return json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")), tensors


def widened(rows: np.ndarray) -> np.ndarray:
    return (rows.astype("<u4") << 16).view("<f4") if rows.dtype == np.uint16 else np.asarray(rows, dtype=np.float32)


def embedded(tensors: Mapping[str, np.ndarray], ids: Sequence[int]) -> np.ndarray:
    """A row's embedded tokens, (L, H), before BERT's LayerNorm."""
    for prefix in ("", "bert.", "model."):
        if f"{prefix}embed_tokens.weight" in tensors:
            return widened(tensors[f"{prefix}embed_tokens.weight"][list(ids)])
        if f"{prefix}embeddings.word_embeddings.weight" in tensors:
            word, position, kind = (
                tensors[f"{prefix}embeddings.{part}_embeddings.weight"] for part in ("word", "position", "token_type")
            )
            return word[list(ids)] + position[: len(ids)] + kind[0]
    raise ValueError("no embedding table")


def pool_weights(mode: str, length: int, padded: int) -> np.ndarray:
    weights, at = np.zeros(padded), np.arange(length)
    if mode == "cls":
        weights[0] = 1
    elif mode == "lasttoken":
        weights[length - 1] = 1
    elif mode == "weightedmean":
        weights[:length] = (at + 1) / (at + 1).sum()
    else:
        weights[:length] = 1 / (length if mode == "mean" else length**0.5)
    return weights


def feeds(
    model: onnx.ModelProto,
    tensors: Mapping[str, np.ndarray],
    rows: Sequence[Sequence[int]],
    modes: Sequence[str],
) -> dict[str, np.ndarray]:
    """The inputs that the graph asks for; rows beyond those given are empty."""
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in model.graph.input}
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    values = {name: np.zeros(shape) for name, shape in shapes.items()}
    for name in ("mask_bias", "pool_bias"):
        if name in values:
            values[name][:] = HIDDEN
    for index, ids in enumerate(rows):
        length = len(ids)
        values["inputs_embeds"][index, :length] = embedded(tensors, ids)
        if "mask_bias" in values:
            values["mask_bias"][index, 0, 0, :length] = 0
        if "pool_bias" in values:
            values["pool_bias"][index, :length] = 0
        for slot, mode in enumerate(mode for mode in modes if mode != "max"):
            values["pool_weights"][index, slot] = pool_weights(mode, length, shapes["pool_weights"][2])
    return {name: array.astype(onnx.helper.tensor_dtype_to_np_dtype(kinds[name])) for name, array in values.items()}


def unoptimised(path: str | Path) -> onnxruntime.InferenceSession:
    """Stock ONNX Runtime's CPU provider on the graph as it is written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    rows: Sequence[Sequence[int]],
    modes: Sequence[str],
) -> np.ndarray:
    """Pooled vectors of the rows, (rows, P·H), not normalised; as many runs as the graph's batch asks for."""
    model = onnx.load(path, load_external_data=False)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    session, pooled = unoptimised(path), []
    for start in range(0, len(rows), batch):
        chunk = rows[start : start + batch]
        (output,) = session.run(["pooled"], feeds(model, tensors, chunk, modes))
        pooled.append(output[: len(chunk)].reshape(len(chunk), -1).astype(np.float32))
    return np.concatenate(pooled)


def broken_rules(path: str | Path) -> list[str]:
    """What of the graph the provider would not take whole; empty where it takes all."""
    model = onnx.load(path, load_external_data=False)
    graph, broken = model.graph, []
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    constants = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    shapes = dict(constants)
    for value in [*inferred.input, *inferred.output, *inferred.value_info]:
        dims = value.type.tensor_type.shape.dim
        if not all(dim.HasField("dim_value") and dim.dim_value > 0 for dim in dims):
            broken.append(f"{value.name}: dimensions {[dim.dim_param or dim.dim_value for dim in dims]}")
        if value.type.tensor_type.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            broken.append(f"{value.name}: element type {value.type.tensor_type.elem_type}")
        shapes[value.name] = [dim.dim_value for dim in dims]
    broken += [f"initializer {name}: {dims}" for name, dims in constants.items() if max(dims, default=1) > 16_384]
    for node in graph.node:
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        where = f"{node.op_type} {node.name}"
        if node.domain or node.op_type not in TAKEN:
            broken.append(f"{where}: not taken")
        for name in [*node.input, *node.output]:
            if name not in shapes:
                broken.append(f"{where}: no shape of {name}")
            elif not 1 <= len(shapes[name]) <= 4:
                broken.append(f"{where}: rank {len(shapes[name])} of {name}")
        if node.op_type == "Gemm" and (attributes != {"transB": 1} or len(shapes[node.input[0]]) != 2):
            broken.append(f"{where}: {attributes}")
        if node.op_type == "LayerNormalization" and (attributes.get("axis") != -1 or len(node.output) != 1):
            broken.append(f"{where}: {attributes}")
        wants_constants = node.op_type in ("Reshape", "Split") or node.op_type.startswith("Reduce")
        if wants_constants and not all(name in constants for name in node.input[1:]):
            broken.append(f"{where}: an argument that is no constant")
        if node.op_type in ("Split", "Concat") and len([*node.output, *node.input]) < 3:
            broken.append(f"{where}: too few values")
    return broken
