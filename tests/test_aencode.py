"""`aencode`: callers gathered into batches; errors, cancelling and room between them. Loops, threads and processes that
end are in `test_aencode_processes.py`."""

import asyncio
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder, ModelError, gathering
from kit.checkpoints import write_bert
from kit.texts import TEXTS
from kit.vectors import close

PATIENCE_S = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("prompted"), prompts={"query": "red ", "document": "blue "}).folder


class Watched(Embedder):
    """Keeps the batches that it computes, and holds each back until it is let through."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.batches: list[list[str]] = []
        self.begun, self.passes = threading.Semaphore(0), threading.Semaphore(0)
        self.fails: Callable[[list[str]], None] = lambda rows: None

    def _encode_rows(self, rows, progress=None, **checked):
        self.batches.append(list(rows))
        self.begun.release()
        assert self.passes.acquire(timeout=PATIENCE_S)
        self.fails(rows)
        return super()._encode_rows(rows, progress=progress, **checked)

    async def under_way(self) -> None:
        """Until one more batch has begun."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=PATIENCE_S)

    def let_through(self, batches: int = 1000) -> None:
        self.passes.release(batches)


@pytest.fixture
def watched(folder) -> Watched:
    return Watched(folder)


def run(main) -> None:
    asyncio.run(asyncio.wait_for(main, PATIENCE_S))


async def start(*coroutines) -> list[asyncio.Task]:
    """Tasks that have all had their first turn."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    await asyncio.sleep(0)
    return tasks


def words(count: int, word: str = "cat") -> list[str]:
    return [f"{word} sat {number}" for number in range(count)]


# --- the same as encode


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompt_name": "query"},
        {"prompt": "the ", "batch_size": 2, "normalize_embeddings": False},
        {"truncate_dim": 7, "max_length": 5},
        {"precision": "binary"},
        {"precision": "uint8"},
        {"show_progress_bar": True},
        {"convert_to_numpy": True, "device": "cpu"},
    ],
)
def test_it_gives_what_encode_gives(model, options):
    texts = words(150)
    made = asyncio.run(model.aencode(texts, **options))
    expected = model.encode(texts, **options)
    assert (made.dtype, made.flags.c_contiguous, made.flags.writeable) == (expected.dtype, True, True)
    if options.get("precision") == "uint8":
        assert np.array_equal(made, expected)
    close(made, expected)


def test_shapes_are_those_of_encode(model):
    async def main():
        assert (await model.aencode("cat")).shape == (32,)
        assert (await model.aencode(inputs=["cat"])).shape == (1, 32)
        assert (await model.aencode([])).shape == (0, 32)
        assert (await model.aencode(iter(TEXTS))).shape == (len(TEXTS), 32)
        out = np.zeros(32, np.float32)
        assert await model.aencode("cat", out=out) is out
        close(out, model.encode("cat"))

    run(main())


def test_roles_take_their_prompts(model):
    async def main():
        close(await model.aencode_query("cat"), model.encode_query("cat"))
        close(await model.aencode_document(TEXTS), model.encode_document(TEXTS))
        close(await model.aencode_query("cat", task="find"), model.encode_query("cat", task="find"))
        close(await model.aencode_query(inputs="cat", truncate_dim=3), model.encode_query("cat", truncate_dim=3))
        assert not np.allclose(await model.aencode_query("cat"), await model.aencode_document("cat"), atol=1e-3)

    run(main())


@pytest.mark.parametrize("keywords", [{"btach_size": 3}, {"out": [1.0]}, {"texts": None}, {"texts": ["cat", 3]}])
def test_arguments_are_refused_as_by_encode(model, keywords):
    with pytest.raises(TypeError) as expected:
        model.encode(**{"texts": "cat", **keywords})
    with pytest.raises(TypeError) as found:
        asyncio.run(model.aencode(**{"texts": "cat", **keywords}))
    assert str(found.value) == str(expected.value).replace("encode(", "aencode(")


def test_a_text_that_is_cut_is_warned_of_at_the_callers_line(folder):
    model = Embedder(folder, on_truncate="warn", max_length=4)

    async def main():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await asyncio.gather(model.aencode("cat"), model.aencode("a"))
            assert not caught
            await model.aencode(["cat", "cat sat on the mat"])
            await model.aencode("cat sat", prompt="the ", max_length=4)
        assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name] * 2
        assert str(caught[0].message) == "1 of 2 texts were cut at max_length=4 tokens"

    run(main())


# --- batches


def test_callers_of_one_turn_are_one_batch(watched, model):
    watched.let_through()
    texts = words(gathering.MOST_ROWS)

    async def main():
        return await asyncio.gather(*map(watched.aencode, texts))

    rows = asyncio.run(main())
    assert watched.batches == [texts]
    for row, text in zip(rows, texts, strict=True):
        close(row, model.encode(text))
        # Of its own: whoever keeps one row must not keep the batch.
        assert row.base is None or row.base.size == row.size


def test_callers_who_come_meanwhile_are_the_next_batches(watched):
    texts = words(gathering.MOST_ROWS + 10)

    async def main():
        first = await start(watched.aencode("first"))
        await watched.under_way()
        others = await start(*map(watched.aencode, texts))
        watched.let_through()
        await asyncio.gather(*first, *others)

    run(main())
    assert watched.batches == [["first"], texts[:-10], texts[-10:]]


def test_the_loop_goes_on_meanwhile(watched):
    async def main():
        (task,) = await start(watched.aencode("cat"))
        await watched.under_way()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        watched.let_through()
        await task

    run(main())


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "red "},
        {"truncate_dim": 8},
        {"normalize_embeddings": False},
        {"max_length": 3},
        {"batch_size": 1},
        {"precision": "binary"},
    ],
)
def test_options_are_not_mixed_and_take_turns(watched, model, other):
    plain = words(gathering.MOST_ROWS + 5)

    async def main():
        first = await start(watched.aencode("first"))
        await watched.under_way()
        calls = [watched.aencode(text) for text in plain]
        calls.insert(3, watched.aencode("dog", **other))
        tasks = await start(*calls)
        watched.let_through()
        await asyncio.gather(*first)
        return await asyncio.gather(*tasks)

    rows = asyncio.run(main())
    assert watched.batches == [["first"], plain[:-5], ["dog"], plain[-5:]]
    close(rows[3], model.encode("dog", **other))
    close(rows[-1], model.encode(plain[-1]))


def test_a_long_list_lets_others_pass(watched, model):
    long, most = words(4 * gathering.MOST_ROWS + 3), gathering.MOST_ROWS

    async def main():
        listed = await start(watched.aencode(long))
        await watched.under_way()
        single = await start(watched.aencode("dog"))
        watched.let_through()
        (vector,) = await asyncio.gather(*single)
        assert not listed[0].done()
        close(vector, model.encode("dog"))
        return await listed[0]

    close(asyncio.run(main()), model.encode(long))
    assert ["dog"] in [batch[:1] for batch in watched.batches[1:3]]
    assert [row for batch in watched.batches for row in batch if row != "dog"] == long
    assert all(len(batch) <= most for batch in watched.batches)


def test_a_list_is_taken_as_it_was(watched, model):
    texts = ["cat", "dog"]

    async def main():
        (task,) = await start(watched.aencode(texts))
        texts[1] = "paris"
        watched.let_through()
        return await task

    close(asyncio.run(main()), model.encode(["cat", "dog"]))


# --- errors


@pytest.mark.parametrize(("bad", "error"), [(3, TypeError), ("\ud800", ValueError), ("cat " * 300, ValueError)])
def test_a_bad_text_fails_its_caller_alone(folder, model, bad, error):
    strict = Embedder(folder, on_truncate="error")
    texts = words(20)

    async def main():
        calls = [strict.aencode(text) for text in texts]
        calls.insert(7, strict.aencode(["dog", bad]))
        return await asyncio.gather(*calls, return_exceptions=True)

    found = asyncio.run(main())
    refused = found.pop(7)
    assert type(refused) is error
    with pytest.raises(error) as expected:
        strict.encode(["dog", bad])
    assert str(refused) == str(expected.value)
    close(np.stack(found), model.encode(texts))


def test_a_bad_text_of_a_long_list_is_counted_from_its_start(model):
    texts = words(gathering.MOST_ROWS + 3)
    texts[-1] = "\ud800"
    with pytest.raises(ValueError, match=rf"counted from text {gathering.MOST_ROWS}: texts\[2\] holds a lone surr"):
        asyncio.run(model.aencode(texts))


@pytest.mark.parametrize("error", [ModelError("changed"), MemoryError("no room"), KeyboardInterrupt()])
def test_an_error_of_the_batch_reaches_every_caller(watched, error):
    def fail(rows):
        if rows != ["after"]:
            raise error

    watched.fails = fail
    watched.let_through()

    async def caught(texts):
        try:
            return await watched.aencode(texts)
        except type(error) as found:
            return found

    async def main():
        assert await asyncio.gather(*map(caught, [*words(5), words(200)])) == [error] * 6
        assert (await watched.aencode("after")).shape == (32,)

    run(main())
    # The rest of the list was not tried.
    assert len(watched.batches) == 2


def test_no_thread_to_be_had_is_an_error(model, monkeypatch):
    def none_left(self):
        raise RuntimeError("can't start new thread")

    async def main():
        with monkeypatch.context() as without:
            without.setattr(threading.Thread, "start", none_left)
            found = await asyncio.gather(*map(model.aencode, words(3)), return_exceptions=True)
        assert [str(error) for error in found] == ["can't start new thread"] * 3
        assert (await model.aencode("cat")).shape == (32,)

    run(main())


# --- cancelling


def test_a_cancelled_text_is_dropped_before_it_starts(watched, model):
    async def main():
        first = await start(watched.aencode("first"))
        await watched.under_way()
        tasks = await start(*map(watched.aencode, ["cat", "dog", "mat"]), watched.aencode(words(200)))
        tasks[1].cancel()
        tasks[3].cancel()
        watched.let_through()
        found = await asyncio.gather(*first, *tasks, return_exceptions=True)
        assert [type(one) for one in found[2::2]] == [asyncio.CancelledError] * 2
        close(np.stack([found[0], found[1], found[3]]), model.encode(["first", "cat", "mat"]))

    run(main())
    assert watched.batches == [["first"], ["cat", "mat"]]


def test_cancelling_one_of_a_batch_under_way_disturbs_nobody(watched, model):
    async def main():
        tasks = await start(*map(watched.aencode, ["cat", "dog", "mat"]))
        await watched.under_way()
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        watched.let_through()
        close(np.stack([await tasks[0], await tasks[2]]), model.encode(["cat", "mat"]))

    run(main())


def test_a_timeout_leaves_the_rest_of_a_list(watched):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(watched.aencode(words(500)), 0.05)
        watched.let_through()
        assert (await watched.aencode("after")).shape == (32,)

    run(main())
    assert [len(batch) for batch in watched.batches] == [gathering.MOST_ROWS, 1]


def test_a_call_by_itself_ends_with_its_caller(folder):
    model = Embedder(folder)
    many = ["the cat sat on the mat " * 9 + str(number) for number in range(5_000)]
    out = np.zeros((len(many), 32), np.float32)

    async def main():
        (task,) = await start(model.aencode(many, out=out))
        while not out.any():
            await asyncio.sleep(0.001)
        task.cancel()
        close(await model.aencode("after"), model.encode("after"))
        assert task.cancelled()

    run(main())
    assert not out.any(axis=1).all(), "all of it was computed"


# --- room


def test_texts_beyond_the_bound_wait_for_room_in_their_order(watched, model, monkeypatch):
    monkeypatch.setattr(gathering, "MOST_ROWS", 4)
    monkeypatch.setattr(gathering, "MOST_WAITING", 10)
    texts = words(30)

    async def main():
        first = await start(watched.aencode("first"))
        await watched.under_way()
        tasks = await start(*map(watched.aencode, texts), watched.aencode("last", truncate_dim=3))
        gatherer = watched._gatherer()
        assert sum(map(len, gatherer._queues.values())) == gatherer._waiting == 10
        tasks[2].cancel()  # its room goes to others
        tasks[20].cancel()
        for _ in range(3):
            watched.let_through(1)
            await watched.under_way()
            assert 0 < gatherer._waiting <= 10
        watched.let_through()
        await asyncio.gather(*first, *tasks, return_exceptions=True)
        assert (gatherer._waiting, gatherer._queues, list(gatherer._outside)) == (0, {}, [])

    run(main())
    kept = [text for number, text in enumerate(texts) if number not in (2, 20)]
    # Other options do not overtake: they had no room before the 22nd text was out.
    assert [row for batch in watched.batches for row in batch if row not in ("first", "last")] == kept
    assert watched.batches.index(["last"]) > 5


def test_a_call_larger_than_all_room_gets_in(model, monkeypatch):
    monkeypatch.setattr(gathering, "MOST_WAITING", 10)

    async def main():
        return await asyncio.gather(*[model.aencode(words(100)) for _ in range(3)], model.aencode("cat"))

    *lists, vector = asyncio.run(main())
    for rows in lists:
        close(rows, model.encode(words(100)))
    close(vector, model.encode("cat"))
