"""`aencode` between callers: whose errors are whose, who is cancelled, who waits for room."""

import asyncio
import threading

import numpy as np
import pytest

from ironvec import Embedder, ModelError, gathering
from kit.vectors import close
from kit.watched import Watched, run, start, words


@pytest.fixture
def watched(folder) -> Watched:
    return Watched(folder)


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
