"""Snapshots in the Hugging Face cache: which files of a repository a model needs, and whether a snapshot has them.

In: a cache folder, a repository, a revision. Out: the snapshot's folder and the files it lacks. No network. What a
repository holds is remembered beside its snapshots (`ironvec/<commit>.json`): from the files on disk alone, a model
without modules.json and one whose modules.json never arrived look the same, and would pool differently.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from ._core import ModelError, model_types
from .cache_files import write_whole

# Where a repository keeps the export of a model that does not run from its checkpoint (src/checkpoint/onnx_file.rs).
_ONNX_PLACES = ("model.onnx", "onnx/model.onnx")
_TRANSFORMER_FILES = ("config.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json")
_ROOT_FILES = ("modules.json", "config_sentence_transformers.json")
# The modules after the first whose folders hold tensors, and those that hold a config.json (src/checkpoint/head.rs).
_WITH_WEIGHTS = ("Dense", "LayerNorm")
_WITH_CONFIG = ("Pooling", *_WITH_WEIGHTS)
# In the order of preference, as the loader has it: a file, or the index of several, and what those are called.
_FORMATS = (
    ("model.safetensors", re.compile(r"model-\d+-of-\d+\.safetensors")),
    ("pytorch_model.bin", re.compile(r"pytorch_model-\d+-of-\d+\.bin")),
)


class Repository(NamedTuple):
    """A model repository of the hub, as one call wants it."""

    hub_id: str
    revision: str
    cache: str
    file_name: str | None

    @property
    def folder(self) -> str:
        return os.path.join(self.cache, "models--" + self.hub_id.replace("/", "--"))


class Module(NamedTuple):
    """One entry of modules.json."""

    kind: str  # The class's name; empty for one that is not sentence-transformers'.
    base: str  # What its files' names begin with: "1_Pooling/", or nothing where they lie beside modules.json.


class Snapshot(NamedTuple):
    folder: str
    missing: list[str]
    # Whether `missing` is known to be all. Where it is not, the hub is asked, if it may be.
    certain: bool


def hub_cache(cache_dir: str | os.PathLike[str] | None) -> str:
    """The hub's cache folder, by the variables of huggingface_hub/constants.py and in their order."""
    if cache_dir is not None:
        return os.path.abspath(os.path.expanduser(os.fspath(cache_dir)))
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if configured := os.environ.get(variable):
            return os.path.abspath(os.path.expandvars(os.path.expanduser(configured)))
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"), "huggingface")
    return os.path.abspath(os.path.join(os.path.expandvars(os.path.expanduser(home)), "hub"))


def is_plain(name: str) -> bool:
    """Whether a name stays inside the folder it is looked for in: no "..", no root, no drive, no home."""
    if "\0" in name or "\\" in name or name.startswith("~") or os.path.splitdrive(name)[0]:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def read_modules(folder: str) -> list[Module]:
    """What modules.json names; nothing where there is none, or none that the loader would take.

    Raises:
        ModelError: a module's folder is outside the model's.
    """
    path = os.path.join(folder, "modules.json")
    entries = _read_json(path)
    modules = []
    for position, entry in enumerate(entries if isinstance(entries, list) else ()):
        kind, place = (entry.get("type"), entry.get("path")) if isinstance(entry, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(place, str):
            return []
        inner = "/".join(part for part in place.split("/") if part not in ("", "."))
        if place.startswith("/") or (inner and not is_plain(inner)):
            found = json.dumps(place)
            raise ModelError(f"{path}: module {position}: path is {found}; supported: a folder inside the model's")
        own = kind.startswith("sentence_transformers.")
        modules.append(Module(kind.rpartition(".")[2] if own else "", f"{inner}/" if inner else ""))
    return modules


def description_files(listing: Collection[str], modules: Sequence[Module]) -> list[str]:
    """What describes a model, out of all files of its repository: everything but the weights of its first module.

    Those of later modules are small beside them, and the loader reads them whatever runs the first.
    """
    base = _first_folder(modules)
    wanted = {*_ROOT_FILES, *(base + name for name in _TRANSFORMER_FILES)}
    for module in modules[1:]:
        wanted.add(f"{module.base}config.json")
        if module.kind in _WITH_WEIGHTS:
            wanted.update(_weights_in(module.base, listing))
    return sorted(name for name in listing if name in wanted)


def weight_files(
    listing: Collection[str], modules: Sequence[Module], file_name: str | None, model_type: str | None
) -> list[str]:
    """The weights, out of all files of a repository; none where it has none that can be run.

    Raises:
        FileNotFoundError: the repository has no `file_name`.
    """
    base = _first_folder(modules)
    if file_name is not None:
        if file_name not in listing:
            there = ", ".join(sorted(name for name in listing if name.endswith(".onnx"))) or "none"
            raise FileNotFoundError(f"file_name={file_name!r} is not in the repository; its ONNX files: {there}")
        return _with_data(file_name, listing)
    # An architecture that only an export could run is not worth its gigabytes: the loader refuses it by config.json.
    if (_is_static(modules) or can_run_checkpoint(model_type)) and (found := _weights_in(base, listing)):
        return found
    exports = [base + place for place in _ONNX_PLACES if base + place in listing]
    return _with_data(exports[0], listing) if exports else []


def _weights_in(base: str, listing: Collection[str]) -> list[str]:
    """The files of the first format that a folder has."""
    for single, shard in _FORMATS:
        if base + single in listing:
            return [base + single]
        if f"{base}{single}.index.json" in listing:
            shards = (name for name in listing if name.startswith(base) and shard.fullmatch(name[len(base) :]))
            return [f"{base}{single}.index.json", *sorted(shards)]
    return []


def read_model_type(folder: str, modules: Sequence[Module]) -> str | None:
    """The architecture that config.json names, if it can be read; the loader says what is wrong with it."""
    config = _read_json(os.path.join(folder, *f"{_first_folder(modules)}config.json".split("/")))
    found = config.get("model_type") if isinstance(config, dict) else None
    return found if isinstance(found, str) else None


def can_run_checkpoint(model_type: str | None) -> bool:
    """Whether an architecture runs from its checkpoint; where none is named, the loader says what is wrong."""
    return model_type is None or model_type in (*model_types(), "model2vec")


def absent(folder: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if not os.path.isfile(os.path.join(folder, *name.split("/")))]


def find_snapshot(repository: Repository, published: Collection[str]) -> Snapshot | str:
    """The snapshot of a revision and what it lacks; a line that says why there is none otherwise.

    `published` are files that the registry knows the repository to have: all of them are needed, but for weights that
    another file is run in place of.

    Raises:
        FileNotFoundError: the repository has no `file_name`.
        ModelError: the snapshot's modules.json leads out of it.
    """
    if not os.path.isdir(repository.folder):
        return f"{repository.folder}: not in the Hugging Face cache"
    commit = repository.revision
    try:
        with open(os.path.join(repository.folder, "refs", *commit.split("/")), encoding="ascii") as file:
            commit = file.read(256).strip()
    except (OSError, UnicodeDecodeError):
        pass  # Not the name of a branch or tag: it may be a commit.
    folder = os.path.join(repository.folder, "snapshots", commit)
    if not is_plain(commit) or "/" in commit or not os.path.isdir(folder):
        revision = repository.revision
        return f"{repository.folder}: in the Hugging Face cache, without a snapshot of revision {revision!r}"

    modules = read_modules(folder)
    listing = _read_json(_listing_file(repository, commit))
    if isinstance(listing, list) and all(isinstance(name, str) for name in listing):
        needed = description_files(listing, modules)
        needed += weight_files(listing, modules, repository.file_name, read_model_type(folder, modules))
        return Snapshot(folder, absent(folder, needed), True)
    missing, certain = _what_lacks(folder, modules, repository.file_name)
    replaced = set() if repository.file_name is None else set(_weights_in(_first_folder(modules), published))
    lacks = [name for name in absent(folder, sorted(published)) if name not in replaced and name not in missing]
    return Snapshot(folder, missing + lacks, certain)


def remember_listing(repository: Repository, commit: str, listing: Collection[str]) -> None:
    """Keeps what a repository holds, before any of it is fetched: a download that breaks off is then known as such."""
    path = _listing_file(repository, commit)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_whole(path, json.dumps(sorted(listing), indent=1))


def _what_lacks(folder: str, modules: Sequence[Module], file_name: str | None) -> tuple[list[str], bool]:
    """What a snapshot that somebody else fetched lacks, by its modules.json, and whether that is all.

    Without modules.json it is never known to be: a model fetched by transformers has none, though the repository may.
    """
    on_disk = [
        os.path.relpath(os.path.join(root, name), folder).replace(os.sep, "/")
        for root, _, names in os.walk(folder)
        for name in names
    ]
    if not modules:
        return ([] if file_name is None else absent(folder, [file_name])), False
    base = _first_folder(modules)
    needed = [f"{base}tokenizer.json", *([] if _is_static(modules) else [f"{base}config.json"])]
    needed += [f"{module.base}config.json" for module in modules if module.kind in _WITH_CONFIG]
    for module in modules[1:]:
        if module.kind in _WITH_WEIGHTS:
            needed += _whole_weights(folder, _weights_in(module.base, on_disk), module.base)
    # The data files of an export are not known from its name alone.
    if file_name is not None:
        return absent(folder, [*needed, file_name]), False
    model_type = read_model_type(folder, modules)
    weights = weight_files(on_disk, modules, None, model_type)
    runs = _is_static(modules) or can_run_checkpoint(model_type)
    if weights or runs:
        needed += _whole_weights(folder, weights, base)
    missing = absent(folder, needed)
    return missing, not missing and bool(weights) and not weights[0].endswith(".onnx")


def _whole_weights(folder: str, weights: list[str], base: str) -> list[str]:
    """The weights of a folder and the shards that their index names; the usual file where there are none."""
    if not weights:
        return [base + _FORMATS[0][0]]
    index = _read_json(os.path.join(folder, *weights[0].split("/"))) if weights[0].endswith(".index.json") else None
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict):
        return weights
    # The loader refuses any other name; here it must only not be looked for outside.
    names = {shard for shard in shards.values() if isinstance(shard, str) and is_plain(shard)}
    return [weights[0], *sorted(base + name for name in names)]


def _first_folder(modules: Sequence[Module]) -> str:
    """Early sentence-transformers put the transformer into a folder of its own."""
    return modules[0].base if modules else ""


def _is_static(modules: Sequence[Module]) -> bool:
    """Whether the model is a table of token vectors, which has no config.json."""
    return bool(modules) and modules[0].kind == "StaticEmbedding"


def _with_data(export: str, listing: Collection[str]) -> list[str]:
    """An ONNX file and those that hold its tensors: model.onnx_data, model.onnx_data_1, model.onnx.data."""
    return [export, *sorted(name for name in listing if name.startswith((f"{export}_data", f"{export}.data")))]


def _listing_file(repository: Repository, commit: str) -> str:
    return os.path.join(repository.folder, "ironvec", f"{commit}.json")


def _read_json(path: str) -> object:
    try:
        with open(path, encoding="utf-8") as file:
            content: object = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return content
