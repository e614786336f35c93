"""ironvec and its peers side by side: the same weights, the same texts, in turns, in one run.

    make bench-peers [PEERS="--peers script,fastembed"]
    python benches/compare.py [--peers NAMES] [--figures NAMES] [--rounds 9]
        [--python-of sentence-transformers=PATH] [--qwen3 FOLDER] [--dtype bfloat16] [--int8]

Peers, each with its own choice of threads: sentence-transformers (torch, batches of 32, lengths sorted), the same with
-bfloat16; fastembed (batches of 256), fastembed-32 (batches of 32); script (ONNX Runtime as `peers/script.py` calls it,
the floor to beat); openvino (called by the same script, float32) and openvino-default (in what it chooses by the
processor: bfloat16 where there are instructions for it, else float32). Each library has an environment of its own
under .bench/, made at the first run; torch takes 5 GB there, so `--python-of` can name an interpreter that has one
already.

Weights: all-MiniLM-L6-v2, float32; fastembed, the script and OpenVINO get them as ONNX (`onnx_files.py`). Texts: the
standard library's docstrings (`docstrings.py`), 1,024 short and 1,024 mixed, none twice, cut at 256 tokens by all.
Every peer's vectors are compared with ours first: by the largest difference in float32, by the least cosine in a
narrower type; what a peer computes in is printed with both. A ratio is the median of the pairwise ratios of the rounds,
above 1 where ironvec is better. Rounds are shared among three sets of fresh processes, since two processes of one
program can differ by a tenth for as long as they live. A peer slower than 15 s a pass is measured in the first rounds
alone. Peak RSS is that of a fresh process after its first pass over the mixed texts. Sizes are those of the installed
packages a peer needs, without weights.

`--qwen3` compares Qwen3-Embedding at true size (`make_qwen3.py` writes the folder) with sentence-transformers in
float32 and as it comes, where one of its peers is chosen; `--dtype` is what ironvec computes in, float32 if not said;
`--int8` compares our int8 with our float32. The results are also written to .bench/results.json, which `picture.py`
draws.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import docstrings
import measure
import targets
from compare_int8 import compare_int8
from compare_qwen3 import compare_qwen3
from environments import BENCH, PACKAGES, environment
from measure import Agreement, Figure
from onnx_files import onnx_folder
from report import Limit, print_agreement, print_figures, print_limits, processor, write_json
from workers import OURS, Peer, PeerError, Worker

from ironvec import Embedder
from ironvec.resolve import resolve

MAX_TOKENS = 256
SERVERS = {
    "sentence-transformers": "serve_sentence_transformers.py",
    "fastembed": "serve_fastembed.py",
    "openvino": "serve_openvino.py",
    "script": "serve_script.py",
}
# By name: the library, whose environment and server it is, and options of its own.
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sentence-transformers": ("sentence-transformers", {}),
    "sentence-transformers-bfloat16": ("sentence-transformers", {"dtype": "bfloat16"}),
    "fastembed": ("fastembed", {}),
    "fastembed-32": ("fastembed", {"batch_size": 32}),
    "openvino": ("openvino", {"precision": "f32"}),
    "openvino-default": ("openvino", {}),
    "script": ("script", {}),
}
FIGURES = ("mixed", "short", "one", "start")


def names(known: Collection[str], text: str) -> list[str]:
    chosen = [name for name in text.split(",") if name]
    if unknown := [name for name in chosen if name not in known]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
    return chosen


def interpreter(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if name not in PACKAGES or not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=INTERPRETER, NAME one of {', '.join(PACKAGES)}")
    return name, Path(path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=lambda text: names(PEERS, text), default=list(PEERS))
    parser.add_argument("--figures", type=lambda text: names(FIGURES, text), default=list(FIGURES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sittings", type=int, default=3, help="sets of fresh processes that share the rounds")
    parser.add_argument("--slow-rounds", type=int, default=3, help="rounds of a peer slower than 15 s a pass")
    parser.add_argument("--python-of", type=interpreter, action="append", default=[], metavar="NAME=INTERPRETER")
    parser.add_argument("--qwen3", type=Path, metavar="FOLDER")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--results", type=Path, default=BENCH / "results.json")
    return parser.parse_args()


def all_peers(chosen: Sequence[str], pythons: Mapping[str, Path], options: Mapping[str, Any], dtype: str) -> list[Peer]:
    peers = [Peer(OURS, Path(sys.executable), "serve_ironvec.py", {**options, "dtype": dtype})]
    for name in chosen:
        library, own = PEERS[name]
        python = pythons.get(library) or environment(library)
        peers.append(Peer(name, python, SERVERS[library], {**options, **own}))
    return peers


def one_a_library(peers: Sequence[Peer]) -> list[Peer]:
    """The first of each: options of one library start alike and take the same room on disk."""
    first: dict[str, Peer] = {}
    for peer in peers:
        first.setdefault(peer.server, peer)
    return list(first.values())


def compare_minilm(peers: list[Peer], options: argparse.Namespace) -> tuple[list[Figure], list[Limit], dict[str, Any]]:
    limits: list[Limit] = []
    about: dict[str, Any] = {}
    sittings = measure.Sittings({}, {}, {})
    count = min(options.sittings, options.rounds)
    for sitting in range(count):
        rounds = options.rounds // count + (sitting < options.rounds % count)
        with ExitStack() as stack:
            workers = [stack.enter_context(Worker(peer, describe=True)) for peer in peers]
            about["versions"] = {worker.name: worker.ready["versions"] for worker in workers}
            for worker in workers:
                worker.encode("warm")
            agreements = measure.check_agreement(workers)
            for texts in ("mixed", "short"):
                if texts in options.figures:
                    measure.throughput(workers, texts, rounds, options.slow_rounds, sittings)
                    if sitting == 0:  # later a slow peer may have sat out
                        found = measure.check_agreement(workers)
                        agreements = {name: one.worse(found[name]) for name, one in agreements.items()}
            if sitting == 0:
                about["agreements"] = agreements
            if "one" in options.figures:
                measure.one_text(workers, rounds, docstrings.COUNT_ONE, sittings)
            sizes = {worker.name: worker.ready["installed_mb"] for worker in workers}
    figures = [*sittings.throughput("mixed", docstrings.COUNT), *sittings.throughput("short", docstrings.COUNT)]
    figures += sittings.one_text("one")
    if "start" in options.figures:
        started = measure.starts(one_a_library(peers), options.rounds)
        figures += started
        loads = [one.ours for one in started if one.figure == "load"]
        limits += [Limit("load in a fresh process", "s", seconds, targets.LOAD_S) for seconds in loads[:1]]
    figures += sittings.memory("mixed")
    figures += [
        measure.plain("installed", peer.name, "MB", sizes[OURS], sizes[peer.name])
        for peer in one_a_library(peers)
        if peer.name != OURS
    ]
    return figures, limits, about


def main() -> None:
    options = arguments()
    BENCH.mkdir(exist_ok=True)
    folder = Path(resolve("minilm", local_files_only=True).folder)
    model = Embedder(folder)
    texts = docstrings.choose(Embedder(folder, max_length=512).count_tokens)
    warm = texts.mixed[:64]
    texts_file = BENCH / "texts.json"
    texts_file.write_text(json.dumps({**texts._asdict(), "warm": warm}), encoding="utf-8")
    common = {
        "folder": str(folder),
        "onnx": str(onnx_folder(folder, BENCH / "minilm-onnx", MAX_TOKENS)),
        "max_tokens": MAX_TOKENS,
        "texts": str(texts_file),
    }
    pythons = dict(options.python_of)
    about: dict[str, Any] = {
        "processor": processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "threads": model.device_report().get("threads"),
        "dtype": options.dtype,
        "versions": {"onnxruntime": version("onnxruntime"), "numpy": version("numpy")},
        "tokens": {name: float(model.count_tokens(getattr(texts, name)).mean()) for name in texts._fields},
    }
    machine = f"{about['processor']}, {about['cpus']} CPUs, Python {about['python']}"
    print(f"{machine}, ironvec on {about['threads']} threads in {options.dtype}")
    tokens = ", ".join(f"{name} {mean:.1f}" for name, mean in about["tokens"].items())
    print(f"tokens a text, on average: {tokens}")

    figures: list[Figure] = []
    limits: list[Limit] = []
    agreements: dict[str, Agreement] = {}
    try:
        peers = all_peers(options.peers, pythons, common, options.dtype)
        if options.figures:
            figures, limits, found = compare_minilm(peers, options)
            agreements = found.pop("agreements")
            print_agreement(agreements)
            about["agreements"] = {name: one._asdict() for name, one in agreements.items()}
            for name, versions in found.pop("versions").items():
                print(f"{name}: " + ", ".join(f"{package} {number}" for package, number in versions.items()))
                about["versions"].update(versions)
            about.update(found)
        if options.int8:
            more, cosines = compare_int8(peers[0], options.rounds)
            figures += more
            limits += cosines
        if options.qwen3:
            theirs = next((peer for peer in peers if peer.server == SERVERS["sentence-transformers"]), None)
            more, loads = compare_qwen3(peers[0], theirs, options.qwen3, min(options.rounds, 5), options.int8)
            figures += more
            limits += loads
    except PeerError as error:
        sys.exit(str(error))
    print()
    print_figures(figures)
    if (default := agreements.get("openvino-default")) and default.precision == "float32":
        print("\nopenvino-default is float32 here: OpenVINO chooses nothing narrower for this processor")
    print()
    print_limits(limits)
    write_json(options.results, about, figures, limits)


if __name__ == "__main__":
    main()
