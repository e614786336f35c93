"""Tiny tokenizers of the kinds the families have, as tokenizer.json and tokenizer_config.json.

WordPiece (BERT's and MPNet's special tokens), Unigram with a metaspace (XLM-RoBERTa), byte-level
BPE (RoBERTa, Qwen2, Llama 3) and BPE with bytes to fall back on (Gemma).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kit import qwen3_checkpoints
from kit.checkpoints import DEFAULT_VOCABULARY, SPECIAL_TOKENS

# Every letter, so that no lower-case Latin text is unknown; a few pieces that merge.
_PIECES = (
    "▁", "▁the", "▁river", "▁cat", "▁dog", "▁of", "▁and", "▁is", "▁a", "▁to", "er", "in", "the", "ing", "▁c", "▁r",
    "▁query", "▁passage", "é", "ü", "ß", "北", "京", "п", "р", "и", "в", "е", "т", "!", "?", ".", ",", ":", "'", "-",
    *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
)  # fmt: skip
_MERGES = (
    ("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("▁", "c"), ("▁c", "a"), ("▁ca", "t"), ("▁", "r"), ("i", "n"), ("e", "r"),
    ("r", "i"), ("ri", "v"), ("riv", "er"), ("▁", "a"), ("o", "f"), ("▁", "of"),
)  # fmt: skip


@dataclass(frozen=True)
class TinyTokenizer:
    """`ids` holds the special tokens; `size` is the number of ids."""

    json: dict[str, Any]
    config: dict[str, Any]
    ids: dict[str, int]
    size: int


def _special(token: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": 0}}


def _template(first: Sequence[str], last: Sequence[str], ids: dict[str, int]) -> dict[str, Any]:
    def sequence(name: str) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": 0}}

    starts, ends = [_special(token) for token in first], [_special(token) for token in last]
    named = {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in {*first, *last}}
    return {
        "type": "TemplateProcessing", "special_tokens": named,
        "single": [*starts, sequence("A"), *ends], "pair": [*starts, sequence("A"), *ends, sequence("B"), *ends],
    }  # fmt: skip


def _tokenizer(
    model: dict[str, Any],
    ids: dict[str, int],
    size: int,
    *,
    normalizer: dict[str, Any] | None,
    pre_tokenizer: dict[str, Any] | None,
    post_processor: dict[str, Any] | None,
    named: dict[str, str],
    padding_side: str = "right",
) -> TinyTokenizer:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": index, "content": token, **flags} for token, index in sorted(ids.items(), key=lambda pair: pair[1])]
    whole = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": None, "model": model,
    }  # fmt: skip
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "padding_side": padding_side, **named}
    # What transformers hands to the model: no family here takes token types from its tokenizer.
    config["model_input_names"] = ["input_ids", "attention_mask"]
    return TinyTokenizer(whole, config, ids, size)


def word_piece(specials: Sequence[str] = SPECIAL_TOKENS, order: Sequence[int] = range(5)) -> TinyTokenizer:
    """BERT's kind. `specials`: pad, unknown, first, last, mask; `order`: which of them has which id."""
    words = [word for word in DEFAULT_VOCABULARY if word not in SPECIAL_TOKENS]
    ids = {specials[which]: index for index, which in enumerate(order)}
    vocabulary = {**ids, **{word: len(ids) + index for index, word in enumerate(words)}}
    pad, unknown, first, last, mask = specials
    model = {
        "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": vocabulary,
    }  # fmt: skip
    named = {"pad_token": pad, "unk_token": unknown, "cls_token": first, "sep_token": last, "mask_token": mask}
    return _tokenizer(
        model,
        ids,
        len(vocabulary),
        normalizer={"type": "Lowercase"},
        pre_tokenizer={"type": "WhitespaceSplit"},
        post_processor=_template([first], [last], ids),
        named=named,
    )


def mpnet_word_piece() -> TinyTokenizer:
    """WordPiece between <s> and </s>, with padding as id 1."""
    return word_piece(("<pad>", "[UNK]", "<s>", "</s>", "<mask>"), (2, 0, 3, 1, 4))


def unigram() -> TinyTokenizer:
    """Sentencepiece's unigram model as XLM-RoBERTa has it: `<s> text </s>`, padding is id 1."""
    ids = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    # Long pieces are likelier than their letters; no two ways to cut a word score the same.
    scores = [(piece, -6.0 + 1.7 * len(piece) - 0.01 * index) for index, piece in enumerate(_PIECES)]
    vocabulary = [*((token, 0.0) for token in ids), *scores, ("<mask>", 0.0)]
    ids["<mask>"] = len(vocabulary) - 1
    model = {"type": "Unigram", "unk_id": 3, "byte_fallback": False, "vocab": [list(pair) for pair in vocabulary]}
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    named = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }
    return _tokenizer(
        model,
        ids,
        len(vocabulary),
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFKC"}, spaces]},
        pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        post_processor=_template(["<s>"], ["</s>"], ids),
        named=named,
    )


def byte_level(
    specials: Sequence[str], first: Sequence[str], last: Sequence[str], *, roberta: bool = False, **named: str
) -> TinyTokenizer:
    """Byte-level BPE; `specials` come before the bytes for RoBERTa and after the merges otherwise."""
    words = [*qwen3_checkpoints.BYTE_CHARACTERS.values(), *(a + b for a, b in qwen3_checkpoints.MERGES)]
    start = 0 if roberta else len(words)
    ids = {token: start + index for index, token in enumerate(specials)}
    offset = len(specials) if roberta else 0
    vocabulary = {word: offset + index for index, word in enumerate(words)}
    if roberta:
        vocabulary |= ids
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "" if roberta else None,
        "end_of_word_suffix": "" if roberta else None, "fuse_unk": False, "byte_fallback": False,
        "ignore_merges": False, "vocab": vocabulary, "merges": [list(pair) for pair in qwen3_checkpoints.MERGES],
    }  # fmt: skip
    ends = {"cls": ["<s>", ids.get("<s>")], "sep": ["</s>", ids.get("</s>")]}
    roberta_ends = {"type": "RobertaProcessing", **ends, "trim_offsets": True, "add_prefix_space": False}
    return _tokenizer(
        model,
        ids,
        len(words) + len(specials),
        normalizer=None,
        pre_tokenizer=level,
        post_processor=roberta_ends if roberta else _template(first, last, ids),
        named={f"{role}_token": token for role, token in named.items()},
        padding_side="right" if roberta else "left",
    )


def roberta_bytes() -> TinyTokenizer:
    specials = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    return byte_level(
        specials, (), (), roberta=True, bos="<s>", eos="</s>", cls="<s>", sep="</s>", unk="<unk>", pad="<pad>"
    )


def end_token_bytes() -> TinyTokenizer:
    """Qwen's kind: each row ends with the token that also pads."""
    end = "<|endoftext|>"
    return byte_level((end, "<|im_start|>", "<|im_end|>"), (), (end,), eos=end, pad=end)


def first_and_last_bytes() -> TinyTokenizer:
    """Llama 3's kind: a first token, and an end token as embedding models add it."""
    first, last = "<|begin_of_text|>", "<|end_of_text|>"
    return byte_level((first, last), (first,), (last,), bos=first, eos=last, pad=last)


def gemma_pieces() -> TinyTokenizer:
    """Gemma's kind: spaces become ▁ in the text, unknown characters fall back on their bytes."""
    specials = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    ids = {token: index for index, token in enumerate(specials)}
    merged = [a + b for a, b in _MERGES]
    pieces = [*(f"<0x{byte:02X}>" for byte in range(256)), *dict.fromkeys([*"▁", *(p for p in _PIECES if len(p) == 1)])]
    vocabulary = {**ids, **{piece: len(ids) + index for index, piece in enumerate([*pieces, *merged])}}
    model = {
        "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
        "vocab": vocabulary, "merges": [list(pair) for pair in _MERGES],
    }  # fmt: skip
    return _tokenizer(
        model,
        ids,
        len(vocabulary),
        normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        pre_tokenizer={"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        post_processor=_template(["<bos>"], ["<eos>"], ids),
        named={"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
    )
