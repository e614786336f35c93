"""Proves `onnx_export.py` with onnx's checker and with onnxruntime against the NumPy references.

Runs where onnx and onnxruntime are installed:

    python tests/golden/check_onnx_export.py

Each variant of decoder and encoder exports runs over rows padded on either side and over rows
alone; a decoder also over a prompt's caches and the rest of the row. Prints the largest difference
per case and fails on the first over the tolerance.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kit import bert_reference, qwen3_reference
from kit.checkpoints import write_bert
from kit.onnx_export import write_decoder_export, write_encoder_export
from kit.qwen3_checkpoints import write_qwen3

TOLERANCES = {"float32": 1e-5, "float16": 2e-3}
TEXTS = ["What is the capital of France?", "cat", "", "cook pasta in the river " * 5, "the dogs 12.5!"]

DECODERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as published": ({}, {}),
    "external data": ({"prefix": "model."}, {"external_data": True}),
    "float16": ({}, {"dtype": "float16"}),
    "float16, external data": ({"layers": 3}, {"dtype": "float16", "external_data": True}),
    "4 and 4 heads, bias": ({"key_value_heads": 4, "attention_bias": True}, {}),
    "8 and 2 heads of 6": ({"heads": 8, "head_dim": 6, "rope_parameters_form": True}, {}),
    "no caches": ({}, {"caches": False}),
    "no positions": ({}, {"position_ids": False}),
    "no caches, no positions": ({}, {"caches": False, "position_ids": False}),
    "sentence embedding": ({}, {"sentence_embedding": True}),
    "float16, sentence embedding": ({}, {"dtype": "float16", "sentence_embedding": True}),
    "unknown input": ({}, {"extra_input": "temperature_ids"}),
}
ENCODERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "encoder": ({}, {}),
    "encoder, no token types": ({"prefix": "bert."}, {"token_type_ids": False}),
    "encoder, external data": ({}, {"external_data": True}),
    "encoder, sentence embedding": ({}, {"sentence_embedding": True}),
    "encoder, float16": ({}, {"dtype": "float16"}),
    "encoder, unknown input": ({}, {"extra_input": "temperature_ids"}),
}


def padded(rows: list[list[int]], side: str) -> tuple[np.ndarray, np.ndarray]:
    length = max(map(len, rows))
    ids, mask = np.zeros((2, len(rows), length), dtype=np.int64)
    for index, row in enumerate(rows):
        place = slice(length - len(row), None) if side == "left" else slice(len(row))
        ids[index, place], mask[index, place] = row, 1
    return ids, mask


def run(
    session: onnxruntime.InferenceSession, ids: np.ndarray, mask: np.ndarray, given: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """All outputs; what `given` does not hold is fed as an empty cache, positions or zeros."""
    feeds = {"input_ids": ids, "attention_mask": mask, **given}
    for declared in session.get_inputs():
        if declared.name.startswith("past_key_values") and declared.name not in given:
            dtype = np.float16 if declared.type == "tensor(float16)" else np.float32
            feeds[declared.name] = np.zeros((len(ids), declared.shape[1], 0, declared.shape[3]), dtype=dtype)
        elif declared.name == "position_ids":
            feeds.setdefault("position_ids", np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -ids.shape[1] :])
        elif declared.name not in feeds:
            feeds[declared.name] = np.zeros_like(ids)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def cached(session: onnxruntime.InferenceSession, row: list[int]) -> np.ndarray:
    """The row's hidden states when its first tokens come as caches, made by the export itself."""
    ids = np.array([row])
    mask, split = np.ones_like(ids), len(row) // 2
    first = run(session, ids[:, :split], mask[:, :split], {})
    past = {name.replace("present", "past_key_values"): value for name, value in first.items() if "present" in name}
    rest = run(session, ids[:, split:], mask, past)
    return np.concatenate([first["last_hidden_state"], rest["last_hidden_state"]], axis=1)[0]


def compare(name: str, writer: Any, checkpoint_options: dict[str, Any], options: dict[str, Any]) -> float:
    decoder = writer is write_decoder_export
    reference = qwen3_reference if decoder else bert_reference
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = (write_qwen3 if decoder else write_bert)(folder, **checkpoint_options)
        path = Path(folder) / "onnx" / "model.onnx"
        writer(path, checkpoint, **options)
        assert path.with_name("model.onnx_data").exists() == options.get("external_data", False), name
        onnx.checker.check_model(str(path), full_check=True)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    if decoder and options.get("caches", True):
        expected_count = 1 + 2 * checkpoint.config["num_hidden_layers"] + ("sentence_embedding" in options)
        assert len(session.get_outputs()) == expected_count, name
    rows = [checkpoint.tokenize(text) for text in TEXTS]
    expected = [
        reference.last_hidden_state(checkpoint.tensors, checkpoint.config, [row], np.ones((1, len(row))))[0]
        for row in rows
    ]
    vectors = reference.embed(checkpoint.tensors, checkpoint.config, rows, normalize=True)
    largest_state = max(np.abs(states).max() for states in expected)
    differences = []

    def measure(found: np.ndarray, states: np.ndarray) -> None:
        assert found.dtype == options.get("dtype", "float32"), name
        differences.append(np.abs(found - states).max() / largest_state)

    for side in ("left", "right") if decoder else ("right",):
        ids, mask = padded(rows, side)
        outputs = run(session, ids, mask, {})
        for found, seen, states in zip(outputs["last_hidden_state"], mask == 1, expected, strict=True):
            measure(found[seen], states)
        if "sentence_embedding" in outputs:
            differences.append(np.abs(outputs["sentence_embedding"] - vectors).max())
    for row, states in zip(rows, expected, strict=True):
        ids = np.array([row])
        measure(run(session, ids, np.ones_like(ids), {})["last_hidden_state"][0], states)
        if decoder and options.get("caches", True) and len(row) > 1:
            measure(cached(session, row), states)
    largest = float(np.max(differences))
    print(f"{largest:.2e}  {name}")
    assert largest < TOLERANCES[options.get("dtype", "float32")], name
    return largest


def main() -> None:
    for writer, cases in ((write_decoder_export, DECODERS), (write_encoder_export, ENCODERS)):
        for name, options in cases.items():
            compare(name, writer, *options)


if __name__ == "__main__":
    main()
