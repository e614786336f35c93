"""64 concurrent callers with one text each: `aencode` against what a server does without it.

    python benches/aencode.py [model] [--rounds 9] [--texts queries sentences paragraphs]

In one process, in turns, each after a pause: the same 64 texts through `asyncio.gather(aencode(text), ...)`; by one
thread, `encode(text)` after `encode(text)`; by `asyncio.to_thread(encode, text)`, whose pool has a few threads; by a
pool of 64 threads. A ratio is the median over the rounds of their time / aencode's: above 1 aencode has more texts a
second. "At once" is one call with all of them, as if somebody had gathered them. "4 calls each": every caller makes its
next call when the last has come. Then one caller alone, whose call should cost little more than `encode`. Texts are
sentences of the standard library's docstrings; lengths in tokens.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import docstrings
import numpy as np
from report import processor
from turns import seconds
from workers import SETTLE_S

from ironvec import Embedder

CALLERS, CALLS = 64, 4
LENGTHS = {"queries": (5, 9), "sentences": (10, 24), "paragraphs": (40, 100)}


def choose(model: Embedder, tokens: tuple[int, int]) -> list[str]:
    known = docstrings.paragraphs()
    known = known if tokens[0] > docstrings.SHORT_TOKENS[1] else docstrings.sentences(known)
    counted = zip(known, model.count_tokens(known), strict=True)
    fitting = [text for text, count in counted if tokens[0] <= count <= tokens[1]]
    return random.Random(0).sample(fitting, CALLERS)


async def gathered(model: Embedder, texts: list[str]) -> list[np.ndarray]:
    return await asyncio.gather(*map(model.aencode, texts))


def ways(model: Embedder, texts: list[str], loop: asyncio.AbstractEventLoop) -> dict[str, Callable[[], object]]:
    pool = ThreadPoolExecutor(CALLERS)

    async def one_by_one(caller: int) -> None:
        for call in range(CALLS):
            await model.aencode(texts[(caller + call) % CALLERS])

    async def in_a_row() -> object:
        return await asyncio.gather(*map(one_by_one, range(CALLERS)))

    async def to_threads() -> object:
        return await asyncio.gather(*(asyncio.to_thread(model.encode, text) for text in texts))

    return {
        "aencode": lambda: loop.run_until_complete(gathered(model, texts)),
        f"aencode, {CALLS} calls each": lambda: loop.run_until_complete(in_a_row()),
        "encode(texts), at once": lambda: model.encode(texts),
        "one thread": lambda: [model.encode(text) for text in texts],
        "asyncio.to_thread": lambda: loop.run_until_complete(to_threads()),
        f"{CALLERS} threads": lambda: list(pool.map(model.encode, texts)),
    }


def compare(model: Embedder, name: str, texts: list[str], rounds: int, loop: asyncio.AbstractEventLoop) -> None:
    taken: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for way, work in ways(model, texts, loop).items():
            time.sleep(SETTLE_S)
            if number:  # the first warms up
                taken.setdefault(way, []).append(seconds(work) / (CALLS if "each" in way else 1))
            else:
                seconds(work)
    tokens = model.count_tokens(texts)
    print(f"{name}: {CALLERS} texts of {tokens.min()} to {tokens.max()} tokens, {tokens.mean():.1f} on average")
    for way, all_s in taken.items():
        pairs = list(zip(all_s, taken["aencode"], strict=True))
        ratio = statistics.median(theirs / ours for theirs, ours in pairs)
        print(f"  {way:24} {CALLERS / statistics.median(all_s):8.0f} texts/s   {ratio:5.2f} x aencode's time")


def alone(model: Embedder, text: str, rounds: int, loop: asyncio.AbstractEventLoop) -> None:
    async def awaited() -> None:
        for _ in range(50):
            await model.aencode(text)

    def called() -> None:
        for _ in range(50):
            model.encode(text)

    pairs = [(seconds(lambda: loop.run_until_complete(awaited())), seconds(called)) for _ in range(rounds + 1)][1:]
    ours, theirs = (statistics.median(column) / 50 * 1000 for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"one caller alone: {ours:.2f} ms a call, encode {theirs:.2f} ms, {ratio:.2f} x the time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="minilm")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--texts", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    options = parser.parse_args()
    model, loop = Embedder(options.model), asyncio.new_event_loop()
    print(f"{processor()}, {options.model}, {options.rounds} rounds")
    for name in options.texts:
        texts = choose(model, LENGTHS[name])
        assert np.abs(np.stack(loop.run_until_complete(gathered(model, texts))) - model.encode(texts)).max() < 1e-5
        compare(model, name, texts, options.rounds, loop)
    alone(model, choose(model, LENGTHS["queries"])[0], options.rounds, loop)


if __name__ == "__main__":
    main()
