"""BERT by `kit.checkpoints.write_bert`, as a family like the others."""

from pathlib import Path
from typing import Any

from kit.checkpoints import write_bert
from kit.families.layout import Case

MAX_TOKENS = 180


def _case(name: str, **options: Any) -> Case:
    def write(folder: Path) -> None:
        write_bert(folder, max_positions=MAX_TOKENS, max_seq_length=MAX_TOKENS, seed=7, **options)

    return Case("bert", name, write)


CASES = [_case("bert"), _case("bert-prefixed-bfloat16", prefix="bert.", dtype="bfloat16", pooling="cls")]
