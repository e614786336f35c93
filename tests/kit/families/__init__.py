"""Tiny random checkpoints of every model family, written at test time: see `layout.Case`."""

from kit.families import (
    bert,
    decoders,
    distilbert,
    embedding_gemma2,
    gemma3,
    gte,
    modernbert,
    mpnet,
    nomic,
    roberta,
    static,
)
from kit.families.layout import Case

_FAMILIES = (
    bert, roberta, distilbert, mpnet, decoders, modernbert, nomic, gte, gemma3, static, embedding_gemma2,
)  # fmt: skip
CASES: dict[str, Case] = {case.name: case for family in _FAMILIES for case in family.CASES}
