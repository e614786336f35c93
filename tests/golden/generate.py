"""Writes `minilm.npz` and `minilm.json`: what sentence-transformers makes of `TEXTS`.

Runs where torch and sentence-transformers 6.2 are installed, on the CPU:

    python tests/golden/generate.py MODEL_FOLDER

MODEL_FOLDER holds all-MiniLM-L6-v2 in sentence-transformers' layout. Each text is encoded alone,
in float32 on one thread, so that no row carries the rounding of a batch around it.

`minilm.npz`, N texts:
    vectors       float32 (N, 384)  the model's output
    pooled_norms  float32 (N,)      the mean-pooled vector's length before Normalize
    token_ids     int32 (sum of token_counts,)  rows end to end, special tokens included
    token_counts  int32 (N,)
    ranges        float32 (2, 384)  the columns' minimum and maximum over `vectors`
    int8, uint8 (N, 384), binary int8, ubinary uint8 (N, 48)  quantize_embeddings of `vectors`
"""

import argparse
import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import quantize_embeddings

from texts import TEXTS

HERE = Path(__file__).resolve().parent
PACKAGES = ("torch", "transformers", "sentence-transformers", "tokenizers", "numpy")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def texts_sha256() -> str:
    """The test compares this with its own texts, so that stale vectors name themselves."""
    return sha256(json.dumps(TEXTS).encode("ascii"))


def golden_arrays(model: SentenceTransformer) -> dict[str, np.ndarray]:
    rows = [model.preprocess([text])["input_ids"][0].tolist() for text in TEXTS]
    vectors = np.stack([model.encode([text], batch_size=1)[0] for text in TEXTS])
    features = [model.encode([text], batch_size=1, output_value=None)[0] for text in TEXTS]
    # A row alone has no padding, so the mean over its tokens is the pooling.
    pooled = np.stack([feature["token_embeddings"].numpy().mean(axis=0) for feature in features])
    arrays = {
        "vectors": vectors,
        "pooled_norms": np.linalg.norm(pooled, axis=1).astype(np.float32),
        "token_ids": np.array([token for row in rows for token in row], dtype=np.int32),
        "token_counts": np.array([len(row) for row in rows], dtype=np.int32),
        "ranges": np.vstack([vectors.min(axis=0), vectors.max(axis=0)]),
    }
    for precision in ("int8", "uint8", "binary", "ubinary"):
        arrays[precision] = quantize_embeddings(vectors, precision)
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_folder", type=Path)
    folder = parser.parse_args().model_folder
    torch.set_num_threads(1)
    model = SentenceTransformer(
        str(folder),
        device="cpu",
        local_files_only=True,
        model_kwargs={"dtype": torch.float32},
    )
    arrays = golden_arrays(model)
    assert arrays["vectors"].dtype == np.float32
    np.savez_compressed(HERE / "minilm.npz", **arrays)
    about = {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "model.safetensors sha256": sha256((folder / "model.safetensors").read_bytes()),
        "tokenizer.json sha256": sha256((folder / "tokenizer.json").read_bytes()),
        "texts sha256": texts_sha256(),
        "texts": len(TEXTS),
        "max_seq_length": model.max_seq_length,
        "attention": model[0].auto_model.config._attn_implementation,
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }
    (HERE / "minilm.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
