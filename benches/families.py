"""ironvec beside sentence-transformers on every model family: base-size checkpoints with random weights.

    python benches/families.py [--families bert,mpnet] [--python INTERPRETER] [--rounds 7] [--texts 128]

Each family is written by the recipe that the tests have for it (`tests/kit/families/`), at 12 layers of 768 in
float32, with MiniLM's tokenizer (30,522 tokens; qwen2 with a small one of bytes) and rows of at most 256 tokens, into
a folder that is removed afterwards (half a gigabyte). Families whose published
checkpoints bring code of their own are written as transformers names them, so that its implementation runs.

sentence-transformers runs as it comes, in float32, in the environment under .bench/ or in INTERPRETER. Texts: the
mixed ones of `compare.py`, in turns, in one run; a ratio is the median of the pairwise ratios of the rounds, above 1
where ironvec is faster. The vectors are compared too; random weights of twelve layers amplify rounding, so that they
may differ by more than those of trained ones.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import docstrings
import numpy as np
from compare import names
from environments import BENCH, environment
from measure import Figure, figure, vectors
from report import print_figures, processor
from workers import OURS, Peer, PeerError, Worker, take_turns

from ironvec import Embedder
from ironvec.resolve import resolve

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from kit.checkpoints import write_bert
from kit.families import tokenizers
from kit.families.tokenizers import TinyTokenizer

THEIRS = "sentence-transformers"
MAX_TOKENS = 256
ENCODER = {"HIDDEN": 768, "INTERMEDIATE": 3072, "LAYERS": 12, "HEADS": 12, "MAX_TOKENS": MAX_TOKENS}
DECODER = {**ENCODER, "KEY_VALUE_HEADS": 4, "HEAD_DIM": 64}
SUSPECT = 1e-2  # between vectors of length 1: not the same model


class Recipe(NamedTuple):
    """A module of `kit.families`, what its case is made of, and the sizes that replace its tiny ones."""

    module: str
    case: tuple[Any, ...]
    sizes: dict[str, int] = ENCODER


RECIPES = {
    "roberta": Recipe("roberta", ("roberta", "roberta")),
    "xlm-roberta": Recipe("roberta", ("xlm-roberta", "xlm-roberta")),
    "camembert": Recipe("roberta", ("camembert", "camembert")),
    "distilbert": Recipe("distilbert", ("distilbert",)),
    "mpnet": Recipe("mpnet", ("mpnet",)),
    "modernbert": Recipe(
        "modernbert", ("modernbert", {"local_attention": 128, "max_position_embeddings": 8192}),
        {**ENCODER, "INTERMEDIATE": 1152},
    ),
    "nomic_bert": Recipe("nomic", ("nomic_bert",)),
    "gte": Recipe("gte", ("gte",)),
    "gemma3_text": Recipe(
        "gemma3", ("gemma3", {"query_pre_attn_scalar": 256, "sliding_window": 512, "sliding_window_pattern": 6}),
        {**DECODER, "INTERMEDIATE": 1152, "HEADS": 3, "KEY_VALUE_HEADS": 1, "HEAD_DIM": 256},
    ),
    **{name: Recipe("decoders", (name, name), DECODER) for name in ("llama", "qwen2", "qwen3", "mistral", "eurobert")},
}  # fmt: skip
FAMILIES = ("bert", *RECIPES)
# transformers takes Qwen2's own splitting of texts for it, whatever its files say.
OWN_TOKENIZER = ("qwen2",)


def minilm_tokenizer(folder: Path) -> TinyTokenizer:
    """MiniLM's tokenizer, in the form in which the recipes take theirs."""
    whole = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    # The files of a recipe say how long a row may be; sentence-transformers overrides these two.
    whole |= {"truncation": None, "padding": None}
    ids = {token["content"]: token["id"] for token in whole["added_tokens"]}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "padding_side": "right", "pad_token": "[PAD]",
        "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
        "eos_token": "[SEP]", "model_input_names": ["input_ids", "attention_mask"],
    }  # fmt: skip
    return TinyTokenizer(whole, config, ids, len(whole["model"]["vocab"]))


def write(family: str, folder: Path, tokenizer: TinyTokenizer) -> None:
    """The family's checkpoint at base size."""
    if family == "bert":
        vocabulary = sorted(tokenizer.json["model"]["vocab"], key=tokenizer.json["model"]["vocab"].get)
        sizes = {"hidden": 768, "heads": 12, "layers": 12, "intermediate": 3072}
        write_bert(folder, **sizes, vocabulary=vocabulary, max_positions=MAX_TOKENS, max_seq_length=MAX_TOKENS)
        return
    recipe = RECIPES[family]
    module = import_module(f"kit.families.{recipe.module}")
    for name, size in recipe.sizes.items():
        getattr(module, name)  # a recipe that calls it otherwise would stay tiny
        setattr(module, name, size)
    if family in OWN_TOKENIZER:
        module._case(*recipe.case).write(folder)
        return
    with using_tokenizer(tokenizer):
        module._case(*recipe.case).write(folder)


@contextmanager
def using_tokenizer(tokenizer: TinyTokenizer) -> Iterator[None]:
    """Lets every recipe take this tokenizer for its own."""

    def same(*_: Any) -> TinyTokenizer:
        return tokenizer

    names = (
        "word_piece", "mpnet_word_piece", "unigram", "roberta_bytes", "end_token_bytes", "first_and_last_bytes",
        "gemma_pieces",
    )  # fmt: skip
    kept = {name: getattr(tokenizers, name) for name in names}
    try:
        for name in names:
            setattr(tokenizers, name, same)
        yield
    finally:
        for name, own in kept.items():
            setattr(tokenizers, name, own)


def compare(family: str, folder: Path, python: Path, texts: Path, rounds: int, count: int) -> Figure:
    options = {"folder": str(folder), "texts": str(texts)}
    ours = Peer(OURS, Path(sys.executable), "serve_ironvec.py", options)
    theirs = Peer(THEIRS, python, "serve_sentence_transformers.py", options)
    with Worker(ours) as first, Worker(theirs) as second:
        for worker in (first, second):
            worker.encode("mixed")
        difference = float(np.abs(vectors(first) - vectors(second)).max())
        print(f"{family}: vectors differ by {difference:.0e} at most")
        # Not `>`: a NaN has to fail.
        if not difference <= SUSPECT:
            raise SystemExit(f"{family}: the two do not run the same model")
        samples = take_turns([first, second], rounds, lambda worker: worker.encode("mixed"))
    found = figure(family, THEIRS, samples[THEIRS], "texts/s", count)
    print(f"{family}: {found.ratio:.2f} x")  # now, too: the table comes after the last family
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=lambda text: names(FAMILIES, text), default=list(FAMILIES))
    parser.add_argument("--python", type=Path, metavar="INTERPRETER", help="one that has sentence-transformers")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--texts", type=int, default=128, help="of the 1,024 mixed ones, in a pass")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # also into a file: a run takes minutes
    BENCH.mkdir(exist_ok=True)
    python = options.python or environment(THEIRS)
    minilm = Path(resolve("minilm").folder)
    texts = docstrings.choose(Embedder(minilm, max_length=512).count_tokens).mixed[: options.texts]
    path = BENCH / "texts-families.json"
    path.write_text(json.dumps({"mixed": texts}), encoding="utf-8")
    tokenizer = minilm_tokenizer(minilm)
    print(f"{processor()}, {os.cpu_count()} CPUs, {len(texts)} texts")
    figures = []
    for family in options.families:
        with tempfile.TemporaryDirectory(dir=BENCH) as name:
            folder = Path(name)
            write(family, folder, tokenizer)
            try:
                figures.append(compare(family, folder, python, path, options.rounds, len(texts)))
            except PeerError as error:
                print(f"{family}: not compared ({error})")
    print()
    print_figures(figures)


if __name__ == "__main__":
    main()
