"""ironvec and a peer in one environment, on the same texts and weights: `beside.sh` makes the environment.

    python tests/beside.py fastembed | sentence-transformers

Each loads first once, the other second: what one of them does to the process must not disturb the other. Prints the
largest difference of any component; ends with status 1 where it is over 1e-5.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parent.parent
TEXTS = [
    "What is the capital of France?",
    "Paris is the capital of France.",
    "How do I cook pasta?",
    "",
    "ein Wort " * 60,
]
MOST_TOKENS = 256


def ours() -> Any:
    from ironvec import Embedder

    return Embedder("minilm", max_length=MOST_TOKENS)


def fastembed(folder: Path, scratch: Path) -> np.ndarray:
    """By its route for models of one's own: the hub is not asked."""
    sys.path.insert(0, str(ROOT / "benches"))
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType
    from onnx_files import onnx_folder

    TextEmbedding.add_custom_model(
        model="local/minilm", pooling=PoolingType.MEAN, normalization=True, sources=ModelSource(hf="local/minilm"),
        dim=384, model_file="model.onnx",
    )  # fmt: skip
    export = onnx_folder(folder, scratch / "minilm-onnx", MOST_TOKENS)
    return np.stack(list(TextEmbedding("local/minilm", specific_model_path=str(export)).embed(TEXTS)))


def sentence_transformers(folder: Path, scratch: Path) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    model.max_seq_length = MOST_TOKENS
    return model.encode(TEXTS)


PEERS = {"fastembed": fastembed, "sentence-transformers": sentence_transformers}


def both(peer: str, order: str) -> None:
    from ironvec.resolve import resolve

    folder = Path(resolve("minilm", local_files_only=True).folder)
    with tempfile.TemporaryDirectory() as scratch:
        before = ours().encode(TEXTS) if order == "ours first" else None
        theirs = PEERS[peer](folder, Path(scratch))
        rows = ours().encode(TEXTS)
        assert before is None or np.array_equal(before, rows), "the peer changed what ironvec computes"
    difference = float(np.abs(rows - theirs).max())
    print(f"{peer}, {order}: vectors of {len(TEXTS)} texts differ by {difference:.1e} at most")
    sys.exit(difference > 1e-5)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        both(*sys.argv[1:])
    else:
        for order in ("ours first", "theirs first"):
            subprocess.run([sys.executable, __file__, sys.argv[1], order], check=True, timeout=600)
