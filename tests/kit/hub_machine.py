"""A machine with an empty Hugging Face cache, on which ironvec is started time and again.

Each start is a process of its own, as huggingface_hub reads its variables when it is imported.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ironvec import Embedder

TEXTS = ("the capital of france is paris", "", "cook pasta")

_START = """
import json, socket, sys
request = json.loads(sys.argv[1])
if request["no_sockets"]:
    def refuse(*arguments, **keywords):
        raise AssertionError("a socket was opened")
    # A class still, as libraries inherit from it.
    socket.socket = type("socket", (socket.socket,), {"__init__": refuse})
    socket.create_connection = socket.getaddrinfo = refuse
import ironvec
from ironvec import resolve
if request["registry"] is not None:
    resolve.registry = lambda: request["registry"]
try:
    model = ironvec.Embedder(request["model"], **request["keywords"])
    answer = {"rows": model.encode(request["texts"]).tolist(), "model_id": model.model_id, "prompts": model.prompts}
except Exception as error:
    answer = {"error": type(error).__name__, "message": str(error)}
answer["imported"] = "huggingface_hub" in sys.modules
print(json.dumps(answer))
"""


class Machine:
    """Its home is a folder; its hub is at `endpoint`."""

    def __init__(self, home: Path, endpoint: str) -> None:
        self.home, self.endpoint, self.cache = home, endpoint, home / "hf" / "hub"
        (home / "work").mkdir(parents=True)

    def start(
        self,
        model: object,
        *,
        texts: Sequence[str] = TEXTS,
        registry: Mapping[str, Any] | None = None,
        no_sockets: bool = False,
        environment: Mapping[str, str] | None = None,
        **keywords: Any,
    ) -> dict[str, Any]:
        """Loads the model and encodes the texts: what came out, or the error's type and message."""
        variables = {**self.variables(), **(environment or {})}
        request = {
            "model": str(model), "texts": texts, "keywords": keywords, "registry": registry, "no_sockets": no_sockets,
        }  # fmt: skip
        command = [sys.executable, "-c", _START, json.dumps(request)]
        done = subprocess.run(
            command, env=variables, cwd=self.home / "work", capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `ironvec`."""
        command = [sys.executable, "-m", "ironvec", *arguments]
        work = self.home / "work"
        return subprocess.run(command, env=self.variables(), cwd=work, capture_output=True, text=True, timeout=60)

    def variables(self) -> dict[str, str]:
        """The environment of what runs here."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "IRONVEC_"))
        }
        return {
            **kept, "HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "xdg"), "HF_HOME": str(self.home / "hf"),
            "HF_ENDPOINT": self.endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "127.0.0.1",
        }  # fmt: skip

    def snapshot(self, hub_id: str) -> Path:
        """The one snapshot of a repository in the cache."""
        (found,) = (self.cache / f"models--{hub_id.replace('/', '--')}" / "snapshots").iterdir()
        return found

    def forget_listings(self) -> None:
        """Leaves the snapshots as another tool would have fetched them: without ironvec's note of what there is."""
        for path in self.cache.glob("*/ironvec/*.json"):
            path.unlink()


def close(answer: Mapping[str, Any], folder: Path, **keywords: Any) -> None:
    """Whether a start gave the vectors of the published folder."""
    assert "error" not in answer, answer
    np.testing.assert_allclose(answer["rows"], Embedder(folder, **keywords).encode(list(TEXTS)), rtol=0, atol=1e-5)
