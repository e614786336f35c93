"""The shape of the export that the first validation ran: a Qwen3 of 28 layers of com.microsoft's fused operators, 57
inputs and 57 outputs, a table of 151,669 rows. Its weights are holes in the data file: to be looked at, not run."""

from pathlib import Path

from kit.onnx_protobuf import GraphWriter

LAYERS, VOCABULARY, HIDDEN, HEADS, KEY_VALUE_HEADS, HEAD_SIZE, WIDE = 28, 151_669, 1024, 16, 8, 128, 3072
CONTRIB = {"domain": "com.microsoft"}


def write_published_export(path: Path) -> None:
    """Writes `path`, and the 2.4 GB that it needs, of which none is on disk, beside it."""
    graph = GraphWriter(path, external_data=True)
    count = 0

    def weight(*shape: int) -> str:
        nonlocal count
        count += 1
        return graph.hollow(f"weight_{count}", shape, "float32")

    tokens = ("batch_size", "sequence_length")
    ids = graph.input("input_ids", "int64", tokens)
    lengths = graph.node("Cast", graph.node("ReduceSum", graph.cast(ids, "int64"), keepdims=0), to=6)
    total = graph.node("Cast", graph.node("Size", ids), to=6)
    cosine, sine = (weight(32_768, HEAD_SIZE // 2) for _ in range(2))
    states = graph.node("Gather", weight(VOCABULARY, HIDDEN), ids)
    normed = graph.node("SimplifiedLayerNormalization", states, weight(HIDDEN), axis=-1, epsilon=1e-6)
    sizes = {"query": HEADS * HEAD_SIZE, "key": KEY_VALUE_HEADS * HEAD_SIZE, "value": KEY_VALUE_HEADS * HEAD_SIZE}
    for layer in range(LAYERS):
        projected = [graph.node("MatMul", normed, weight(HIDDEN, size)) for size in sizes.values()]
        cache = ("batch_size", KEY_VALUE_HEADS, "past_sequence_length", HEAD_SIZE)
        past = [graph.input(f"past_key_values.{layer}.{kind}", "float32", cache) for kind in ("key", "value")]
        names = graph.nodes_out(
            "GroupQueryAttention", *projected, *past, lengths, total, cosine, sine, outputs=3, num_heads=HEADS,
            kv_num_heads=KEY_VALUE_HEADS, do_rotary=1, **CONTRIB,
        )  # fmt: skip
        for index, kind in enumerate(("key", "value")):
            graph.rename_output(names[1 + index], f"present.{layer}.{kind}", "float32", cache)
        attended = graph.node("MatMul", names[0], weight(HEADS * HEAD_SIZE, HIDDEN))
        normed, *_, states = graph.nodes_out(
            "SkipSimplifiedLayerNormalization", states, attended, weight(HIDDEN), outputs=4, epsilon=1e-6, **CONTRIB
        )
        gate, up = (graph.node("MatMul", normed, weight(HIDDEN, WIDE)) for _ in range(2))
        gated = graph.node("Mul", graph.node("Mul", gate, graph.node("Sigmoid", gate)), up)
        fed = graph.node("MatMul", gated, weight(WIDE, HIDDEN))
        normed, *_, states = graph.nodes_out(
            "SkipSimplifiedLayerNormalization", states, fed, weight(HIDDEN), outputs=4, epsilon=1e-6, **CONTRIB
        )
    last = graph.node("Identity", normed)
    graph.output(last, "last_hidden_state", "float32", (*tokens, HIDDEN), first=True)
    graph.save()
