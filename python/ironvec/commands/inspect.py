"""`ironvec inspect`: what an ONNX file is made of, and what CoreML would take of it.

In: a file, and sizes for its dynamic dimensions. Out: the report of `inspection.py`, for people or as JSON.
"""

from __future__ import annotations

import argparse
import json

from ..inspection import as_text, inspect
from ..terminal import show

HELP = "say what CoreML would take of an ONNX file, and why not the rest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.onnx", help="the file; no other is read")
    parser.add_argument(
        "--fix", action="append", default=[], type=_dimension, metavar="NAME=SIZE",
        help="give a dynamic dimension a size, by its name in the graph: --fix batch_size=1 --fix sequence_length=64",
    )  # fmt: skip
    parser.add_argument(
        "--shape", action="append", default=[], type=_shape, metavar="INPUT=SIZE,SIZE",
        help="give an input a shape: --shape input_ids=1,64",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    report = inspect(options.model, dimensions=dict(options.fix), shapes=dict(options.shape))
    show(json.dumps(report, indent=2) if options.json else as_text(options.model, report))
    return 0


def _dimension(text: str) -> tuple[str, int]:
    name, sizes = _assignment(text, "NAME=SIZE")
    if len(sizes) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SIZE")
    return name, sizes[0]


def _shape(text: str) -> tuple[str, list[int]]:
    return _assignment(text, "INPUT=SIZE,SIZE")


def _assignment(text: str, form: str) -> tuple[str, list[int]]:
    # From the right: a graph may call an input or a dimension anything, "a=b" too.
    name, _, sizes = text.rpartition("=")
    try:
        return name, [int(size) for size in sizes.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}") from None
