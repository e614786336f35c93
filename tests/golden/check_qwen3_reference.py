"""Proves `qwen3_reference.py` and `qwen3_checkpoints.py` against transformers' Qwen3Model.

Runs where torch and sentence-transformers 6.2 are installed:

    python tests/golden/check_qwen3_reference.py

Writes tiny checkpoints of each kind, loads them with `SentenceTransformer(folder)` in float32 on
the CPU, and compares token ids, hidden states under padding on either side, and vectors with the
NumPy reference; then asks of the reference that each tensor of a checkpoint moves its result.
Prints the largest difference per case, that of hidden states relative to the largest of them, and
fails on the first over the tolerance.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kit import qwen3_checkpoints as checkpoints
from kit import qwen3_reference as reference
from kit.checkpoints import MODULE_TYPES_6

TOLERANCE = 1e-5
TEXTS = [
    "What is the capital of France?",
    "cat",
    "",
    "  the cats  and\ta\u2003dog \n\n sat\x1f ",
    "Z\u00fcrich, Zu\u0308rich, \u5317\u4eac and <|endoftext|> inside <|im_end|>x",
    "cook pasta in the river " * 9,
    "the capital",
]
PROMPTS = {"query": checkpoints.PUBLISHED_PROMPTS["query"], "spaced": "query: ", "none": ""}

CASES = {
    "4 heads, 2 for keys and values": {},
    "4 and 4": {"key_value_heads": 4},
    "4 and 1": {"key_value_heads": 1},
    "8 and 2": {"heads": 8, "key_value_heads": 2},
    "head size over hidden / heads": {"head_dim": 16},
    "head size under hidden / heads": {"hidden": 48, "head_dim": 6},
    "head size absent, so 128": {"head_dim": 128, "heads": 2, "layers": 1, "config_without": ("head_dim",)},
    "attention bias": {"attention_bias": True},
    "rope_parameters": {"rope_parameters_form": True, "rope_theta": 5e5},
    "rope_theta 100": {"rope_theta": 100.0},
    "no rope_theta, so 10000": {"rope_theta": 10_000.0, "config_without": ("rope_theta", "rope_scaling")},
    "rope_scaling default": {"config_overrides": {"rope_scaling": {"type": "default", "rope_theta": 300.0}}},
    "epsilon 1e-2": {"config_overrides": {"rms_norm_eps": 1e-2}},
    "window said but not used": {"config_overrides": {"sliding_window": 2, "max_window_layers": 0}},
    "prefix model.": {"prefix": "model."},
    "prefix model. and lm_head": {"prefix": "model.", "lm_head": True},
    "2 shards": {"shards": 2},
    "3 shards, prefix": {"shards": 3, "prefix": "model.", "layers": 3},
    "float32": {"dtype": "float32"},
    "float16": {"dtype": "float16"},
    "padding on the right": {"padding_side": "right"},
    "not normalized": {"normalize": False},
    "mean": {"pooling": "mean"},
    "cut at 16": {"max_positions": 16},
    "prompts": {"prompts": PROMPTS},
    "6.x modules": {"module_types": MODULE_TYPES_6, "pooling_form": "mode"},
}


def write(folder: str, config_without: tuple[str, ...] = (), **arguments) -> checkpoints.Qwen3Checkpoint:
    checkpoint = checkpoints.write_qwen3(folder, **arguments)
    for name in config_without:
        del checkpoint.config[name]
    checkpoints.write_json(checkpoint.folder / "config.json", checkpoint.config)
    return checkpoint


def compare(name: str, arguments: dict) -> float:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write(folder, **arguments)
        model = SentenceTransformer(folder, device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32})
        tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    transformer = model[0].auto_model
    assert type(transformer).__name__ == "Qwen3Model", name
    assert model.max_seq_length == checkpoint.max_tokens, name
    assert model.tokenizer.padding_side == arguments.get("padding_side", "left"), name
    tokenizer.enable_truncation(checkpoint.max_tokens)
    differences = []
    for prompt_name in [None, *checkpoint.prompts]:
        prompt = checkpoint.prompts.get(prompt_name, "")
        texts = [prompt + text for text in TEXTS]
        rows = [checkpoint.tokenize(text) for text in texts]
        assert rows == [encoding.ids for encoding in tokenizer.encode_batch(texts)], name
        for row, text in zip(rows, texts, strict=True):
            assert row == model.preprocess([text])["input_ids"][0].tolist(), (name, text)

        features = model.preprocess(texts)
        ids, mask = features["input_ids"], features["attention_mask"]
        with torch.inference_mode():
            hidden = transformer(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()
        expected = reference.last_hidden_state(checkpoint.tensors, checkpoint.config, ids.numpy(), mask.numpy())
        # Not of length one as the vectors are, so measured against their own size.
        differences.append(np.abs(hidden - expected)[mask.numpy() == 1].max() / np.abs(expected).max())

        vectors = reference.embed(
            checkpoint.tensors, checkpoint.config, rows, checkpoint.normalize, pooling=checkpoint.pooling
        )
        for batch_size in (1, len(texts)):
            encoded = model.encode(TEXTS, prompt_name=prompt_name, batch_size=batch_size)
            assert encoded.shape == vectors.shape, name
            differences.append(np.abs(encoded - vectors).max())
        if prompt_name == "query":
            differences.append(np.abs(model.encode_query(TEXTS) - vectors).max())
    # np.max and not max: a NaN has to come out.
    largest = float(np.max(differences))
    print(f"{largest:.2e}  {name}")
    assert largest < TOLERANCE, name
    return largest


def smallest_response() -> float:
    """How little the vectors move, at the least, when one tensor is left out of the arithmetic."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = checkpoints.write_qwen3(folder, attention_bias=True)
    rows = [checkpoint.tokenize(text) for text in TEXTS]
    before = reference.embed(checkpoint.tensors, checkpoint.config, rows)
    responses = {}
    for name, values in checkpoint.tensors.items():
        neutral = np.ones_like(values) if name.endswith("norm.weight") else np.zeros_like(values)
        without = {**checkpoint.tensors, name: neutral}
        responses[name] = np.abs(reference.embed(without, checkpoint.config, rows) - before).max()
    name = min(responses, key=responses.__getitem__)
    print(f"{responses[name]:.2e}  least response, of {name}")
    assert responses[name] > 100 * TOLERANCE, name
    return responses[name]


def main() -> None:
    torch.set_num_threads(1)
    worst = max(compare(name, arguments) for name, arguments in CASES.items())
    smallest_response()
    print(f"{worst:.2e}  largest difference over {len(CASES)} cases")


if __name__ == "__main__":
    main()
