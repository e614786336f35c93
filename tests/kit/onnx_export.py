"""ONNX exports of the tests' tiny checkpoints, as `torch.onnx` would write them, without `onnx`.

`write_decoder_export` writes a Qwen3 the way onnx-community publishes it: key/value caches in and
out, `last_hidden_state`, weights inside or in `NAME.onnx_data` beside it. `write_encoder_export`
writes a BERT. Both go over the tensors one by one, so true-size models pass through in little
memory. Standard operators of opset 17. `golden/check_onnx_export.py` runs them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kit.onnx_protobuf import GraphWriter

TOKENS = ("batch_size", "sequence_length")
MASKED = np.float32(np.finfo(np.float32).min)


class _Layers(GraphWriter):
    """Operators in the shapes that exports give them; `dtype` is that of weights and states."""

    def __init__(self, path: Path, tensors: Mapping[str, np.ndarray], prefix: str, dtype: str, external: bool) -> None:
        super().__init__(path, external)
        self.tensors, self.prefix, self.dtype = tensors, prefix, dtype

    def weight(self, name: str, transposed: bool = False) -> str:
        values = self.tensors[self.prefix + name]
        return self.constant(name, values.T if transposed else values, self.dtype)

    def has(self, name: str) -> bool:
        return self.prefix + name in self.tensors

    def scalar(self, value: float, dtype: str | None = None) -> str:
        return self.constant("scalar", np.asarray(value), dtype or self.dtype)

    def ints(self, *values: int) -> str:
        return self.constant("ints", np.asarray(values), "int64")

    def linear(self, name: str, x: str) -> str:
        product = self.node("MatMul", x, self.weight(f"{name}.weight", transposed=True))
        return self.node("Add", self.weight(f"{name}.bias"), product) if self.has(f"{name}.bias") else product

    def heads(self, x: str, count: int) -> str:
        return self.node("Reshape", x, self.ints(0, 0, count, -1))

    def rms_norm(self, name: str, x: str, epsilon: float) -> str:
        wide = self.cast(x, "float32") if self.dtype != "float32" else x
        variance = self.node("ReduceMean", self.node("Pow", wide, self.scalar(2, "float32")), axes=[-1], keepdims=1)
        deviation = self.node("Sqrt", self.node("Add", variance, self.scalar(epsilon, "float32")))
        normed = self.node("Div", wide, deviation)
        return self.node("Mul", self.cast(normed, self.dtype) if wide != x else normed, self.weight(f"{name}.weight"))

    def softmax(self, scores: str, bias: str) -> str:
        # In float32 throughout: float16 has no number low enough to add to a score.
        wide = self.cast(scores, "float32") if self.dtype != "float32" else scores
        weights = self.node("Softmax", self.node("Add", wide, bias), axis=-1)
        return self.cast(weights, self.dtype) if wide != scores else weights

    def size(self, x: str, axis: int) -> str:
        """One axis of a shape, as a scalar."""
        return self.node("Gather", self.node("Shape", x), self.constant("axis", np.asarray(axis), "int64"), axis=0)

    def range(self, start: str, end: str) -> str:
        return self.node("Range", start, end, self.scalar(1, "int64"))

    def unsqueeze(self, x: str, *axes: int) -> str:
        return self.node("Unsqueeze", x, self.ints(*axes))

    def bias(self, allowed: str) -> str:
        return self.node("Where", allowed, self.scalar(0, "float32"), self.scalar(MASKED, "float32"))

    def plus_unknown(self, x: str, name: str) -> str:
        """Adds an input of its own to the states, so that leaving it out is not an option."""
        added = self.cast(self.input(name, "int64", TOKENS), self.dtype)
        return self.node("Add", x, self.unsqueeze(added, -1))

    def sentence_embedding(self, weights: str, hidden: str, normalize: bool, size: int) -> None:
        """An output (B, H): the states summed under weights (B, L) that add up to one."""
        pooled = self.node("Squeeze", self.node("MatMul", self.unsqueeze(weights, 1), hidden), self.ints(1))
        if normalize:
            pooled = self.node("Div", pooled, self.node("ReduceL2", pooled, axes=[-1], keepdims=1))
        self.output(pooled, "sentence_embedding", self.dtype, ("batch_size", size))


def write_decoder_export(
    path: str | Path,
    checkpoint: Any,
    *,
    dtype: str = "float32",
    external_data: bool = False,
    caches: bool = True,
    position_ids: bool = True,
    sentence_embedding: bool = False,
    extra_input: str | None = None,
) -> None:
    """Writes a Qwen3 from anything with a checkpoint's `config`, `tensors` and `normalize`.

    `dtype` ("float32", "float16") is that of weights, caches and outputs. `sentence_embedding` adds
    that output, of the last token under the mask; `extra_input` an int64 input (B, L) by that name.
    Without `position_ids` the graph counts positions from the caches' length.
    """
    config = checkpoint.config
    hidden_size, layers, head_dim = (config[key] for key in ("hidden_size", "num_hidden_layers", "head_dim"))
    heads, key_value_heads = config["num_attention_heads"], config["num_key_value_heads"]
    epsilon, theta = config["rms_norm_eps"], (config.get("rope_parameters") or config)["rope_theta"]
    prefix = "model." if "model.norm.weight" in checkpoint.tensors else ""
    graph = _Layers(Path(path), checkpoint.tensors, prefix, dtype, external_data)
    node = graph.node

    token_ids = graph.input("input_ids", "int64", TOKENS)
    mask_axes = ("batch_size", "total_sequence_length") if caches else TOKENS
    mask = graph.input("attention_mask", "int64", mask_axes)
    total, length = graph.size(mask, 1), graph.size(token_ids, 1)
    queries = graph.range(node("Sub", total, length), total)
    positions = graph.input("position_ids", "int64", TOKENS) if position_ids else graph.unsqueeze(queries, 0)
    keys = graph.range(graph.scalar(0, "int64"), total)
    causal = node("LessOrEqual", keys, graph.unsqueeze(queries, 1))
    allowed = node("And", causal, graph.unsqueeze(graph.cast(mask, "bool"), 1, 2))
    bias = graph.bias(allowed)  # (B, 1, L, T)

    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    powers = (np.float64(theta) ** exponents.astype(np.float64)).astype(np.float32)
    frequencies = graph.constant("inv_freq", np.float32(1.0) / powers, "float32")
    half = node("Mul", graph.unsqueeze(graph.cast(positions, "float32"), -1), frequencies)
    angles = node("Concat", half, half, axis=-1)
    cosine, sine = (graph.cast(graph.unsqueeze(node(name, angles), 1), dtype) for name in ("Cos", "Sin"))

    def rotated(layer: str, kind: str, x: str, count: int) -> str:
        projected = graph.heads(graph.linear(f"{layer}.self_attn.{kind}_proj", x), count)
        normed = graph.rms_norm(f"{layer}.self_attn.{kind}_norm", projected, epsilon)
        states = node("Transpose", normed, perm=[0, 2, 1, 3])
        first, second = graph.nodes_out("Split", states, outputs=2, axis=-1)
        turned = node("Concat", node("Neg", second), first, axis=-1)
        return node("Add", node("Mul", states, cosine), node("Mul", turned, sine))

    def with_cache(index: int, kind: str, states: str) -> str:
        if not caches:
            return states
        name = f"past_key_values.{index}.{kind}"
        past = graph.input(name, dtype, ("batch_size", key_value_heads, "past_sequence_length", head_dim))
        present = node("Concat", past, states, axis=2)
        shape = ("batch_size", key_value_heads, "total_sequence_length", head_dim)
        return graph.output(present, f"present.{index}.{kind}", dtype, shape)

    def expanded(states: str) -> str:
        groups = heads // key_value_heads
        if groups == 1:
            return states
        repeated = node("Expand", graph.unsqueeze(states, 2), graph.ints(1, 1, groups, 1, 1))
        return node("Reshape", repeated, graph.ints(0, heads, -1, head_dim))

    x = node("Gather", graph.weight("embed_tokens.weight"), token_ids)
    if extra_input is not None:
        x = graph.plus_unknown(x, extra_input)
    for index in range(layers):
        layer = f"layers.{index}"
        normed = graph.rms_norm(f"{layer}.input_layernorm", x, epsilon)
        query, key = rotated(layer, "q", normed, heads), rotated(layer, "k", normed, key_value_heads)
        values = graph.heads(graph.linear(f"{layer}.self_attn.v_proj", normed), key_value_heads)
        key = expanded(with_cache(index, "key", key))
        value = expanded(with_cache(index, "value", node("Transpose", values, perm=[0, 2, 1, 3])))
        products = node("MatMul", query, node("Transpose", key, perm=[0, 1, 3, 2]))
        scores = node("Mul", products, graph.scalar(head_dim**-0.5))
        context = node("Transpose", node("MatMul", graph.softmax(scores, bias), value), perm=[0, 2, 1, 3])
        flat = node("Reshape", context, graph.ints(0, 0, heads * head_dim))
        x = node("Add", x, graph.linear(f"{layer}.self_attn.o_proj", flat))
        normed = graph.rms_norm(f"{layer}.post_attention_layernorm", x, epsilon)
        gate = graph.linear(f"{layer}.mlp.gate_proj", normed)
        gated = node("Mul", node("Mul", gate, node("Sigmoid", gate)), graph.linear(f"{layer}.mlp.up_proj", normed))
        x = node("Add", x, graph.linear(f"{layer}.mlp.down_proj", gated))
    hidden = graph.rms_norm("norm", x, epsilon)
    graph.output(hidden, "last_hidden_state", dtype, (*TOKENS, hidden_size), first=True)
    if sentence_embedding:
        seen = node("Mul", mask, node("Add", keys, graph.scalar(1, "int64")))
        last = node("ArgMax", seen, axis=1, keepdims=1)
        graph.sentence_embedding(
            graph.cast(node("Equal", last, queries), dtype), "last_hidden_state", checkpoint.normalize, hidden_size
        )
    graph.save()


def write_encoder_export(
    path: str | Path,
    checkpoint: Any,
    *,
    dtype: str = "float32",
    external_data: bool = False,
    token_type_ids: bool = True,
    attention_mask: bool = True,
    position_ids: bool = False,
    first_position: int = 0,
    sentence_embedding: bool = False,
    extra_input: str | None = None,
) -> None:
    """Writes a BERT with erf GELU from what `write_bert` returns; `last_hidden_state` is (B, L, H).

    `sentence_embedding` adds that output, the mean under the mask, normalized where the checkpoint
    says so. Without `token_type_ids` every token is of the first type, without `attention_mask` none
    is padding. Without `position_ids` the graph counts positions from `first_position`.
    """
    config = checkpoint.config
    hidden_size, head_count = config["hidden_size"], config["num_attention_heads"]
    prefix = "bert." if "bert.embeddings.LayerNorm.weight" in checkpoint.tensors else ""
    graph = _Layers(Path(path), checkpoint.tensors, prefix, dtype, external_data)
    node = graph.node

    def layer_norm(name: str, x: str) -> str:
        scale, shift = (graph.weight(f"{name}.{part}") for part in ("weight", "bias"))
        return node("LayerNormalization", x, scale, shift, axis=-1, epsilon=float(config["layer_norm_eps"]))

    def table(kind: str, indices: str) -> str:
        return node("Gather", graph.weight(f"embeddings.{kind}_embeddings.weight"), indices)

    token_ids = graph.input("input_ids", "int64", TOKENS)
    if attention_mask:
        mask = graph.input("attention_mask", "int64", TOKENS)
    else:
        mask = graph.cast(node("Equal", token_ids, token_ids), "int64")
    types = graph.input("token_type_ids", "int64", TOKENS) if token_type_ids else graph.scalar(0, "int64")
    if position_ids:
        positions = graph.input("position_ids", "int64", TOKENS)
    else:
        first = graph.scalar(first_position, "int64")
        positions = graph.range(first, node("Add", graph.size(token_ids, 1), first))
    x = node("Add", node("Add", table("word", token_ids), table("token_type", types)), table("position", positions))
    if extra_input is not None:
        x = graph.plus_unknown(x, extra_input)
    x = layer_norm("embeddings.LayerNorm", x)
    bias = graph.bias(graph.unsqueeze(graph.cast(mask, "bool"), 1, 2))  # (B, 1, 1, L)
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        projected = (graph.linear(f"{layer}.attention.self.{name}", x) for name in ("query", "key", "value"))
        query, key, value = (graph.heads(states, head_count) for states in projected)
        query, value = (node("Transpose", states, perm=[0, 2, 1, 3]) for states in (query, value))
        products = node("MatMul", query, node("Transpose", key, perm=[0, 2, 3, 1]))
        scores = node("Div", products, graph.scalar((hidden_size // head_count) ** 0.5))
        context = node("Transpose", node("MatMul", graph.softmax(scores, bias), value), perm=[0, 2, 1, 3])
        flat = node("Reshape", context, graph.ints(0, 0, hidden_size))
        x = node("Add", graph.linear(f"{layer}.attention.output.dense", flat), x)
        x = layer_norm(f"{layer}.attention.output.LayerNorm", x)
        inner = graph.linear(f"{layer}.intermediate.dense", x)
        erf = node("Erf", node("Div", inner, graph.scalar(2**0.5)))
        gelu = node("Mul", node("Mul", inner, node("Add", erf, graph.scalar(1))), graph.scalar(0.5))
        x = layer_norm(f"{layer}.output.LayerNorm", node("Add", graph.linear(f"{layer}.output.dense", gelu), x))
    graph.output(x, "last_hidden_state", dtype, (*TOKENS, hidden_size))
    if sentence_embedding:
        ones = graph.cast(mask, dtype)
        weights = node("Div", ones, node("ReduceSum", ones, graph.ints(1), keepdims=1))
        graph.sentence_embedding(weights, "last_hidden_state", checkpoint.normalize, hidden_size)
    graph.save()
