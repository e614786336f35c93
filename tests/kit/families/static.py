"""Tables without a model: sentence-transformers' StaticEmbedding, and model2vec's folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kit.checkpoints import write_json
from kit.families import tokenizers
from kit.families.layout import Case, Weights, write_modules, write_weights

WIDTH = 24
_OLD_TYPE = "sentence_transformers.models.StaticEmbedding"
_NEW_TYPE = "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding"
_NORMALIZE = "sentence_transformers.models.Normalize"


def _case(
    name: str,
    *,
    inside: str = "",
    module_type: str | None = _OLD_TYPE,
    normalize: bool = False,
    table: str = "embedding.weight",
    mapped: bool = False,
    dtype: str = "float32",
    config: Mapping[str, Any] | None = None,
    truncation: int | None = None,
    patch: str | None = None,
) -> Case:
    def write(folder: Path) -> None:
        tokenizer = tokenizers.word_piece()
        weights = Weights(name)
        rows = tokenizer.size // 2 if mapped else tokenizer.size
        weights.normal(table, (rows, WIDTH), 1.0)
        if mapped:
            weights.normal("weights", (tokenizer.size,), 0.3, 1.0)
            weights.tensors["mapping"] = weights.random.integers(0, rows, tokenizer.size).astype(np.int64)
        write_weights(folder / inside / "model.safetensors", weights.tensors, dtype)
        cut = None
        if truncation:
            cut = {"direction": "Right", "max_length": truncation, "strategy": "LongestFirst", "stride": 0}
        write_json(folder / inside / "tokenizer.json", {**tokenizer.json, "truncation": cut})
        if config is not None:
            write_json(folder / "config.json", dict(config))
        if module_type:
            modules = [(inside or ".", module_type)] + ([("1_Normalize", _NORMALIZE)] if normalize else [])
            write_modules(folder, modules)
            about = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
            write_json(folder / "config_sentence_transformers.json", about)

    return Case("static", name, write, reference_patch=patch)


_MODEL2VEC = {
    "model_type": "model2vec", "architectures": ["StaticModel"], "tokenizer_name": "tiny", "apply_pca": WIDTH,
    "apply_zipf": True, "hidden_dim": WIDTH, "seq_length": 1000000, "normalize": True,
}  # fmt: skip

CASES = [
    _case("static-raw", inside="0_StaticEmbedding"),
    _case("static-normalized-float16", module_type=_NEW_TYPE, normalize=True, dtype="float16"),
    _case("static-truncated", inside="0_StaticEmbedding", truncation=12),
    _case("model2vec", table="embeddings", normalize=True, config=_MODEL2VEC),
    _case("model2vec-mapped", table="embeddings", mapped=True, normalize=True, config=_MODEL2VEC),
    # Without modules.json only model2vec itself reads the folder.
    _case("model2vec-bare", table="embeddings", module_type=None, config=_MODEL2VEC, patch="model2vec"),
]
