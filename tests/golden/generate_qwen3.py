"""Writes `qwen3_tiny.npz` and `qwen3_tiny.json`: what transformers makes of a tiny Qwen3.

Runs where torch and sentence-transformers 6.2 are installed, on the CPU:

    python tests/golden/generate_qwen3.py

The checkpoint is `write_qwen3(folder, **options)` with the options in `qwen3_tiny.json`, the same
bytes wherever NumPy draws the same numbers; the sum of its weights file says whether it did. Each
text is encoded alone, in float32 on one thread, so that no row carries the rounding of a batch.

`qwen3_tiny.npz`, N texts:
    vectors             float32 (N, 64)  the model's output, normalized
    query_vectors       float32 (N, 64)  the same with the checkpoint's query prompt
    token_ids           int32 (sum of token_counts,)  rows end to end, the end token included
    token_counts        int32 (N,)
    query_token_ids     int32 (sum of query_token_counts,)
    query_token_counts  int32 (N,)
"""

import hashlib
import json
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from kit.qwen3_checkpoints import write_qwen3  # noqa: E402

PACKAGES = ("torch", "transformers", "sentence-transformers", "tokenizers", "numpy")
OPTIONS = {
    "hidden": 64, "heads": 4, "key_value_heads": 2, "head_dim": 24, "layers": 3, "intermediate": 96,
    "dtype": "bfloat16", "seed": 20250605,
}  # fmt: skip
TEXTS = [
    "What is the capital of China?",
    "Explain gravity",
    "The capital of China is Beijing.",
    "Gravity is a force that attracts two bodies towards each other.",
    "To cook pasta, bring a large pot of salted water to a boil.",
    "",
    " ",
    "cat",
    "cats of the river",  # the prompt's last token and the first letter merge
    " the dog",
    "the dog ",
    "a\nb\n\nc",
    "a",
    "?",
    "HELLO WORLD",
    "Z\u00fcrich",
    "Zu\u0308rich",  # NFC makes it the one above
    "\u5317\u4eac\u662f\u4e2d\u56fd\u7684\u9996\u90fd\u3002",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "emoji \U0001f600 and a family \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "inside <|endoftext|> and <|im_end|> the text",
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:What is a cat?",
    "what is the answer to the query? " * 12,
    "river " * 600,  # cut at the model's 512
]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def golden_arrays(model: SentenceTransformer) -> dict[str, np.ndarray]:
    arrays = {}
    for name, prompt_name in (("", None), ("query_", "query")):
        prompt = model.prompts[prompt_name] if prompt_name else ""
        rows = [model.preprocess([prompt + text])["input_ids"][0].tolist() for text in TEXTS]
        vectors = [model.encode([text], batch_size=1, prompt_name=prompt_name)[0] for text in TEXTS]
        arrays[f"{name}vectors"] = np.stack(vectors)
        arrays[f"{name}token_ids"] = np.array([token for row in rows for token in row], dtype=np.int32)
        arrays[f"{name}token_counts"] = np.array([len(row) for row in rows], dtype=np.int32)
    return arrays


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_qwen3(folder, **OPTIONS)
        weights = sha256((checkpoint.folder / "model.safetensors").read_bytes())
        model = SentenceTransformer(folder, device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32})
    assert type(model[0].auto_model).__name__ == "Qwen3Model"
    arrays = golden_arrays(model)
    assert arrays["vectors"].dtype == np.float32
    np.savez_compressed(HERE / "qwen3_tiny.npz", **arrays)
    about = {
        "write_qwen3": OPTIONS,
        "model.safetensors sha256": weights,
        "texts": TEXTS,
        "max_seq_length": model.max_seq_length,
        "attention": model[0].auto_model.config._attn_implementation,
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }
    (HERE / "qwen3_tiny.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
