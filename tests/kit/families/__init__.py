"""Tiny random checkpoints of every model family, written at test time: see `layout.Case`."""

from kit.families import bert, decoders, distilbert, modernbert, mpnet, roberta
from kit.families.layout import Case

_FAMILIES = (bert, roberta, distilbert, mpnet, decoders, modernbert)
CASES: dict[str, Case] = {case.name: case for family in _FAMILIES for case in family.CASES}
