"""Where models with a short name are on this machine, without a connection and without reading their weights.

In: the registry. Out: for each alias a folder, or None. Looked for where `Embedder` looks: model folders, installed
packages, the Hugging Face cache.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ._core import ModelError
from .hub_cache import Repository, Snapshot, find_snapshot, hub_cache
from .resolve import in_model_folders, package_folder

if TYPE_CHECKING:
    from ._core import RegistryEntry


def place_of(alias: str, entry: RegistryEntry, cache_dir: str | os.PathLike[str] | None = None) -> str | None:
    """The folder that `Embedder(alias)` would take, were it asked now, offline; digests are left to the load."""
    found = in_model_folders((alias, entry["hub_id"]), []) or package_folder(entry)
    if found is not None:
        return found
    repository = Repository(entry["hub_id"], "main", hub_cache(cache_dir), None)
    try:
        snapshot = find_snapshot(repository, entry["sha256"])
    except (ModelError, FileNotFoundError):
        return None  # A snapshot that leads out of itself: whoever loads it is told.
    return snapshot.folder if isinstance(snapshot, Snapshot) and not snapshot.missing else None
