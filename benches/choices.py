"""What was measured before choices in the engine were made; comments in the sources and CONTRIBUTING.md quote it.

    python benches/choices.py norm | runs | profile | int8 | loading EXPORT.onnx    (needs onnx: requirements/test.txt)

norm     LayerNorm(x + bias + residual) for 1,024 tokens of 384, in one node and in three;
runs     MiniLM's time a token by the tokens of a run, on one thread, on two, and in two runs side by side;
profile  where MiniLM's time goes in a run of 1,024 tokens, by operator, and its products' rate;
int8     MiniLM with weights and activations in 8-bit steps: how large blocks may be, and what rotating them brings;
loading  a float32 export of Qwen3 (benches/make_qwen3.py --export), its weights packed or not: to open, and to run.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from turns import compare, seconds

from ironvec import Embedder

MICROSOFT = "com.microsoft"


def session(model: onnx.ModelProto | str, threads: int = 2, **entries: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_mem_pattern, options.log_severity_level = threads, False, 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # As the engine has it; else the threads of one session still spin while another is timed.
    for name, value in {"force_spinning_stop": "1", **entries}.items():
        options.add_session_config_entry(f"session.{name}", value)
    source = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def minilm() -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        Embedder("minilm").export(Path(folder) / "minilm.onnx")
        return onnx.load(Path(folder) / "minilm.onnx")


def feeds(ids: np.ndarray) -> dict[str, np.ndarray]:
    rows, length = ids.shape
    weights = np.full((rows, 1, length), 1 / length, np.float32)
    return {"input_ids": ids.astype(np.int32), "attention_mask": np.ones((rows, length), np.int32),
            "pool_weights": weights}  # fmt: skip


def norm() -> None:
    def graph(nodes: list[onnx.NodeProto]) -> onnxruntime.InferenceSession:
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["M", 384]) for name in ("x", "r", "y")]
        weights = [numpy_helper.from_array(np.ones(384, np.float32), name) for name in ("gamma", "beta", "bias")]
        made = helper.make_graph(nodes, "norm", values[:2], values[2:], weights)
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)]
        return session(helper.make_model(made, opset_imports=opsets, ir_version=9))

    one = graph(
        [helper.make_node("SkipLayerNormalization", ["x", "r", "gamma", "beta", "bias"], ["y"], domain=MICROSOFT)]
    )
    three = graph([
        helper.make_node("Add", ["x", "bias"], ["biased"]), helper.make_node("Add", ["biased", "r"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "gamma", "beta"], ["y"]),
    ])  # fmt: skip
    states = np.random.default_rng(0).standard_normal((2, 1024, 384), dtype=np.float32)
    inputs = {"x": states[0], "r": states[1]}
    ours, theirs, ratio = compare(lambda: three.run(None, inputs), lambda: one.run(None, inputs), 101)
    print(f"three nodes {ours * 1e3:.2f} ms, SkipLayerNormalization {theirs * 1e3:.2f} ms, ratio {ratio:.2f}")


def runs() -> None:
    model, random = minilm(), np.random.default_rng(0)
    opened = {threads: session(model, threads) for threads in (2, 1)}
    cases = [(threads, tokens) for threads in opened for tokens in (32, 64, 256, 512, 1024, 2048)]
    times: dict[tuple[int, int], list[float]] = {}
    for _ in range(9):
        for threads, tokens in cases:
            inputs = feeds(random.integers(1000, 20000, (tokens // 32, 32)))
            taken = seconds(lambda one=opened[threads], inputs=inputs: one.run(None, inputs))
            times.setdefault((threads, tokens), []).append(taken / tokens)
    for (threads, tokens), taken in times.items():
        print(f"{threads} threads, {tokens:4} tokens a run: {statistics.median(taken) * 1e6:.0f} us a token")

    other, inputs = session(model, 1), feeds(random.integers(1000, 20000, (32, 32)))

    def side_by_side() -> None:
        list(pool.map(lambda one: [one.run(None, inputs) for _ in range(4)], (opened[1], other)))

    with ThreadPoolExecutor(2) as pool:
        _, _, ratio = compare(side_by_side, lambda: [opened[2].run(None, inputs) for _ in range(8)], 9)
    print(f"1,024 tokens twice on one thread each, against two threads one after the other: {ratio:.2f} of the time")


def profile() -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_mem_pattern, options.enable_profiling = 2, False, True
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        opened = onnxruntime.InferenceSession(minilm().SerializeToString(), options, ["CPUExecutionProvider"])
        inputs = feeds(np.random.default_rng(0).integers(1000, 20000, (32, 32)))
        for _ in range(30):
            opened.run(None, inputs)
        events = json.loads(Path(opened.end_profiling()).read_text(encoding="utf-8"))
    taken: dict[str, float] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            operator = event["args"]["op_name"]
            taken[operator] = taken.get(operator, 0) + event["dur"] / 30
    for operator, microseconds in sorted(taken.items(), key=lambda item: -item[1]):
        print(f"{operator:24} {microseconds / 1e3:7.2f} ms {microseconds / sum(taken.values()):6.1%}")
    # Of each layer's weights, 12 H² numbers, the three projections (3 H²) are in Attention.
    flops = 2 * 1024 * 6 * (12 - 3) * 384**2
    print(f"products outside Attention: {flops / taken['FusedMatMul'] / 1e3:.0f} GFLOP/s")


def quantized(model: onnx.ModelProto, block: int, rotates: bool) -> onnx.ModelProto:
    """The graph whose products see weights and activations rounded as `src/kernels/quantized/` does, in float32."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph, nodes, done = model.graph, [], set()
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rotation = np.ones((1, 1), np.float32)
    while rotates and len(rotation) < block:
        rotation = np.block([[rotation, rotation], [rotation, -rotation]])
    rotation = rotation / np.float32(np.sqrt(block)) if rotates else np.eye(block, dtype=np.float32)

    def constant(name: str, value: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    blocks, whole = constant("blocks", np.array([0, 0, -1, block])), constant("whole", np.array([0, 0, -1]))
    turn, steps, axis = constant("turn", rotation), constant("steps", np.float32(127)), constant("axis", np.array([-1]))
    least = constant("least", np.float32(1e-30))

    def rounded(values: np.ndarray) -> np.ndarray:
        turned = values.reshape(-1, block) @ rotation
        sizes = np.maximum(np.abs(turned).max(axis=1, keepdims=True) / np.float32(127), np.float32(1e-30))
        return (np.round(turned / sizes) * sizes @ rotation).reshape(values.shape)

    def linear(x: str, weight: str, output: str) -> None:
        values = constant(f"{weight}.rounded", rounded(weights[weight]))
        if x not in done:
            done.add(x)
            for operator, inputs, made, keywords in (
                ("Reshape", [x, blocks], "blocks", {}), ("MatMul", [f"{x}.blocks", turn], "turned", {}),
                ("Abs", [f"{x}.turned"], "abs", {}), ("ReduceMax", [f"{x}.abs", axis], "peaks", {"keepdims": 1}),
                ("Div", [f"{x}.peaks", steps], "sizes", {}), ("Max", [f"{x}.sizes", least], "divisors", {}),
                ("Div", [f"{x}.turned", f"{x}.divisors"], "divided", {}), ("Round", [f"{x}.divided"], "steps", {}),
                ("Mul", [f"{x}.steps", f"{x}.divisors"], "near", {}), ("MatMul", [f"{x}.near", turn], "back", {}),
                ("Reshape", [f"{x}.back", whole], "rounded", {}),
            ):  # fmt: skip
                nodes.append(helper.make_node(operator, inputs, [f"{x}.{made}"], **keywords))
        inputs = [f"{x}.rounded", values]
        nodes.append(helper.make_node("FusedMatMul", inputs, [output], domain=MICROSOFT, transB=1))

    made_by = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type == "FusedMatMul":
            linear(node.input[0], node.input[1], node.output[0])
        elif node.op_type == "Attention":
            # Its weights are those of queries, keys and values, put together and transposed by nodes of their own.
            together = made_by[made_by[node.input[1]].input[0]]
            for weight in together.input:
                linear(node.input[0], weight, f"{weight}.product")
            inputs = [*(f"{weight}.product" for weight in together.input), node.input[2], node.input[3]]
            nodes.append(helper.make_node("MultiHeadAttention", inputs, node.output, domain=MICROSOFT, num_heads=12))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def int8() -> None:
    import docstrings

    embedder, model = Embedder("minilm"), minilm()
    texts = docstrings.choose(Embedder("minilm", max_length=512).count_tokens).mixed
    rows = [np.array([row]) for row in embedder.tokenize(texts)]

    def vectors(one: onnxruntime.InferenceSession) -> np.ndarray:
        pooled = np.concatenate([one.run(None, feeds(row))[0][0] for row in rows])
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    expected = vectors(session(model))
    for block in (32, 64, 128):
        for rotates in (True, False):
            cosines = (vectors(session(quantized(model, block, rotates))) * expected).sum(axis=1)
            name = f"blocks of {block}, {'rotated' if rotates else 'as they are'}"
            print(f"{name}: cosine {cosines.mean():.5f}, lowest {cosines.min():.5f}", flush=True)


def loading(path: str) -> None:
    for disabled in ("0", "1"):
        start = time.perf_counter()
        opened = session(path, disable_prepacking=disabled)
        opening = time.perf_counter() - start
        run = twelve_tokens(opened)
        taken = statistics.median(seconds(run) for _ in range(9))
        packed = "not packed" if disabled == "1" else "packed"
        print(f"weights {packed}: opened in {opening:.2f} s, 12 tokens in {taken * 1e3:.0f} ms", flush=True)


def twelve_tokens(opened: onnxruntime.InferenceSession) -> Callable[[], object]:
    """A run of one row without a past."""
    inputs: dict[str, np.ndarray] = {}
    for value in opened.get_inputs():
        is_past = len(value.shape) == 4  # (batch, heads, past, head size)
        shape = (1, value.shape[1], 0, value.shape[3]) if is_past else (1, 12)
        inputs[value.name] = np.ones(shape, np.float32 if is_past else np.int64)
    output = [opened.get_outputs()[0].name]
    return lambda: opened.run(output, inputs)


def main() -> None:
    parts: Mapping[str, Callable[..., None]] = {
        "norm": norm, "runs": runs, "profile": profile, "int8": int8, "loading": loading,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=parts)
    parser.add_argument("path", nargs="?")
    options = parser.parse_args()
    if options.part == "loading" and options.path is None:
        sys.exit("loading needs the path of an export")
    parts[options.part](*filter(None, [options.path]))


if __name__ == "__main__":
    main()
