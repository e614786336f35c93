"""`ironvec download`: fetches models into the Hugging Face cache, for `Embedder` to find.

In: aliases or hub ids. Out: where each is. What broke off goes on from what has arrived; where the registry has
digests, the files are held against them. A model that is here already, whole, is not fetched again.
"""

from __future__ import annotations

import argparse
import json
import os
import time

from ..plain_text import size
from ..terminal import show
from .opening import usage_errors

HELP = "fetch a model, so that it is here when it is needed"

_EXAMPLES = """\
examples:
  ironvec download minilm
  ironvec download qwen3 bge-small           one after the other
  ironvec download org/name --revision v1.0  any model of the Hugging Face hub
  ironvec download org/name --file onnx/model_fp16.onnx
  HF_TOKEN=... ironvec download embeddinggemma

A download that broke off goes on where it stopped: give the command again.
Only what ironvec reads is fetched: no other framework's weights, no READMEs.

exit codes: 0 here, 1 files that are not the published ones, 2 no such model, or
the hub cannot be reached
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("models", metavar="NAME", nargs="+", help="alias or hub id")
    parser.add_argument("--revision", metavar="NAME", help="branch, tag or commit (default: main)")
    parser.add_argument("--file", metavar="NAME", help="an ONNX file of the repository, instead of the checkpoint")
    parser.add_argument("--cache-dir", metavar="FOLDER", help="instead of the Hugging Face cache")
    parser.add_argument("--json", action="store_true", help="print what was fetched as JSON")


def run(options: argparse.Namespace) -> int:
    from .._core import registry
    from ..resolve import onnx_name, resolve

    digests = {entry["hub_id"]: entry["sha256"] for entry in registry().values()}
    found = []
    for name in options.models:
        started = time.perf_counter()
        with usage_errors():
            model = resolve(
                name, revision=options.revision, cache_dir=options.cache_dir, file_name=onnx_name(options.file)
            )
        # A revision that was asked for may hold other bytes than those that the registry knows.
        checked = bool(digests.get(model.model_id)) and options.revision is None
        files, held = _held(model.folder)
        found.append({
            "name": name, "model": model.model_id, "folder": model.folder, "files": files, "bytes": held,
            "sha256_checked": checked, "seconds": time.perf_counter() - started,
        })  # fmt: skip
        if not options.json:
            said = "sha256 as published" if checked else "sha256 not known here"
            show(f"{model.model_id}\n  {model.folder}\n  {files} files, {size(held)}, {said}")
    if options.json:
        show(json.dumps(found, indent=2))
    return 0


def _held(folder: str) -> tuple[int, int]:
    """Files of a model, and their bytes; links of the cache are followed."""
    if os.path.isfile(folder):
        return 1, os.path.getsize(folder)
    sizes = [
        os.path.getsize(path)
        for root, _, names in os.walk(folder)
        for name in names
        if os.path.isfile(path := os.path.join(root, name))
    ]
    return len(sizes), sum(sizes)
