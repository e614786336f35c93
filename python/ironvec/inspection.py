"""What an ONNX graph is made of, and what ONNX Runtime's CoreML provider would take of it.

In: a path to an ONNX file, of ironvec's or anybody's; sizes for its dynamic dimensions. Out: a report, as a dict or as
text. The rules were read from ONNX Runtime's sources; none of them was run on Apple hardware yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from . import _core
from .plain_text import counted, table, wrapped
from .resolve import onnxruntime_dirs

if TYPE_CHECKING:
    from ._core import Finding, InspectedValue, Inspection

_EXAMPLE_WIDTH = 48
# Names wider than this get no column of their own.
_OP_WIDTH = 24
_LARGEST_SIZE = 2**31 - 1  # of a dimension, in ONNX Runtime's indices


def inspect(
    path: str | os.PathLike[str],
    *,
    dimensions: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    static_shapes: bool = True,
) -> Inspection:
    """Inspects an ONNX file. Weights are not read from other files.

    Args:
        path: The ONNX file.
        dimensions: Sizes for dynamic dimensions, by the names that the graph gives them: `{"batch_size": 1}`.
        shapes: Whole shapes for inputs, by the inputs' names: `{"input_ids": [1, 64]}`. A dimension with a name is
            fixed wherever that name occurs.
        static_shapes: Whether the provider is set up with `RequireStaticInputShapes`, as ironvec sets it up.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: It is no ONNX model, or ONNX Runtime does not open it.
        ValueError: A dimension or input that the graph does not have, or a size that it cannot have.
    """
    return _core.inspect(
        os.fspath(path),
        runtime_dirs=onnxruntime_dirs(),
        dimensions={name: _size(name, size) for name, size in (dimensions or {}).items()},
        shapes={name: [_size(name, size) for size in shape] for name, shape in (shapes or {}).items()},
        static_shapes=static_shapes,
    )


def _size(name: str, size: int) -> int:
    if abs(size) > _LARGEST_SIZE:  # negative ones are named by what they were meant for
        raise ValueError(f"{name}={size}: expected a size of at most {_LARGEST_SIZE:,}")
    return size


def as_text(path: str | os.PathLike[str], report: Inspection) -> str:
    """The report for people, without a newline at its end."""
    return "\n".join(_lines(os.path.basename(os.fspath(path)), report))


def _lines(name: str, report: Inspection) -> Iterator[str]:
    opsets = ", ".join(f"{domain} {version}" for domain, version in report["opsets"].items())
    yield f"{name}: {report['nodes']:,} nodes; operator sets {opsets}"
    for label, values in (("in", report["inputs"]), ("out", report["outputs"])):
        yield from table((label if index == 0 else "", *described(value)) for index, value in enumerate(values))
    ops = sorted(report["ops"].items(), key=lambda item: (-item[1], item[0]))
    yield from wrapped("made of " + ", ".join(f"{count} {op}" for op, count in ops), "  ", "    ")
    yield ""
    yield from coreml_lines(report)


def coreml_lines(report: Inspection) -> Iterator[str]:
    """What CoreML would take, why not the rest, and what may be done about it."""
    yield from wrapped(
        f"CoreML would take {report['taken']:,} of {report['nodes']:,} nodes ({report['share']:.1%}) "
        f"in {counted(report['partitions'], 'partition')}: {_advice(report)}"
    )
    yield from wrapped(
        f"highest rank {report['max_rank']}; values with a dynamic dimension {report['dynamic_values']:,}, "
        f"of unknown shape {report['unknown_shapes']:,}", "  ", "    ",
    )  # fmt: skip
    for large in report["large_initializers"]:
        yield f"  large: {large['name']} {large['shape']}"
    if report["large_initializers"]:
        yield "  A table with more than 16,384 rows stays on the CPU."
    for title, findings in (
        ("Not taken", report["refused"]),
        ("Taken, but", report["cautions"]),
        ("Taken according to ONNX Runtime's list, conditions not checked", report["unchecked"]),
    ):
        if findings:
            yield f"{title}:"
            yield from _findings(findings)
    if report["symbols"] and report["dynamic_values"]:
        options = " ".join(f"--fix {symbol}=N" for symbol in report["symbols"])
        yield from wrapped(f"Dynamic dimensions can be fixed: {options}", "", "  ")
    yield "The rules were read from ONNX Runtime's sources;"
    yield "they have not yet been run on Apple hardware."


def _advice(report: Inspection) -> str:
    if report["taken"] == report["nodes"]:
        return "all of it." if report["partitions"] <= 1 else "all of it, but not in one piece."
    return "the rest runs on the CPU, and every border costs a copy. One partition with every node is what pays."


def described(value: InspectedValue) -> tuple[str, str]:
    """An input's or output's name, and its type and shape."""
    shape = value["shape"]
    dims = "of unknown shape" if shape is None else f"[{', '.join('?' if dim is None else str(dim) for dim in shape)}]"
    return value["name"], f"{value['dtype']} {dims}"


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    rows = []
    for finding in findings:
        example = finding["example"]
        if len(example) > _EXAMPLE_WIDTH:
            example = f"{example[:_EXAMPLE_WIDTH]}..."
        rows.append((f"{finding['count']:,}", finding["op"], f"{finding['reason']} ({example})"))
    if max(len(op) for _, op, _ in rows) > _OP_WIDTH:
        yield from table((count, f"{op}: {reason}") for count, op, reason in rows)
    else:
        yield from table(rows)
