"""Proves `bert_reference.py` and `checkpoints.py` against transformers and sentence-transformers.

Runs where torch and sentence-transformers 6.2 are installed:

    python tests/golden/check_reference.py

Writes tiny checkpoints of each kind, loads them with `SentenceTransformer(folder)` in float32 on
the CPU, and compares the token ids, hidden states and vectors with the NumPy reference; then asks
of the reference that each tensor of a checkpoint moves its result. Prints the largest difference
per case and fails on the first over the tolerance.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kit import bert_reference as reference
from kit import checkpoints

TOLERANCE = 1e-5
TEXTS = [
    "What is the capital of France?",
    "cat",
    "",
    "  the DOG sat\ton\x1fthe\u2003mat \u00a0 ",
    "Zürich, 北京 and [SEP] inside [MASK]x " + "b" * 101,
    "paris boil pasta " * 40,
    "cooking cats' cats cooked: 12.5!",
]

PROMPTS = {"query": "query: ", "glued": "search_query:", "long": "cook the pasta in water. " * 30, "none": ""}

# As all-MiniLM-L6-v2 ships it; sentence-transformers overrides both.
CUTS_AND_PADS = {
    "truncation": {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
    "padding": {
        "strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    },
}  # fmt: skip

CASES = {
    "mean, normalized": {},
    "not normalized": {"normalize": False},
    "float16": {"dtype": "float16"},
    "bfloat16": {"dtype": "bfloat16"},
    "prefix bert., no pooler, position_ids": {"prefix": "bert.", "pooler": False, "position_ids": True},
    "gamma and beta": {"legacy_layer_norm": True},
    "epsilon 1e-2": {"config_overrides": {"layer_norm_eps": 1e-2}},
    "3 layers of 48, 3 heads": {"layers": 3, "hidden": 48, "heads": 3, "intermediate": 80},
    "max_seq_length 16": {"max_seq_length": 16},
    "model_max_length 10": {"model_max_length": 10},
    "tokenizer.json that cuts and pads at 8": {"max_seq_length": 16, "tokenizer_overrides": CUTS_AND_PADS},
    "6.x modules": {"module_types": checkpoints.MODULE_TYPES_6, "pooling_form": "mode"},
    "5.4 modules": {"module_types": checkpoints.MODULE_TYPES_5_4, "pooling_form": "mode"},
    "all, boolean order": {"pooling": ("lasttoken", "mean", "max", "weightedmean", "cls", "mean_sqrt_len_tokens")},
    "four, listed order": {"pooling": ("lasttoken", "max", "cls", "mean"), "pooling_form": "mode"},
    **{f"activation {name}": {"activation": name} for name in reference.ACTIVATIONS},
    **{f"pooling {name}": {"pooling": name, "normalize": False} for name in reference.POOLINGS},
    **{
        f"prompt excluded, {name}": {
            "pooling": name, "normalize": False, "include_prompt": False, "prompts": PROMPTS, "max_seq_length": 24,
        }
        for name in reference.POOLINGS
    },
    "prompt included": {"prompts": PROMPTS},
}  # fmt: skip


def compare(name: str, arguments: dict) -> float:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = checkpoints.write_bert(folder, **arguments)
        # Without the dtype transformers 5 would compute in the checkpoint's float16.
        model = SentenceTransformer(folder, device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32})
        tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    assert model.max_seq_length == checkpoint.max_tokens, name
    tokenizer.no_padding()
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
            hidden = model[0].auto_model(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()
        expected = reference.last_hidden_state(checkpoint.tensors, checkpoint.config, ids.numpy(), mask.numpy())
        differences.append(np.abs(hidden - expected).max())

        excluded = 0
        if prompt and not checkpoint.include_prompt:
            excluded = reference.prompt_token_count(checkpoint.tokenize(prompt), checkpoint.special_ids)
        vectors = reference.embed(
            checkpoint.tensors, checkpoint.config, rows,
            pooling=checkpoint.pooling, normalize=checkpoint.normalize, excluded_tokens=excluded,
        )  # fmt: skip
        for batch_size in (1, len(texts)):
            encoded = model.encode(TEXTS, prompt_name=prompt_name, batch_size=batch_size)
            assert encoded.shape == vectors.shape, name
            differences.append(np.abs(encoded - vectors).max())
    # np.max and not max: a NaN has to come out.
    largest = float(np.max(differences))
    print(f"{largest:.2e}  {name}")
    assert largest < TOLERANCE, name
    return largest


def pooling_of_every_prompt_length() -> float:
    """Down to no token left, which a tokenizer that ends rows with [SEP] never reaches."""
    length, hidden_size = 7, 12
    hidden = np.random.default_rng(2).standard_normal((length, hidden_size)).astype(np.float32)
    differences = []
    for mode in reference.POOLINGS:
        module = Pooling(hidden_size, mode, include_prompt=False)
        for excluded in range(length + 1):
            features = {
                "token_embeddings": torch.from_numpy(hidden)[None],
                "attention_mask": torch.ones(1, length, dtype=torch.int64),
                "prompt_length": excluded,
            }
            pooled = module(features)["sentence_embedding"][0].numpy()
            expected = reference.pool(hidden, mode, excluded)
            if np.isinf(expected).any():
                assert (mode, excluded) == ("max", length)
                assert np.array_equal(pooled, expected)
            else:
                differences.append(np.abs(pooled - expected).max())
    largest = float(np.max(differences))
    print(f"{largest:.2e}  every prompt length, every pooling")
    assert largest < TOLERANCE
    return largest


def smallest_response() -> float:
    """How little the vectors move, at the least, when one tensor is left out of the arithmetic."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = checkpoints.write_bert(folder)
    rows = [checkpoint.tokenize(text) for text in TEXTS]
    before = reference.embed(checkpoint.tensors, checkpoint.config, rows)
    responses = {}
    for name, values in checkpoint.tensors.items():
        neutral = np.ones_like(values) if name.endswith("LayerNorm.weight") else np.zeros_like(values)
        without = {**checkpoint.tensors, name: neutral}
        responses[name] = np.abs(reference.embed(without, checkpoint.config, rows) - before).max()
    for name in [name for name in responses if name.startswith("pooler.") or name.endswith("key.bias")]:
        assert responses.pop(name) < 1e-6, name
    name = min(responses, key=responses.__getitem__)
    print(f"{responses[name]:.2e}  least response, of {name}")
    assert responses[name] > 100 * TOLERANCE, name
    return responses[name]


def main() -> None:
    torch.set_num_threads(1)
    worst = max(compare(name, arguments) for name, arguments in CASES.items())
    worst = max(worst, pooling_of_every_prompt_length())
    smallest_response()
    print(f"{worst:.2e}  largest difference over {len(CASES)} cases")


if __name__ == "__main__":
    main()
