"""Tiny random Qwen3 embedding checkpoints for the tests, laid out as the published ones.

`write_qwen3` writes the folder and returns what a test needs to know of it; the container and the
JSON writers are those of `checkpoints.py`. The tokenizer is a byte-level BPE with the published
post-processor, and its merges cross the end of the query prompt: `Query:` before `cat` is not the
tokens of `Query:` and then those of `cat`. `golden/check_qwen3_reference.py` loads these folders
with sentence-transformers.
"""

import itertools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kit import checkpoints
from kit.checkpoints import Checkpoint, as_stored, pooling_config, write_json, write_safetensors

END_TOKEN = "<|endoftext|>"  # ends each row, and pads
SPECIAL_TOKENS = (END_TOKEN, "<|im_start|>", "<|im_end|>")
# The published tokenizer_config.json calls this one the eos token; no row is ended with it.
EOS_TOKEN = "<|im_end|>"
PUBLISHED_PROMPTS = {
    "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
    "document": "",
}
PUBLISHED_MODEL_MAX_LENGTH = 131072

# A word after a space or a newline keeps the space; spaces in a row stay together.
_SPLIT = " ?[^ \n]+|[ \n]+"
_WORDS = "Instruct: Given a web search query, retrieve relevant passages that answer the query".split()  # noqa: SIM905
_MERGED_WORDS = (
    "Instruct:", *(f"Ġ{word}" for word in _WORDS[1:]), "Query:", "Ġthe", "Ġof", "Ġis", "Ġcat", "Ġdog", "Ġriver", "What",
    "Ġcapital", "ĠFrance", "ĠParis", "cook", "Ġpasta",
)  # fmt: skip


def _byte_characters() -> dict[int, str]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


BYTE_CHARACTERS = _byte_characters()


def _merges() -> list[tuple[str, str]]:
    # The first ranks before the words', so it takes the colon of `Query:` where a c follows.
    merges = {(":", "c"): None}
    for word in _MERGED_WORDS:
        merges |= {(word[:end], word[end]): None for end in range(1, len(word))}
    return list(merges)


MERGES = _merges()
VOCABULARY = {
    token: index
    for index, token in enumerate([*BYTE_CHARACTERS.values(), *(a + b for a, b in MERGES), *SPECIAL_TOKENS])
}


@dataclass(frozen=True)
class Qwen3Checkpoint(Checkpoint):
    """A written folder; `tensors` are by the names in the files, prefix included."""

    @property
    def special_ids(self) -> list[int]:
        return [self.vocabulary[token] for token in SPECIAL_TOKENS]

    def tokenize(self, text: str) -> list[int]:
        """The ids tokenizer.json gives with the end token, cut at `max_tokens`."""
        inner: list[int] = []
        for part in re.split("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")", text):
            if part in SPECIAL_TOKENS:
                inner.append(self.vocabulary[part])
            else:
                for word in re.findall(_SPLIT, unicodedata.normalize("NFC", part)):
                    inner += self._byte_pairs(word)
        return [*inner[: self.max_tokens - 1], self.vocabulary[END_TOKEN]]

    def _byte_pairs(self, word: str) -> list[int]:
        pieces = [BYTE_CHARACTERS[byte] for byte in word.encode("utf-8")]
        ranks = {pair: rank for rank, pair in enumerate(MERGES)}
        while True:
            ranked = [(ranks[pair], start) for start, pair in enumerate(itertools.pairwise(pieces)) if pair in ranks]
            if not ranked:
                return [self.vocabulary[piece] for piece in pieces]
            _, start = min(ranked)
            pieces[start : start + 2] = ["".join(pieces[start : start + 2])]


def tensor_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names (without a prefix) and shapes of a Qwen3Model's tensors, in its own order."""
    hidden, intermediate, head_dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    query, key_value = (config[f"num_{kind}_heads"] * head_dim for kind in ("attention", "key_value"))
    outputs = {"q_proj": query, "k_proj": key_value, "v_proj": key_value, "o_proj": hidden}
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (config["vocab_size"], hidden)}
    for index in range(config["num_hidden_layers"]):
        layer = f"layers.{index}"
        for name, size in outputs.items():
            shapes[f"{layer}.self_attn.{name}.weight"] = (size, query if name == "o_proj" else hidden)
            if config["attention_bias"]:
                shapes[f"{layer}.self_attn.{name}.bias"] = (size,)
        shapes |= {f"{layer}.self_attn.{name}_norm.weight": (head_dim,) for name in ("q", "k")}
        shapes |= {f"{layer}.mlp.{name}_proj.weight": (intermediate, hidden) for name in ("gate", "up")}
        shapes[f"{layer}.mlp.down_proj.weight"] = (hidden, intermediate)
        shapes |= {f"{layer}.{name}_layernorm.weight": (hidden,) for name in ("input", "post_attention")}
    shapes["norm.weight"] = (hidden,)
    return shapes


def qwen3_tensors(config: Mapping[str, Any], *, seed: int) -> dict[str, np.ndarray]:
    """Random float32 weights under which every tensor moves the result."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in tensor_shapes(config).items():
        values = random.standard_normal(shape)
        if name.endswith("norm.weight"):
            values = 1.0 + 0.3 * values
        elif name.endswith(".bias"):
            values = 0.5 * values
        elif name != "embed_tokens.weight":
            values = 1.7 / np.sqrt(shape[1]) * values
        tensors[name] = values.astype(np.float32)
    return tensors


def tokenizer_json() -> dict[str, Any]:
    """A byte-level BPE that ends each row with the end token, put together as the published one."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": _SPLIT}, "behavior": "Isolated", "invert": False}
    sequences = {name: {"Sequence": {"id": name, "type_id": 0}} for name in "AB"}
    end = {"SpecialToken": {"id": END_TOKEN, "type_id": 0}}
    ids = {END_TOKEN: {"id": END_TOKEN, "ids": [VOCABULARY[END_TOKEN]], "tokens": [END_TOKEN]}}
    template = {
        "type": "TemplateProcessing", "special_tokens": ids,
        "single": [sequences["A"], end], "pair": [sequences["A"], end, sequences["B"], end],
    }  # fmt: skip
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": VOCABULARY[token], "content": token, **flags} for token in SPECIAL_TOKENS],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": {"type": "Sequence", "processors": [byte_level, template]},
        "decoder": {**byte_level, "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: index for token, index in VOCABULARY.items() if token not in SPECIAL_TOKENS},
            "merges": [list(pair) for pair in MERGES],
        },
    }  # fmt: skip


def write_module_files(
    folder: Path,
    *,
    hidden: int,
    pooling: Sequence[str] = ("lasttoken",),
    pooling_form: str = "booleans",
    normalize: bool = True,
    include_prompt: bool = True,
    prompts: Mapping[str, str] = PUBLISHED_PROMPTS,
    default_prompt_name: str | None = None,
    module_types: Sequence[str] = checkpoints.MODULE_TYPES_UP_TO_5_3,
    padding_side: str | None = "left",
    model_max_length: int | None = PUBLISHED_MODEL_MAX_LENGTH,
) -> None:
    """All that the published folder holds beside the config, the weights and tokenizer.json.

    That folder has no sentence_bert_config.json.
    """
    named_types = enumerate(zip(("", "1_Pooling", "2_Normalize"), module_types, strict=True))
    modules = [{"idx": index, "name": str(index), "path": path, "type": kind} for index, (path, kind) in named_types]
    write_json(folder / "modules.json", modules if normalize else modules[:2])
    write_json(folder / "1_Pooling" / "config.json", pooling_config(pooling, pooling_form, hidden, include_prompt))
    about = {"prompts": dict(prompts), "default_prompt_name": default_prompt_name, "similarity_fn_name": "cosine"}
    write_json(folder / "config_sentence_transformers.json", about)
    said = {"padding_side": padding_side, "model_max_length": model_max_length}
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": EOS_TOKEN, "pad_token": END_TOKEN,
        **{name: value for name, value in said.items() if value is not None},
    }  # fmt: skip
    write_json(folder / "tokenizer_config.json", tokenizer_config)


def write_weights(folder: Path, tensors: Mapping[str, np.ndarray], dtype: str, shards: int) -> None:
    """`model.safetensors`, or `shards` files of about as many tensors each and their index."""
    kind = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
    stored = [(name, (kind, values)) for name, values in tensors.items()]
    if shards == 1:
        return write_safetensors(folder / "model.safetensors", dict(stored), {"format": "pt"})
    weight_map = {}
    for index in range(shards):
        file_name = f"model-{index + 1:05}-of-{shards:05}.safetensors"
        part = dict(stored[len(stored) * index // shards : len(stored) * (index + 1) // shards])
        write_safetensors(folder / file_name, part, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file_name)
    size = sum(values.size for values in tensors.values()) * (4 if dtype == "float32" else 2)
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})


def write_qwen3(
    folder: str | Path,
    *,
    hidden: int = 32,
    heads: int = 4,
    key_value_heads: int = 2,
    head_dim: int = 8,
    layers: int = 2,
    intermediate: int = 48,
    dtype: str = "bfloat16",
    prefix: str = "",
    lm_head: bool = False,
    shards: int = 1,
    attention_bias: bool = False,
    rope_theta: float = 1e6,
    rope_parameters_form: bool = False,
    prompts: Mapping[str, str] | None = None,
    pooling: str | Sequence[str] = "lasttoken",
    max_positions: int = 512,
    max_seq_length: int | None = None,
    model_max_length: int | None = PUBLISHED_MODEL_MAX_LENGTH,
    seed: int = 0,
    config_overrides: Mapping[str, Any] | None = None,
    tokenizer_overrides: Mapping[str, Any] | None = None,
    **module_options: Any,
) -> Qwen3Checkpoint:
    """Writes a Qwen3 embedding checkpoint; overrides replace top-level keys of their JSON files.

    `prompts=None` stands for the published ones. `lm_head` adds the tensor an untied language
    model carries beside its prefixed ones. The module options are `write_module_files`'.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    theta = {"rope_theta": rope_theta, "rope_scaling": None}
    parameters = {"rope_parameters": {"rope_type": "default", "rope_theta": rope_theta}}
    config = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": len(VOCABULARY),
        "hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": key_value_heads, "head_dim": head_dim,
        "hidden_act": "silu", "max_position_embeddings": max_positions, "rms_norm_eps": 1e-6,
        **(parameters if rope_parameters_form else theta),
        "attention_bias": attention_bias, "tie_word_embeddings": not lm_head, "use_sliding_window": False,
        "sliding_window": None, "bos_token_id": VOCABULARY[END_TOKEN], "eos_token_id": VOCABULARY[END_TOKEN],
        "torch_dtype": dtype, **(config_overrides or {}),
    }  # fmt: skip
    tensors = {prefix + name: as_stored(values, dtype) for name, values in qwen3_tensors(config, seed=seed).items()}
    head = {"lm_head.weight": tensors[f"{prefix}embed_tokens.weight"] + 1} if lm_head else {}
    modes = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    prompts = dict(PUBLISHED_PROMPTS if prompts is None else prompts)

    write_json(folder / "config.json", config)
    write_weights(folder, {**tensors, **head}, dtype, shards)
    write_json(folder / "tokenizer.json", {**tokenizer_json(), **(tokenizer_overrides or {})})
    if max_seq_length is not None:
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_seq_length, "do_lower_case": False})
    write_module_files(
        folder, hidden=hidden, pooling=modes, prompts=prompts, model_max_length=model_max_length, **module_options
    )
    normalize, include_prompt = (module_options.get(name, True) for name in ("normalize", "include_prompt"))
    max_tokens = max_seq_length or min(model_max_length or 10**9, config["max_position_embeddings"])
    return Qwen3Checkpoint(folder, config, tensors, VOCABULARY, modes, normalize, include_prompt, prompts, max_tokens)
