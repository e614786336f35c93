"""A model's report for people: sections of labels and values, 80 columns wide.

In: what `model_report.inspect` found. Out: lines. Caches of a decoder's layers are folded to one line for all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from .inspection import coreml_lines, described
from .plain_text import counted, fields, quoted, size, table, wrapped

if TYPE_CHECKING:
    from ._core import InspectedValue, Inspection
    from .model_report import ModelReport

_SOURCES = {"checkpoint": "the checkpoint", "onnx": "the ONNX file", "static table": "the table of token vectors"}
# Below so many, values of one pattern are listed.
_FOLDED_FROM = 3


def as_text(report: ModelReport) -> str:
    """The whole report, without a newline at its end."""
    return "\n".join(_lines(report))


def _lines(report: ModelReport) -> Iterator[str]:
    yield report["model"]
    if os.path.abspath(os.path.expanduser(report["model"])) != report["path"]:
        yield f"  {report['path']}"
    yield ""
    yield from fields(_model(report))
    if "ir_version" in report:
        yield from _graph(report)
    for title, files in (("Other ONNX files in the folder", report["onnx_files"]),):
        if files:
            yield f"\n{title}"
            yield from table((name, size(count)) for name, count in files.items())
            yield "  --file NAME looks into one of them."


def _model(report: ModelReport) -> Iterator[tuple[str, str | Sequence[str]]]:
    source = report["runs_from"]
    if source is None:
        yield "ironvec", f"does not run it: {report['why_not']}"
    else:
        yield "ironvec", f"runs it from {_SOURCES[source]}"
    if report.get("family"):
        yield "family", cast(str, report["family"])
    if "pooling" in report:
        yield from _vectors(report)
    elif report.get("modules"):
        yield "modules", ", ".join(report["modules"])
    if report["weights"]:
        yield "parameters", f"{report['parameters']:,}"
        amounts = report["weights"].items()
        counts = [
            (
                name,
                counted(amount["numbers"], "number"),
                size(amount["bytes"]),
                f"in {counted(amount['tensors'], 'tensor')}",
            )
            for name, amount in sorted(amounts, key=lambda item: -item[1]["bytes"])
        ]
        yield "by type", list(table(counts, indent="", right=(1, 2)))
    for path, count in report["weight_files"].items():
        yield "file", f"{os.path.basename(path)}  {size(count)}"


def _vectors(report: ModelReport) -> Iterator[tuple[str, str | Sequence[str]]]:
    known = report["dimension"]
    scaled = "scaled to length 1" if report["normalize"] else "not scaled"
    yield "dimension", f"{'known when it runs' if known is None else f'{known:,}'}, {scaled}"
    if report["layers"] is not None:
        yield "layers", str(report["layers"])
    aside = "" if report["include_prompt"] else ", the prompt's tokens left out"
    yield "pooling", " + ".join(report["pooling"]) + aside
    yield "modules", ", ".join(report["modules"]) or "no modules.json: pooling and scaling by the family"
    limit = report["max_length"]
    yield "max length", "no limit" if limit is None else counted(limit, "token")
    if report["vocabulary"] is not None:
        yield "vocabulary", counted(report["vocabulary"], "token") + (", lowercased" if report["lowercase"] else "")
    if report["prompts"]:
        default = report["default_prompt_name"]
        rows = (
            (f"{name}{' (default)' if name == default else ''}", quoted(text))
            for name, text in report["prompts"].items()
        )
        yield "prompts", [f"{name}: {text}" for name, text in rows]
    else:
        yield "prompts", "none"
    yield "compared by", report["similarity"]


def _graph(report: ModelReport) -> Iterator[str]:
    yield "\nONNX file"
    opsets = ", ".join(f"{domain} {version}" for domain, version in report["opsets"].items())
    pairs: list[tuple[str, str | Sequence[str]]] = [
        ("IR version", str(report["ir_version"])),
        ("producer", report["producer"] or "not named"),
        ("operator sets", opsets or "none"),
    ]
    for location, file in report["external_data"].items():
        pairs.append(("weights in", f"{location}: {_presence(file['bytes_needed'], file['bytes_there'])}"))
    yield from fields(pairs)
    for noun, values in (("input", report["inputs"]), ("output", report["outputs"])):
        yield f"\n{counted(len(values), noun)}"
        yield from table(folded(values))
    yield f"\n{counted(report['nodes'], 'node')}"
    yield from _operators(report["ops"])
    yield "\nCoreML"
    if "coreml_refused" in report:
        yield from wrapped(f"cannot be asked: {report['coreml_refused']}", "  ")
    else:
        yield from coreml_lines(cast("Inspection", report))


def _presence(needed: int, there: int | None) -> str:
    if there is None:
        return f"{size(needed)} needed, and the file is not there"
    if there < needed:
        return f"too short, {there:,} bytes of the {needed:,} needed"
    return f"{size(there)}, there and long enough"


def _operators(ops: dict[str, int]) -> Iterator[str]:
    domains: dict[str, list[tuple[int, str]]] = {}
    for name, count in ops.items():
        domain, _, operator = name.rpartition(":")
        domains.setdefault(domain or "ai.onnx", []).append((count, operator))
    for domain in sorted(domains, key=lambda name: (name != "ai.onnx", name)):
        ranked = sorted(domains[domain], key=lambda item: (-item[0], item[1]))
        listed = ", ".join(f"{count:,} {operator}" for count, operator in ranked)
        yield from wrapped(f"{domain}: {listed}", "  ", "    ")


def folded(values: Sequence[InspectedValue]) -> Iterator[tuple[str, str]]:
    """Name, and type and shape; values whose names differ by a number and a last word become one line.

    "past_key_values.0.key" to "past_key_values.27.value" of one shape are "56 x past_key_values.N.key/value".
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for value in values:
        name, about = described(value)
        pattern = re.sub(r"\d+", "N", name)
        stem = pattern.rpartition(".")[0] if "N" in pattern.rpartition(".")[0] else pattern
        groups.setdefault((stem if "N" in pattern else name, about), []).append(name)
    for (stem, about), names in groups.items():
        if len(names) < _FOLDED_FROM:
            yield from ((name, about) for name in names)
            continue
        ends = dict.fromkeys(re.sub(r"\d+", "N", name).removeprefix(stem).removeprefix(".") for name in names)
        end = "/".join(ends)
        yield f"{len(names)} \xd7 {stem}{'.' if end else ''}{end}", about
