"""Writes `families/<family>.npz` and `families/families.json`: what the references make of tiny checkpoints.

Runs where torch, transformers 5.23, sentence-transformers 6.2 and model2vec are installed, on the CPU:

    python tests/golden/generate_families.py [family ...]

The checkpoints are those of `kit/families`; the sum of each weights file says whether NumPy drew the
same numbers. Each text is encoded alone, in float32 on one thread, with transformers' eager attention.

`families/<family>.npz`, N texts of `kit/families/texts.py`, for each case:
    <case>.vectors  float32 (N, dimension)  what the modules of the folder give
    <case>.ids      int32 (sum of counts,)  token ids, rows end to end
    <case>.counts   int32 (N,)
"""

import hashlib
import json
import math
import os
import platform
import re
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from model2vec import StaticModel
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from kit.families import CASES  # noqa: E402
from kit.families.layout import Case  # noqa: E402
from kit.families.texts import TEXTS  # noqa: E402

PACKAGES = ("torch", "transformers", "sentence-transformers", "model2vec", "tokenizers", "numpy")
FLOAT32_EAGER = {"dtype": torch.float32, "attn_implementation": "eager"}


def load(case: Case, folder: Path) -> SentenceTransformer:
    """The folder as sentence-transformers loads it, once every tensor is known to find its place."""
    if case.reference_config is not None:
        (folder / "config.json").write_text(json.dumps(dict(case.reference_config)), encoding="utf-8")
    if (folder / "config.json").exists() and case.family != "static":
        _, info = AutoModel.from_pretrained(folder, output_loading_info=True, local_files_only=True)
        missing = {name for name in info["missing_keys"] if not name.startswith("pooler.")}
        strange = {kind: info[kind] for kind in ("unexpected_keys", "mismatched_keys", "error_msgs") if info[kind]}
        assert not missing, (case.name, missing)
        assert not strange, (case.name, strange)
    if case.reference_patch == "unwrapped":
        # transformers' whole model has taken all tensors; its text model alone needs no image processor.
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["text_config"]
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        weights = load_file(folder / "model.safetensors")
        weights = {name.removeprefix("language_model."): values for name, values in weights.items()}
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    # A static table keeps its file's type unless it is told.
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True, model_kwargs=FLOAT32_EAGER).float()


def encode(case: Case, model: SentenceTransformer, text: str) -> np.ndarray:
    """One text, with what transformers' model lacks put into it."""
    patch, _, numbers = (case.reference_patch or "").partition(": ")
    if patch == "mixed ntk":
        theta, factor, mixed = (float(pair.split()[1]) for pair in numbers.split(", "))
        rotation = model[0].auto_model.rotary_emb
        half = len(rotation.inv_freq)
        steps = torch.arange(half, dtype=torch.float64)
        slower = math.log(factor) / half**mixed * (steps + 1) ** mixed
        rotation.inv_freq = (theta ** (-steps / half) / slower.exp()).float()
    elif patch.endswith("logn"):
        # A row's queries are scaled by the logarithm of its length, to the base of the longest row.
        scale = math.log(model.preprocess([text])["input_ids"].shape[1]) / math.log(int(numbers))
        for layer in model[0].auto_model.layers:
            attention = layer.self_attn
            attention.scaling = attention.head_dim**-0.5 * (max(scale, 1.0) if "clipped" in patch else scale)
    return model.encode([text], batch_size=1)[0]


def assert_sensitive(case: Case, model: SentenceTransformer) -> None:
    """Each tensor moves some vector: a wrong one cannot hide."""
    texts = [TEXTS[0], TEXTS[-2], TEXTS[3]]
    before = np.stack([encode(case, model, text) for text in texts])
    for name, values in model.state_dict().items():
        if not values.is_floating_point() or "pooler." in name:
            continue
        kept = values.clone()
        # Not a constant: a norm or a softmax may take that away.
        values += 0.3 * torch.randn(values.shape, generator=torch.Generator().manual_seed(1))
        moved = np.abs(np.stack([encode(case, model, text) for text in texts]) - before).max()
        values.copy_(kept)
        # Without rotation, a bias of the keys adds the same to all scores of a query; a factor before the last norm.
        inert = not case.rotates and re.search(r"(key|k_lin|attn\.k)\.bias$", name)
        inert = inert or name.endswith("layers.3.layer_scalar")
        assert bool(inert) != bool(moved > 1e-3), (case.name, name, moved)


def reference(case: Case, folder: Path) -> tuple[list[np.ndarray], list[list[int]]]:
    if case.reference_patch == "model2vec":
        static = StaticModel.from_pretrained(folder)
        # `encode` cuts the characters first, and `tokenize` does not.
        cut = [text[: static.max_length * static.median_token_length] for text in TEXTS]
        rows = [ids[: static.max_length] for ids in static.tokenize(cut)]
        return [static.encode([text])[0] for text in TEXTS], rows
    model = load(case, folder)
    assert_sensitive(case, model)
    rows = [model.preprocess([text])["input_ids"].reshape(-1).tolist() for text in TEXTS]
    return [encode(case, model, text) for text in TEXTS], rows


def main(wanted: list[str]) -> None:
    torch.set_num_threads(1)
    out = HERE / "families"
    out.mkdir(exist_ok=True)
    path = out / "families.json"
    about = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"model.safetensors sha256": {}}
    families: dict[str, dict[str, np.ndarray]] = {}
    for case in CASES.values():
        if wanted and case.family not in wanted:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "checkpoint"
            case.write(folder)
            weights = next(folder.rglob("model.safetensors"))
            about["model.safetensors sha256"][case.name] = hashlib.sha256(weights.read_bytes()).hexdigest()
            vectors, rows = reference(case, folder)
            shutil.rmtree(folder)
        arrays = families.setdefault(case.family, {})
        arrays[f"{case.name}.vectors"] = np.stack(vectors).astype(np.float32)
        arrays[f"{case.name}.ids"] = np.array([token for row in rows for token in row], dtype=np.int32)
        arrays[f"{case.name}.counts"] = np.array([len(row) for row in rows], dtype=np.int32)
    for family, arrays in families.items():
        np.savez_compressed(out / f"{family}.npz", **arrays)
    about["texts"] = TEXTS
    about["python"] = platform.python_version()
    about |= {package: version(package) for package in PACKAGES}
    path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
