"""Tiny random checkpoint folders for the tests, made without torch, safetensors or tokenizers.

`write_bert` writes a folder as sentence-transformers lays it out and returns what a test needs to
know of it; `safetensors_bytes` and `write_safetensors` also write containers that are wrong.
`golden/check_reference.py` loads these folders with sentence-transformers.
"""

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = (  # noqa: SIM905
    "the a of is to and in what capital france paris cook pasta water boil city river "
    "query: passage: search_query: query passage cat dog sat on mat red blue green ##ing ##ed ##s"
).split()
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
DEFAULT_VOCABULARY = (
    *SPECIAL_TOKENS, *_WORDS, *(c for c in _LETTERS if c != "a"), *(f"##{c}" for c in _LETTERS if c != "s"),
    *".,:?!-'", *(f"##{c}" for c in ".,:?!-'"),
)  # fmt: skip

# The dotted names modules.json holds, as (Transformer, Pooling, Normalize).
MODULE_TYPES_UP_TO_5_3 = (
    "sentence_transformers.models.Transformer",
    "sentence_transformers.models.Pooling",
    "sentence_transformers.models.Normalize",
)
MODULE_TYPES_5_4 = (
    "sentence_transformers.base.modules.transformer.Transformer",
    "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "sentence_transformers.sentence_transformer.modules.normalize.Normalize",
)
MODULE_TYPES_6 = (*MODULE_TYPES_5_4[:2], "sentence_transformers.base.modules.normalize.Normalize")

# The order in which the old boolean form concatenates; the new `pooling_mode` list keeps its own.
_POOLING_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}

_NUMPY_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}
_CONTAINER_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def bfloat16_bits(values: np.ndarray) -> np.ndarray:
    """The upper 16 bits of finite float32 values, rounded to nearest even."""
    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def as_stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """Float32 values as `dtype` ("float32", "float16", "bfloat16") keeps them, in float32 again."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    if dtype == "bfloat16":
        return (bfloat16_bits(values).astype("<u4") << 16).view("<f4")
    return values.astype(dtype).astype(np.float32)


def safetensors_bytes(header: Mapping[str, Any], payload: bytes) -> bytes:
    """A container with this header, right or wrong: length, JSON padded to 8 bytes, payload."""
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + payload


def write_safetensors(
    path: str | Path,
    tensors: Mapping[str, tuple[str, np.ndarray | bytes]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes `{name: (dtype name, array or bytes)}`, dtype names as the container spells them.

    An array is converted to the dtype and keeps its shape. Bytes are written as they are, as one
    axis of as many whole elements as they hold.
    """
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    chunks, end = [], 0
    for name, (dtype, values) in tensors.items():
        if isinstance(values, bytes):
            size = 2 if dtype == "BF16" else np.dtype(_NUMPY_DTYPES[dtype]).itemsize
            shape, data = [len(values) // size], values
        elif dtype == "BF16":
            shape, data = list(values.shape), bfloat16_bits(values).tobytes()
        else:
            shape, data = list(values.shape), values.astype(_NUMPY_DTYPES[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
        chunks.append(data)
        end += len(data)
    Path(path).write_bytes(safetensors_bytes(header, b"".join(chunks)))


@dataclass(frozen=True)
class Checkpoint:
    """A written folder and what its files say."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]  # float32, by the names in the file, after rounding to its dtype
    vocabulary: dict[str, int]
    pooling: tuple[str, ...]  # in the order of concatenation
    normalize: bool
    include_prompt: bool
    prompts: dict[str, str]
    max_tokens: int

    @property
    def special_ids(self) -> list[int]:
        return [self.vocabulary[token] for token in SPECIAL_TOKENS]

    def tokenize(self, text: str) -> list[int]:
        """The ids tokenizer.json gives with special tokens, cut at `max_tokens`."""
        inner: list[int] = []
        for part in re.split("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")", text):
            if part in SPECIAL_TOKENS:
                inner.append(self.vocabulary[part])
            else:
                # Unicode's White_Space, as Rust has it; str.split would also cut at U+001C to U+001F.
                lowered = "".join(character.lower() for character in part)
                words = re.split("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+", lowered)
                inner += [token for word in words if word for token in self._word_pieces(word)]
        return [self.vocabulary["[CLS]"], *inner[: self.max_tokens - 2], self.vocabulary["[SEP]"]]

    def _word_pieces(self, word: str) -> list[int]:
        unknown = [self.vocabulary["[UNK]"]]
        if len(word) > 100:
            return unknown
        pieces, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in self.vocabulary)
            end = next(ends, None)
            if end is None:
                return unknown
            pieces.append(self.vocabulary[mark + word[start:end]])
            start = end
        return pieces


def bert_tensors(config: Mapping[str, Any], *, pooler: bool, seed: int) -> dict[str, np.ndarray]:
    """Random float32 weights under which scores, activations and biases all move the result.

    Without a say: a key's bias, which softmax cancels, the second token type, and the pooler.
    """
    random = np.random.default_rng(seed)
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    tensors: dict[str, np.ndarray] = {}

    def normal(name: str, shape: tuple[int, ...], deviation: float, mean: float = 0.0) -> None:
        tensors[name] = (mean + deviation * random.standard_normal(shape)).astype(np.float32)

    def linear(name: str, outputs: int, inputs: int) -> None:
        normal(f"{name}.weight", (outputs, inputs), 1.7 / np.sqrt(inputs))
        normal(f"{name}.bias", (outputs,), 0.5)

    def layer_norm(name: str) -> None:
        normal(f"{name}.weight", (hidden,), 0.2, mean=1.0)
        normal(f"{name}.bias", (hidden,), 0.3)

    table_sizes = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    for kind, rows in table_sizes.items():
        normal(f"embeddings.{kind}_embeddings.weight", (config[rows], hidden), 0.5)
    layer_norm("embeddings.LayerNorm")
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{layer}.attention.{name}", hidden, hidden)
        layer_norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", intermediate, hidden)
        linear(f"{layer}.output.dense", hidden, intermediate)
        layer_norm(f"{layer}.output.LayerNorm")
    if pooler:
        linear("pooler.dense", hidden, hidden)
    return tensors


def tokenizer_json(vocabulary: Mapping[str, int]) -> dict[str, Any]:
    """WordPiece over lower-cased, whitespace-split text between [CLS] and [SEP]."""

    def special(token: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": 0}}

    def added(token: str) -> dict[str, Any]:
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        return {"id": vocabulary[token], "content": token, **flags}

    single = [special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]")]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    ends = {token: {"id": token, "ids": [vocabulary[token]], "tokens": [token]} for token in ("[CLS]", "[SEP]")}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added(token) for token in SPECIAL_TOKENS],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": ends},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": dict(vocabulary),
        },
    }  # fmt: skip


def pooling_config(pooling: Sequence[str], form: str, hidden: int, include_prompt: bool) -> dict[str, Any]:
    """1_Pooling/config.json in the "booleans" form, or in the "mode" form of 5.4 and later."""
    if form == "booleans":
        flags = {flag: mode in pooling for mode, flag in _POOLING_FLAGS.items()}
        return {"word_embedding_dimension": hidden, **flags, "include_prompt": include_prompt}
    mode = pooling[0] if len(pooling) == 1 else list(pooling)
    return {"embedding_dimension": hidden, "pooling_mode": mode, "include_prompt": include_prompt}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


def write_bert(
    folder: str | Path,
    *,
    hidden: int = 32,
    heads: int = 4,
    layers: int = 2,
    intermediate: int = 64,
    vocabulary: Sequence[str] | None = None,
    max_positions: int = 64,
    dtype: str = "float32",
    activation: str = "gelu",
    prefix: str = "",
    pooler: bool = True,
    position_ids: bool = False,
    legacy_layer_norm: bool = False,
    pooling: str | Sequence[str] = "mean",
    pooling_form: str = "booleans",
    normalize: bool = True,
    include_prompt: bool = True,
    prompts: Mapping[str, str] | None = None,
    default_prompt_name: str | None = None,
    similarity_fn_name: str | None = "cosine",
    max_seq_length: int | None = None,
    model_max_length: int | None = None,
    module_types: Sequence[str] = MODULE_TYPES_UP_TO_5_3,
    seed: int = 0,
    config_overrides: Mapping[str, Any] | None = None,
    tokenizer_overrides: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Writes a BERT checkpoint folder. The overrides replace top-level keys of their JSON files.

    `position_ids` adds the int64 buffer that old checkpoints carry; `legacy_layer_norm` names the
    scale and shift gamma and beta.
    """
    folder = Path(folder)
    ids = {token: index for index, token in enumerate(vocabulary or DEFAULT_VOCABULARY)}
    config = {
        "architectures": ["BertForPreTraining" if prefix else "BertModel"], "model_type": "bert",
        "hidden_size": hidden, "num_attention_heads": heads, "num_hidden_layers": layers,
        "intermediate_size": intermediate, "hidden_act": activation, "layer_norm_eps": 1e-12,
        "max_position_embeddings": max_positions, "type_vocab_size": 2, "vocab_size": len(ids),
        "pad_token_id": ids["[PAD]"], "torch_dtype": dtype, **(config_overrides or {}),
    }  # fmt: skip
    tensors = {}
    for name, values in bert_tensors(config, pooler=pooler, seed=seed).items():
        if legacy_layer_norm:
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        tensors[prefix + name] = as_stored(values, dtype)
    stored: dict[str, Any] = {name: (_CONTAINER_DTYPES[dtype], values) for name, values in tensors.items()}
    if position_ids:
        stored[f"{prefix}embeddings.position_ids"] = ("I64", np.arange(config["max_position_embeddings"])[None, :])
    modes = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    if pooling_form == "booleans":
        modes = tuple(mode for mode in _POOLING_FLAGS if mode in modes)

    write_json(folder / "config.json", config)
    write_safetensors(folder / "model.safetensors", stored, {"format": "pt"})
    write_json(folder / "tokenizer.json", {**tokenizer_json(ids), **(tokenizer_overrides or {})})
    named = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL_TOKENS}
    limit = {} if model_max_length is None else {"model_max_length": model_max_length}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **named, **limit})
    named_types = enumerate(zip(("", "1_Pooling", "2_Normalize"), module_types, strict=True))
    modules = [{"idx": index, "name": str(index), "path": path, "type": kind} for index, (path, kind) in named_types]
    write_json(folder / "modules.json", modules if normalize else modules[:2])
    pooling_json = pooling_config(modes, pooling_form, config["hidden_size"], include_prompt)
    write_json(folder / "1_Pooling" / "config.json", pooling_json)
    length = {} if max_seq_length is None else {"max_seq_length": max_seq_length}
    write_json(folder / "sentence_bert_config.json", {**length, "do_lower_case": False})
    about = {"prompts": dict(prompts or {}), "default_prompt_name": default_prompt_name}
    write_json(folder / "config_sentence_transformers.json", {**about, "similarity_fn_name": similarity_fn_name})
    max_tokens = max_seq_length or min(model_max_length or 10**9, config["max_position_embeddings"])
    return Checkpoint(folder, config, tensors, ids, modes, normalize, include_prompt, dict(prompts or {}), max_tokens)
