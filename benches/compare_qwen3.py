"""Qwen3-Embedding at true size: a query with the default instruction, 32 queries, 32 documents, and loading.

In: how ironvec and sentence-transformers are started, the checkpoint's folder (`make_qwen3.py`). Out: figures against
sentence-transformers in float32 and as it comes (in the checkpoint's own bfloat16, since transformers 5), and the load
times as limits. Rounds are few: a batch takes it ten seconds, and in bfloat16 without instructions for it longer.
"""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import docstrings
import measure
import targets
from compare_int8 import int8_and_float32
from environments import BENCH
from measure import Figure, figure
from report import Limit, print_agreement
from workers import Peer, PeerError, Worker, take_turns

from ironvec import Embedder

COUNT = 32
QUERY_TOKENS, DOCUMENT_TOKENS = (13, 15), (28, 31)  # as MiniLM counts, with its two special tokens
CALLS = 4  # with one query in a row
FEW = 2  # rounds of a peer slower than measure.SLOW_S a batch
AS_IT_COMES = "sentence-transformers as it comes"


def texts_file() -> Path:
    parts = docstrings.sentences(docstrings.paragraphs())
    counted = list(zip(parts, Embedder("minilm").count_tokens(parts), strict=True))

    def first(limits: tuple[int, int]) -> list[str]:
        return [text for text, tokens in counted if limits[0] <= tokens <= limits[1]][:COUNT]

    queries, documents = first(QUERY_TOKENS), first(DOCUMENT_TOKENS)
    path = BENCH / "texts-qwen3.json"
    lists = {"one": queries, "queries": queries, "documents": documents, "warm": queries[:4]}
    path.write_text(json.dumps(lists), encoding="utf-8")
    return path


def _loads(ours: Peer) -> list[Limit]:
    """In two processes, one after the other: the second may find what the first has kept in a cache on disk.

    The checkpoint is read once before, so that neither waits for a disk.
    """
    for file in Path(ours.options["folder"]).glob("*.safetensors"):
        with file.open("rb") as weights:
            while weights.read(16 << 20):
                pass
    cache = BENCH / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    fresh = ours._replace(environment={"XDG_CACHE_HOME": str(cache)})
    limits = []
    for which, limit in zip(("first", "second"), targets.QWEN3_LOADS_S, strict=True):
        with Worker(fresh) as worker:
            limits.append(Limit(f"qwen3, load in a {which} process", "s", worker.ready["load"], limit))
    return limits


def _query(name: str, workers: list[Worker], rounds: int) -> list[Figure]:
    sitting = measure.Sittings({}, {}, {})
    measure.one_text(workers, rounds, COUNT, sitting, role="query", block=CALLS)
    return sitting.one_text(name)[:1]  # too few calls for the 95th percentile


def _batches(workers: list[Worker], rounds: int) -> list[Figure]:
    figures = []
    for texts, role in (("queries", "query"), ("documents", "document")):

        def measure_one(worker: Worker, texts: str = texts, role: str = role) -> float:
            return worker.encode(texts, role)

        samples = take_turns(workers, rounds, measure_one, None, measure.SLOW_S, FEW)
        figures += [figure(f"qwen3 {COUNT} {texts}", name, pairs, "texts/s", COUNT) for name, pairs in samples.items()]
    return figures


def compare_qwen3(
    ours: Peer, theirs: Peer | None, folder: Path, rounds: int, int8: bool
) -> tuple[list[Figure], list[Limit]]:
    options = {"folder": str(folder.resolve()), "texts": str(texts_file())}
    ours = ours._replace(options={**ours.options, **options})
    limits = _loads(ours)
    figures: list[Figure] = []
    if theirs is not None:
        with ExitStack() as stack:
            started = (
                ours,
                theirs._replace(name="sentence-transformers", options=options),
                theirs._replace(name=AS_IT_COMES, options={**options, "dtype": "auto"}),
            )
            workers = [stack.enter_context(Worker(peer)) for peer in started]
            for worker in workers:
                worker.encode("warm", "query")
            print_agreement(measure.check_agreement(workers), "qwen3, ")
            figures += _query("qwen3 query", workers, rounds)
            figures += _batches(workers, rounds)
            our_mb, *their_mb = (worker.ask("memory")["at_most_mb"] for worker in workers)
        for peer, most in zip(started[1:], their_mb, strict=True):
            figures.append(measure.plain("qwen3 peak RSS", peer.name, "MB", our_mb, most))
    if int8:
        try:
            with ExitStack() as stack:
                workers = [stack.enter_context(Worker(peer)) for peer in int8_and_float32(ours)]
                figures += _query("int8 qwen3 query", workers, rounds)
        except PeerError as error:
            print(f"int8 of qwen3: not there ({error})")
    return figures, limits
