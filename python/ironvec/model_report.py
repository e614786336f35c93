"""What a model is made of and whether ironvec runs it, from the headers of its files: `ironvec.inspect`.

In: a name, a folder, an ONNX file. Out: one flat record, JSON as it is. Neither weights nor the tokenizer are read; a
model that is nowhere on disk is fetched first. A model that ironvec does not run is described as far as its files can
be read, and `why_not` says what is in the way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from . import _core
from ._core import ModelError, ProviderError
from .hub_cache import read_model_type, read_modules
from .inspection import inspect as inspect_graph
from .resolve import onnx_name, resolve

if TYPE_CHECKING:
    from ._core import Amount, Inspection

# Types of indices, axes and masks.
_NO_PARAMETERS = ("int64", "int32", "bool", "string")
_ONNX_PLACES = ("model.onnx", os.path.join("onnx", "model.onnx"))


class ExternalFile(TypedDict):
    """A file beside an ONNX file that holds tensors of it."""

    tensors: int
    bytes_needed: int
    bytes_there: int | None
    """None: the file is not there."""


class ModelReport(TypedDict, total=False):
    """What `inspect` finds. For a graph, all of `Inspection` is there too, if ONNX Runtime opens it."""

    model: str
    path: str
    """The ONNX file, or the checkpoint's folder."""
    runs_from: str | None
    """"checkpoint", "onnx", "static table"; None: not at all."""
    why_not: str | None
    family: str | None
    """`model_type` of config.json."""
    dimension: int | None
    layers: int | None
    pooling: list[str]
    modules: list[str]
    """The classes that modules.json names."""
    include_prompt: bool
    normalize: bool
    max_length: int | None
    vocabulary: int | None
    lowercase: bool
    prompts: dict[str, str]
    default_prompt_name: str | None
    similarity: str
    weights: dict[str, Amount]
    """By type. For a checkpoint what its files hold, for a graph its constants too."""
    parameters: int
    """Numbers in the weights, those for indices and axes left out."""
    weight_files: dict[str, int]
    """Path to bytes."""
    onnx_files: dict[str, int]
    """ONNX files of the folder that are not what runs: name to bytes."""
    ir_version: int
    producer: str
    opsets: dict[str, int]
    inputs: list[_core.InspectedValue]
    outputs: list[_core.InspectedValue]
    ops: dict[str, int]
    nodes: int
    external_data: dict[str, ExternalFile]
    coreml_refused: str
    """Why there is no report on CoreML for the graph."""


def inspect(
    model: str | os.PathLike[str],
    *,
    file_name: str | None = None,
    dimensions: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    static_shapes: bool = True,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> ModelReport:
    """Says what a model is made of, and whether ironvec runs it.

    Args:
        model: An alias, a folder, an ONNX file or a hub id, as for `Embedder`.
        file_name: An ONNX file of the folder or repository, instead of the checkpoint.
        dimensions, shapes, static_shapes: Sizes for a graph's dynamic dimensions, as for `ironvec.inspection.inspect`.
        revision, cache_dir, local_files_only, token: As for `Embedder`.

    Raises:
        FileNotFoundError: There is no such model.
        ModelError: A file that was named is no ONNX model, or the weights' headers are broken.
        ValueError: A dimension or input that the graph does not have.
    """
    chosen = onnx_name(file_name)
    if _is_onnx_file(model):
        folder, name = os.path.abspath(os.path.expanduser(os.fspath(model))), os.fspath(model)
        prompts: dict[str, str] = {}
    else:
        found = resolve(
            model, revision=revision, cache_dir=cache_dir, file_name=chosen, local_files_only=local_files_only,
            token=token,
        )  # fmt: skip
        folder, name, prompts = found.folder, found.model_id, found.prompts
    report = _of_model(folder, chosen)
    report["model"] = name
    if report["runs_from"] is not None:
        report["prompts"] = {**prompts, **report["prompts"]}
    graph = _graph(folder, chosen, report)
    if graph is None:
        report |= _of_weights(folder, report)
    else:
        report["path"] = graph
        report |= _of_graph(graph)
        try:
            taken: Inspection = inspect_graph(graph, dimensions=dimensions, shapes=shapes, static_shapes=static_shapes)
            report |= taken  # type: ignore[typeddict-item]
        except (ModelError, ProviderError) as error:
            report["coreml_refused"] = str(error)
    report["parameters"] = sum(
        amount["numbers"] for name, amount in report["weights"].items() if name not in _NO_PARAMETERS
    )
    _refuse_what_lacks(report)
    report["onnx_files"] = _other_onnx_files(folder, report["path"])
    return report


def _is_onnx_file(model: str | os.PathLike[str]) -> bool:
    """Whether a file is named, there or not; a device or a pipe is refused as a file."""
    path = os.path.expanduser(os.fspath(model))
    return not os.path.isdir(path) and (path.endswith(".onnx") or (os.path.exists(path) and not os.path.isfile(path)))


def _folder_of(file: str) -> str:
    """The model's folder: exporters keep `model.onnx` beside `tokenizer.json` or one folder below."""
    beside = os.path.dirname(file)
    return beside if os.path.exists(os.path.join(beside, "tokenizer.json")) else os.path.dirname(beside)


def _of_model(folder: str, file_name: str | None) -> ModelReport:
    base = folder if os.path.isdir(folder) else _folder_of(folder)
    report: ModelReport = {"path": folder, "runs_from": None, "why_not": None}
    try:
        modules = read_modules(base)
        report["modules"] = [module.kind or "not sentence-transformers'" for module in modules]
        report["family"] = read_model_type(base, modules)
        facts: dict[str, Any] = {**_core.model_facts(folder, file_name)}
    except (ModelError, FileNotFoundError) as error:
        report["why_not"] = str(error)
        return report
    tokenizer = os.path.join(facts.pop("tokenizer_folder"), "tokenizer.json")
    report |= facts  # type: ignore[typeddict-item]
    report["path"] = os.path.normpath(report["path"])
    if not os.path.isfile(tokenizer):
        looked = tokenizer if os.path.isdir(folder) else "tokenizer.json, beside the ONNX file or in the folder above"
        report["why_not"] = f"{looked}: no such file; texts are tokenized by it"
    return report


def _graph(folder: str, file_name: str | None, report: ModelReport) -> str | None:
    """The ONNX file to look into, if the model is one."""
    if report["runs_from"] is not None:
        return report["path"] if report["runs_from"] == "onnx" else None
    if not os.path.isdir(folder):
        return folder
    places = (file_name,) if file_name is not None else _ONNX_PLACES
    paths = [os.path.join(folder, *place.split("/")) for place in places]
    return next((path for path in paths if os.path.isfile(path)), None)


def _of_weights(folder: str, report: ModelReport) -> ModelReport:
    try:
        facts = _core.weight_facts(report["path"] if report["runs_from"] is not None else folder)
    except (ModelError, FileNotFoundError) as error:
        report["why_not"] = report["why_not"] or str(error)
        return {"weights": {}, "weight_files": {}}
    files = {path: os.path.getsize(path) for path in facts["files"]}
    return {"weights": facts["weights"], "weight_files": files}


def _of_graph(path: str) -> ModelReport:
    facts: dict[str, Any] = {**_core.graph_facts(path)}
    folders = dict.fromkeys(os.path.dirname(place) for place in (path, os.path.realpath(path)))
    for location, file in facts["external_data"].items():
        file["bytes_there"] = next(
            (there for folder in folders if (there := _size_of(folder, location)) is not None), None
        )
    report: ModelReport = {"weight_files": {path: os.path.getsize(path)}}
    report |= facts  # type: ignore[typeddict-item]
    return report


def _size_of(folder: str, location: str) -> int | None:
    path = os.path.join(folder, location)
    return os.path.getsize(path) if location and os.path.isfile(path) else None


def _refuse_what_lacks(report: ModelReport) -> None:
    """A model whose data files are not whole does not run, whatever else is right with it."""
    for location, file in report.get("external_data", {}).items():
        there = file["bytes_there"]
        if report["why_not"] is None and (there is None or there < file["bytes_needed"]):
            found = "not there" if there is None else f"has {there:,} bytes of the {file['bytes_needed']:,} it needs"
            report["why_not"] = f"{location}, which holds {file['tensors']:,} of its tensors: {found}"
    if report["why_not"] is not None:
        report["runs_from"] = None


def _other_onnx_files(folder: str, path: str) -> dict[str, int]:
    if not os.path.isdir(folder):
        return {}
    found = {}
    for place in ("", "onnx"):
        inner = os.path.join(folder, place)
        names = sorted(os.listdir(inner)) if os.path.isdir(inner) else []
        for name in names:
            full = os.path.join(inner, name)
            if name.endswith(".onnx") and os.path.isfile(full) and os.path.abspath(full) != os.path.abspath(path):
                found[f"{place}/{name}" if place else name] = os.path.getsize(full)
    return found
