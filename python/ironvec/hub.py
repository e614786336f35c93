"""Fetches a model from the Hugging Face hub into the shared cache, with huggingface_hub, imported only then.

In: a repository that the cache lacks, or has in part. Out: the folder of its snapshot with every file a model needs,
and none else. Never a part of a file: huggingface_hub moves a file into the snapshot when all its bytes are there.
Refuses: a repository that needs a token (`PermissionError`), a transfer that breaks off (`ConnectionError`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape

from .cache_files import write_whole
from .hub_cache import (
    Repository,
    absent,
    can_run_checkpoint,
    description_files,
    is_plain,
    read_model_type,
    read_modules,
    remember_listing,
    weight_files,
)

_HUB_ID = re.compile(r"[A-Za-z0-9._-]{1,96}(/[A-Za-z0-9._-]{1,96})?")
_TRUE = ("1", "ON", "YES", "TRUE")
# The packages whose errors huggingface_hub lets through, by release: httpx, later httpx2.
_TRANSPORTS = ("httpx", "httpx2", "httpcore", "httpcore2", "hf_xet")
# Tries at a file that the server cuts short, each from what has arrived: huggingface_hub 1.0 leaves that to callers,
# later releases go on by themselves.
_ATTEMPTS = 3


class NotOnHub(Exception):
    """The hub has no such repository or revision, or says so to those who may not see it."""


def why_not(local_files_only: bool) -> str | None:
    """Why nothing may be fetched, or None. Imports nothing and opens nothing."""
    from importlib.util import find_spec

    if local_files_only:
        return "not asked, local_files_only=True"
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in _TRUE:
            return f"not asked, {variable} is set"
    if find_spec("huggingface_hub") is None:
        return "not asked, huggingface_hub is not installed; `pip install huggingface_hub` lets ironvec download"
    return None


def is_hub_id(name: str) -> bool:
    return _HUB_ID.fullmatch(name) is not None and ".." not in name and "--" not in name


def fetch(repository: Repository, token: str | bool | None) -> str:
    """Downloads what a model needs and the cache lacks.

    Raises:
        NotOnHub: no such repository or revision.
        FileNotFoundError: the repository lacks the file asked for.
        PermissionError: the repository is gated or private, or the token is refused.
        ConnectionError: the hub cannot be reached, or a transfer broke off; what came is kept and resumed.
        ModelError: modules.json leads out of the repository.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import ENDPOINT

    endpoint = str(ENDPOINT)
    with _explained(repository, endpoint):
        # endpoint=None would take the same one; named, so that what an error names is what was asked.
        api = HfApi(endpoint=endpoint, token=token, library_name="ironvec")
        info = api.model_info(repository.hub_id, revision=repository.revision)
        commit = info.sha or ""
        listing = [file.rfilename for file in info.siblings or () if is_plain(file.rfilename)]
        if not is_plain(commit) or "/" in commit:
            raise ConnectionError("the hub does not say which commit it holds")

        def download(names: list[str]) -> str:
            attempt = 1
            while True:
                try:
                    # By commit, so that all files are of one version whatever is pushed meanwhile.
                    return api.snapshot_download(
                        repository.hub_id,
                        revision=commit,
                        cache_dir=repository.cache,
                        allow_patterns=[escape(name) for name in names],
                    )
                except Exception as error:
                    if attempt == _ATTEMPTS or not _was_cut(error):
                        raise
                    attempt += 1

        remember_listing(repository, commit, listing)
        # First the file that names the folders of the others.
        folder = download(["modules.json"]) if "modules.json" in listing else ""
        modules = read_modules(folder) if folder else []
        needed = description_files(listing, modules)
        folder = download(needed) if needed else ""
        model_type = read_model_type(folder, modules) if folder else None
        weights = weight_files(listing, modules, repository.file_name, model_type)
        if weights:
            folder = download(weights)
        elif can_run_checkpoint(model_type):
            raise FileNotFoundError(
                f"{endpoint}/{repository.hub_id} has neither model.safetensors nor pytorch_model.bin nor an ONNX "
                "export (model.onnx, onnx/model.onnx); file_name= names another"
            )
        # With the hub out of reach, huggingface_hub may return a snapshot as it is.
        if missing := absent(folder, needed + weights):
            raise ConnectionError(f"{', '.join(missing)} did not arrive")
        if repository.revision != commit:
            _point_to(repository, commit)
    return folder


def _point_to(repository: Repository, commit: str) -> None:
    """Lets the branch or tag lead to the commit, once that is whole."""
    path = os.path.join(repository.folder, "refs", *repository.revision.split("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_whole(path, commit)


@contextmanager
def _explained(repository: Repository, endpoint: str) -> Iterator[None]:
    """huggingface_hub's errors as Python's own, by what the user can do."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    asked = f"{repository.hub_id} from {endpoint}"
    try:
        yield
    except HfHubHTTPError as error:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        code = "" if response is None else response.headers.get("X-Error-Code", "")
        # To those without a token the hub says 401 and RepoNotFound of what does not exist, too.
        if status == 404 or (code in ("RepoNotFound", "RevisionNotFound") and not isinstance(error, GatedRepoError)):
            what = f"no revision {repository.revision!r}" if code == "RevisionNotFound" else "not there"
            hidden = "" if code == "RevisionNotFound" else ", or private: token= shows it to those who may see it"
            raise NotOnHub(f"{endpoint}/{repository.hub_id}: {what}{hidden}") from error
        if status in (401, 403):
            raise PermissionError(
                f"{asked}: refused ({status}); the model is private or gated, or the token is not valid. Ask for "
                f"access at {endpoint}/{repository.hub_id} and pass token=, or log in with `hf auth login`"
            ) from error
        raise ConnectionError(f"{asked}: the hub answered {status}; try again later") from error
    except Exception as error:
        # LocalEntryNotFoundError: the hub fell silent, and the cache has nothing instead.
        if not isinstance(error, LocalEntryNotFoundError) and not _is_transfer_error(error):
            raise
        raise ConnectionError(
            f"{asked}: {_said(error)}. Nothing in part is used, and the next start goes on from what has arrived; "
            "local_files_only=True takes only what is on disk"
        ) from error


def _is_transfer_error(error: Exception) -> bool:
    if isinstance(error, OSError):
        # Without a number it is huggingface_hub's own (a size that is not the announced one); with one, the disk's.
        mine = isinstance(error, (FileNotFoundError, PermissionError))
        return isinstance(error, (ConnectionError, TimeoutError)) or (error.errno is None and not mine)
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    return any(name.split(".")[0] in _TRANSPORTS or name.endswith(".XetDownloadError") for name in names)


def _was_cut(error: Exception) -> bool:
    """Whether the server closed the connection before the end of what it had announced."""
    return any(kind.__name__ == "RemoteProtocolError" for kind in type(error).__mro__)


def _said(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
