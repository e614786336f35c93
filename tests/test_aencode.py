"""`aencode` gives what `encode` gives, and gathers callers into batches. Errors, cancelling and room are in
`test_aencode_callers.py`; loops, threads and processes that end in `test_aencode_processes.py`."""

import asyncio
import warnings
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder, gathering
from kit.checkpoints import write_bert
from kit.texts import TEXTS
from kit.vectors import close
from kit.watched import Watched, run, start, words


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("prompted"), prompts={"query": "red ", "document": "blue "}).folder


@pytest.fixture
def watched(folder) -> Watched:
    return Watched(folder)


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
