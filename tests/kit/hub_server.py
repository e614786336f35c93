"""A Hugging Face hub in a thread, on 127.0.0.1: as much of its API as a download needs.

`HubServer(repositories)` serves folders of files by repository id and keeps a list of what was asked. What goes wrong
is set on the object: `refusals` (an id to a status and an error code), `cut_after` (a file to the bytes after which its
transfer breaks off), `down` (files that answer 503).
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

MODEL = re.compile(r"/api/models/(?P<id>[^/]+/[^/]+)(/(?P<what>revision|tree)/(?P<revision>[^/]+))?/?")
FILE = re.compile(r"/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class Repository:
    """The files of a folder, and revisions of it that differ in nothing but their content."""

    def __init__(self, folder: Path, revisions: Mapping[str, Path] | None = None) -> None:
        folders = {"main": folder, **(revisions or {})}
        self.commits = {name: hashlib.sha1(str(where).encode()).hexdigest() for name, where in folders.items()}
        self.folders = {self.commits[name]: where for name, where in folders.items()}

    def commit(self, revision: str) -> str | None:
        return revision if revision in self.folders else self.commits.get(revision)

    def files(self, commit: str) -> dict[str, bytes]:
        folder = self.folders[commit]
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


class HubServer:
    """Serves until it is closed; `requests` are (method, path) in the order they came."""

    def __init__(self, repositories: Mapping[str, Repository]) -> None:
        self.repositories = dict(repositories)
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self.refusals: dict[str, tuple[int, str]] = {}
        self.cut_after: dict[str, int] = {}
        self.down: set[str] = set()
        server = self

        class Handler(_Handler):
            hub = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def fetched(self) -> set[str]:
        """The files whose content was asked for since the last `forget`."""
        asked = (FILE.fullmatch(path) for method, path in self.requests if method == "GET")
        return {match["file"] for match in asked if match}

    def named(self) -> set[str]:
        """The files whose content or metadata was asked for."""
        return {match["file"] for _, path in self.requests if (match := FILE.fullmatch(path))}

    def forget(self) -> None:
        self.requests.clear()
        self.tokens.clear()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        self.hub.tokens.add(self.headers.get("Authorization"))
        match = MODEL.fullmatch(path) or FILE.fullmatch(path)
        found = match.groupdict() if match else {}
        if found.get("id") in self.hub.refusals:
            return self._refuse(*self.hub.refusals[found["id"]])
        repository = self.hub.repositories.get(found.get("id", ""))
        if repository is None:
            return self._refuse(404, "RepoNotFound")
        commit = repository.commit(found["revision"] or "main")
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        files = repository.files(commit)
        if "file" in found:
            return self._send_file(found["file"], commit, files)
        if found["what"] == "tree":
            return self._send_json([_tree_entry(name, data) for name, data in files.items()])
        model = {"_id": "1", "id": found["id"], "modelId": found["id"], "sha": commit, "private": False, "tags": []}
        self._send_json({**model, "siblings": [{"rfilename": name} for name in files], "downloads": 0, "likes": 0})

    def _send_file(self, name: str, commit: str, files: Mapping[str, bytes]) -> None:
        if name not in files:
            return self._refuse(404, "EntryNotFound")
        if self.command == "GET" and name in self.hub.down:
            return self._refuse(503, "")
        data, headers = files[name], {"ETag": f'"{_digest(files[name])}"', "X-Repo-Commit": commit}
        start, status = 0, 200
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            start, end = int(asked[1]), int(asked[2] or len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            status, data = 206, data[start : end + 1]
        self._head(status, {**headers, "Accept-Ranges": "bytes", "Content-Length": str(len(data))})
        if self.command == "HEAD":
            return
        cut = self.hub.cut_after.pop(name, None)
        if cut is None:
            self.wfile.write(data)
            return
        # Fewer bytes than announced, and the connection closed.
        self.wfile.write(data[:cut])
        self.wfile.flush()
        self.close_connection = True

    def _send_json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(data))})
        if self.command == "GET":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str) -> None:
        self._head(status, {"X-Error-Code": code, "X-Error-Message": code, "Content-Length": "0"})

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _digest(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _tree_entry(name: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(data), "oid": _digest(data)}


def write_ballast(folder: Path, names: Iterable[str]) -> None:
    """Files that repositories hold and ironvec has no use for."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"of no use: " + name.encode())
