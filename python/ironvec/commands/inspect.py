"""`ironvec inspect`: what a model is made of, whether ironvec runs it, and what CoreML would take of its graph.

In: a model, or an ONNX file and sizes for its dynamic dimensions. Out: the report of `model_report.py`; with sizes,
that of `inspection.py` alone. For people, or as JSON.
"""

from __future__ import annotations

import argparse
import json
import os

from ..terminal import show
from .opening import NOT_FOUND, usage_errors

HELP = "say what a model is made of, and whether it runs"

_EXAMPLES = """\
examples:
  ironvec inspect minilm                 an alias, a folder or a hub id
  ironvec inspect onnx/model.onnx        an ONNX file, of ironvec's or anybody's
  ironvec inspect FOLDER --file onnx/model_fp16.onnx
  ironvec inspect model.onnx --json | jq .external_data
  ironvec inspect model.onnx --fix batch_size=1 --fix sequence_length=64
                                         what CoreML would take at these sizes

Only headers are read: of weights of any size it takes less than a second. A
model that is not on disk is downloaded first. The exit code is 0 whether
ironvec runs the model or not; the report says it ("runs_from" in the JSON).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("model", metavar="MODEL", help="alias, checkpoint folder, hub id or .onnx file")
    parser.add_argument("--file", metavar="NAME", help="an ONNX file of the folder, instead of the checkpoint")
    parser.add_argument(
        "--fix", action="append", default=[], type=_dimension, metavar="NAME=SIZE",
        help="give a dynamic dimension a size, by its name in the graph; the report is then about CoreML alone",
    )  # fmt: skip
    parser.add_argument(
        "--shape", action="append", default=[], type=_shape, metavar="INPUT=SIZE,SIZE",
        help="give an input a shape: --shape input_ids=1,64; the same",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    if options.fix or options.shape:
        return _at_sizes(options)
    from ..model_report import inspect
    from ..model_report_text import as_text

    # Of a file that is there and no model, the file is told, as the model's error.
    with usage_errors((FileNotFoundError,) if options.model.endswith(".onnx") else NOT_FOUND):
        report = inspect(options.model, file_name=options.file)
    show(json.dumps(report, indent=2) if options.json else as_text(report))
    return 0


def _at_sizes(options: argparse.Namespace) -> int:
    from ..inspection import as_text, inspect

    path = options.model if options.file is None else os.path.join(options.model, options.file)
    report = inspect(path, dimensions=dict(options.fix), shapes=dict(options.shape))
    show(json.dumps(report, indent=2) if options.json else as_text(path, report))
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
