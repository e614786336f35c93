"""What a peer's process speaks: a line of JSON in, a line of JSON out, over standard input and output.

A peer is a module that gives `serve` two functions: `load` imports the library and opens the model; `encode` makes
vectors of texts. Whatever libraries print goes to standard error. Between two lines the process sleeps in a read.

Requests ("texts" names a list of the file that the process was started with):
    {"do": "encode", "texts": NAME, "role": R}   -> {"seconds": s}; the vectors are kept
    {"do": "each", "texts": NAME, "from": i, "to": j, "role": R}   -> {"seconds": [s, ...]}, one call a text
    {"do": "save", "path": P}                    -> {}; the vectors kept, as .npy
    {"do": "memory"}                             -> {"resident_mb": m, "at_most_mb": m}
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any


def memory_mb() -> dict[str, float]:
    """What is resident, and was at most, from Linux's /proc."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {
        key: int(fields[field].split()[0]) * 1024 / 1e6
        for key, field in (("resident_mb", "VmRSS"), ("at_most_mb", "VmHWM"))
    }


def installed_mb(packages: Sequence[str]) -> float:
    """The files of packages and of all that they require here; an environment's other packages do not count."""
    seen: set[str] = set()
    waiting, size = list(packages), 0
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # required for other machines or other versions of Python
        for line in distribution.requires or ():
            if not re.search(r"extra\s*==", line):
                waiting.extend(re.findall(r"^[A-Za-z0-9._-]+", line))
        files = [Path(str(file.locate())) for file in distribution.files or ()]
        if any(file.suffix == ".pth" for file in files):  # installed to be edited: what it points to
            source = __import__(name.replace("-", "_")).__file__
            files += [file for file in Path(source or "").parent.rglob("*") if "__pycache__" not in file.parts]
        size += sum(file.stat().st_size for file in files if file.is_file())
    return size / 1e6


def serve(
    packages: Sequence[str],
    load: Callable[[dict[str, Any]], tuple[float, Any]],
    encode: Callable[[Any, Any, str | None], Any],
    precision: Callable[[Any], str] = lambda _: "float32",
) -> None:
    """Loads, says so, and answers until standard input ends.

    Args:
        packages: what a user installs, for versions and sizes.
        load: options to the seconds that importing took and the model.
        encode: the model, a list of texts or one text, and a role ("query", "document" or None) to vectors.
        precision: the model to the name of the type that it computes in, asked of it where a library chooses by itself.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    options = json.loads(sys.argv[1])
    texts = json.loads(Path(options["texts"]).read_text(encoding="utf-8"))
    start = time.perf_counter()
    try:
        import_seconds, model = load(options)
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        raise
    load_seconds = time.perf_counter() - start - import_seconds
    ready = {"import": import_seconds, "load": load_seconds, "precision": precision(model), **memory_mb()}
    if options.get("describe"):
        ready["versions"] = {name: metadata.version(name) for name in packages}
        ready["installed_mb"] = installed_mb(packages)
    answer(ready)

    vectors: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        match request["do"]:
            case "encode":
                chosen = texts[request["texts"]]
                start = time.perf_counter()
                vectors = encode(model, chosen, request.get("role"))
                answer({"seconds": time.perf_counter() - start})
            case "each":
                seconds = []
                for text in texts[request["texts"]][request["from"] : request["to"]]:
                    start = time.perf_counter()
                    encode(model, text, request.get("role"))
                    seconds.append(time.perf_counter() - start)
                answer({"seconds": seconds})
            case "save":
                import numpy as np

                np.save(request["path"], np.asarray(vectors, dtype=np.float32))
                answer({})
            case "memory":
                answer(memory_mb())
