"""Snapshots in the Hugging Face cache: which files of a repository a model needs, and whether a snapshot has them.

In: a cache folder, a repository, a revision. Out: the snapshot's folder and the files it lacks. No network. What a
repository holds is remembered beside its snapshots (`ironvec/<commit>.json`): from the files on disk alone, a model
without modules.json and one whose modules.json never arrived look the same, and would pool differently.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from ._core import model_types
from .cache_files import write_whole

# The architectures that run from safetensors (src/model/mod.rs); for others, a repository's ONNX export is taken.
_ONNX_PLACES = ("model.onnx", "onnx/model.onnx")
_TRANSFORMER_FILES = ("config.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json")
_ROOT_FILES = ("modules.json", "config_sentence_transformers.json")
# "1_Pooling/config.json": sentence-transformers numbers the folders of its modules.
_MODULE_CONFIG = re.compile(r"\d+_\w+/config\.json")
# Of modules after the pooling, small beside the model: fetched with what describes it, one format of each.
_MODULE_WEIGHTS = re.compile(r"(\d+_\w+)/(model\.safetensors|pytorch_model\.bin|tokenizer\.json)")
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


def description_files(listing: Collection[str]) -> list[str]:
    """What describes a model, out of all files of its repository: everything but the weights."""
    base = _transformer_folder(listing)
    wanted = {*_ROOT_FILES, *(base + name for name in _TRANSFORMER_FILES)}
    return sorted(
        name for name in listing if name in wanted or _MODULE_CONFIG.fullmatch(name) or _of_module(name, base, listing)
    )


def _of_module(name: str, base: str, listing: Collection[str]) -> bool:
    """Whether a file holds a module's tensors or tokens, and no better one does."""
    found = _MODULE_WEIGHTS.fullmatch(name)
    if found is None or name.startswith(base or "0_Transformer/"):
        return False
    return not name.endswith(".bin") or f"{found[1]}/model.safetensors" not in listing


def weight_files(listing: Collection[str], file_name: str | None, model_type: str | None) -> list[str]:
    """The weights, out of all files of a repository; none where it has none that can be run.

    Raises:
        FileNotFoundError: the repository has no `file_name`.
    """
    base = _transformer_folder(listing)
    if file_name is not None:
        if file_name not in listing:
            there = ", ".join(sorted(name for name in listing if name.endswith(".onnx"))) or "none"
            raise FileNotFoundError(f"file_name={file_name!r} is not in the repository; its ONNX files: {there}")
        return _with_data(file_name, listing)
    # An architecture that only an export could run is not worth its gigabytes: the loader refuses it by config.json.
    if can_run_checkpoint(model_type):
        for single, shard in _FORMATS:
            if base + single in listing:
                return [base + single]
            if f"{base}{single}.index.json" in listing:
                shards = (name for name in listing if name.startswith(base) and shard.fullmatch(name[len(base) :]))
                return [f"{base}{single}.index.json", *sorted(shards)]
    exports = [base + place for place in _ONNX_PLACES if base + place in listing]
    return _with_data(exports[0], listing) if exports else []


def read_model_type(folder: str, listing: Collection[str]) -> str | None:
    """The architecture that config.json names, if it can be read; the loader says what is wrong with it."""
    config = _read_json(os.path.join(folder, *f"{_transformer_folder(listing)}config.json".split("/")))
    found = config.get("model_type") if isinstance(config, dict) else None
    return found if isinstance(found, str) else None


def can_run_checkpoint(model_type: str | None) -> bool:
    """Whether safetensors are of use; an unreadable config.json leaves it to the loader to say what is wrong."""
    return model_type is None or model_type in (*model_types(), "model2vec")


def absent(folder: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if not os.path.isfile(os.path.join(folder, *name.split("/")))]


def find_snapshot(repository: Repository, registry_files: Collection[str]) -> Snapshot | str:
    """The snapshot of a revision and what it lacks; a line that says why there is none otherwise."""
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

    listing = _read_json(_listing_file(repository, commit))
    if isinstance(listing, list) and all(isinstance(name, str) for name in listing):
        needed = description_files(listing)
        needed += weight_files(listing, repository.file_name, read_model_type(folder, listing))
        return Snapshot(folder, absent(folder, needed), True)
    if repository.file_name is not None:
        # The data files that belong to it are not known.
        described = [name for name in registry_files if ".safetensors" not in name]
        return Snapshot(folder, absent(folder, [*described, repository.file_name]), False)
    if registry_files:
        return Snapshot(folder, absent(folder, registry_files), True)
    return Snapshot(folder, [], _looks_whole(folder))


def remember_listing(repository: Repository, commit: str, listing: Collection[str]) -> None:
    """Keeps what a repository holds, before any of it is fetched: a download that breaks off is then known as such."""
    path = _listing_file(repository, commit)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_whole(path, json.dumps(sorted(listing), indent=1))


def _looks_whole(folder: str) -> bool:
    """Whether a snapshot that somebody else fetched holds a whole sentence-transformers model.

    Its modules.json must be there: a model fetched by transformers has none, though the repository may.
    """
    modules = _read_json(os.path.join(folder, "modules.json"))
    if not isinstance(modules, list):
        return False
    paths = [module.get("path") for module in modules if isinstance(module, dict)]
    on_disk = [
        os.path.relpath(os.path.join(root, name), folder).replace(os.sep, "/")
        for root, _, names in os.walk(folder)
        for name in names
    ]
    base = _transformer_folder(on_disk)
    needed = [f"{base}config.json", f"{base}tokenizer.json"]
    needed += [f"{path}/config.json" for path in paths if isinstance(path, str) and "Pooling" in path]
    weights = weight_files(on_disk, None, read_model_type(folder, on_disk))
    for index_file in (name for name in weights if name.endswith(".index.json")):
        index = _read_json(os.path.join(folder, *index_file.split("/")))
        shards = index.get("weight_map") if isinstance(index, dict) else None
        if isinstance(shards, dict):
            needed += {f"{base}{shard}" for shard in shards.values()}
    # The data files of an export are not known from its name alone.
    return not absent(folder, needed) and bool(weights) and not weights[0].endswith(".onnx")


def _transformer_folder(listing: Collection[str]) -> str:
    """Early sentence-transformers put the transformer into a folder of its own."""
    return "0_Transformer/" if "config.json" not in listing and "0_Transformer/config.json" in listing else ""


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
