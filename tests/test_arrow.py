"""`encode_arrow`: Arrow strings in whatever layout, the bytes of `encode` of the list; no copies, no Python objects."""

import sys

import numpy as np
import pytest

from ironvec import Embedder
from kit.bulk import texts as short_texts
from kit.families import CASES
from kit.interpreter import python
from kit.texts import TEXTS

pa = pytest.importorskip("pyarrow")

LONGER = [*TEXTS, "Zürich \u2028 東京 🙂", TEXTS[0], "paris", TEXTS[0]]


def values(lists):
    """The vectors of Arrow lists, (rows, dimension), nulls too."""
    return lists.values.to_numpy(zero_copy_only=True).reshape(len(lists), -1)


def unaligned():
    """A column whose buffers begin at odd addresses."""
    array = pa.array(LONGER)
    moved = [pa.py_buffer(b"-" + memoryview(buffer).tobytes()).slice(1) for buffer in array.buffers()[1:]]
    return pa.Array.from_buffers(pa.string(), len(LONGER), [None, *moved])


LAYOUTS = {
    "utf8": lambda: pa.array(LONGER),
    "large_utf8": lambda: pa.array(LONGER, pa.large_string()),
    "string_view": lambda: pa.array(LONGER, pa.string_view()),
    "dictionary": lambda: pa.array(LONGER).dictionary_encode(),
    "dictionary of large_utf8": lambda: pa.array(LONGER, pa.large_string()).dictionary_encode(),
    "chunks": lambda: pa.chunked_array([LONGER[:2], [], LONGER[2:3], LONGER[3:], []], pa.string()),
    "chunks of views": lambda: pa.chunked_array([LONGER[:2], [], LONGER[2:]], pa.string_view()),
    "slice": lambda: pa.array(["x", None, "yy", *LONGER, "zzz"]).slice(3, len(LONGER)),
    "slice of a slice": lambda: pa.array(["x", *LONGER, None]).slice(1).slice(0, len(LONGER)),
    "slice of chunks": lambda: pa.chunked_array([["x", *LONGER[:4]], [*LONGER[4:], "y"]]).slice(1, len(LONGER)),
    "a column of a table": lambda: pa.table({"text": LONGER})["text"],
    "odd addresses": unaligned,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_bytes_of_the_list(model, layout):
    lists = model.encode_arrow(LAYOUTS[layout]())
    assert lists.type == pa.list_(pa.float32(), model.dimension)
    assert lists.null_count == 0
    lists.validate(full=True)
    np.testing.assert_array_equal(values(lists), model.encode(LONGER))


class Exported:
    """An array by one protocol only."""

    def __init__(self, array):
        self._array = array


def exports(name):
    def call(self, *arguments, **keywords):
        if name == "__arrow_array__":
            return self._array
        return getattr(self._array, name)(*arguments, **keywords)

    return type("Exported", (Exported,), {name: call})


@pytest.mark.parametrize("name", ["__arrow_c_stream__", "__arrow_c_array__", "__arrow_array__"])
@pytest.mark.parametrize("kind", [pa.string(), pa.string_view()], ids=str)
def test_whatever_exports_arrow_data_is_taken(model, name, kind):
    array = pa.array(LONGER, kind)
    exported = exports(name)(pa.chunked_array([array]) if name == "__arrow_c_stream__" else array)
    np.testing.assert_array_equal(values(model.encode_arrow(exported)), model.encode(LONGER))


@pytest.mark.parametrize("dtype", ["object", "string", "string[pyarrow]"])
def test_pandas_series(model, dtype):
    pandas = pytest.importorskip("pandas")
    lists = model.encode_arrow(pandas.Series([*LONGER, None], dtype=dtype))
    assert lists.is_null().to_pylist() == [False] * len(LONGER) + [True]
    np.testing.assert_array_equal(values(lists)[:-1], model.encode(LONGER))


def test_polars_series(model):
    polars = pytest.importorskip("polars")
    lists = model.encode_arrow(polars.Series([*LONGER, None]))
    assert lists.is_null().to_pylist() == [False] * len(LONGER) + [True]
    np.testing.assert_array_equal(values(lists)[:-1], model.encode(LONGER))


def test_the_lists_are_the_memory_that_was_computed_into(model, monkeypatch):
    encode, made = Embedder._encode_rows, []

    def kept(self, rows, **keywords):
        made.append(encode(self, rows, **keywords))
        return made[-1]

    monkeypatch.setattr(Embedder, "_encode_rows", kept)
    for texts in (pa.array(LONGER), pa.array([None, *LONGER])):
        lists = model.encode_arrow(texts)
        assert lists.values.buffers()[1].address == made[-1].ctypes.data
        assert lists.values.offset == 0


# --- nulls and nothing


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_nulls_are_null_rows_that_hold_zeros(model, kind):
    rows = [None, *LONGER[:3], None, None, *LONGER[3:], None]
    is_null = [row is None for row in rows]
    first, second = pa.array(["x", None, *rows[:5]], kind).slice(2), pa.array(rows[5:], kind)
    for texts in (pa.array(rows, kind), pa.chunked_array([first, second])):
        lists = model.encode_arrow(texts)
        lists.validate(full=True)
        assert lists.is_null().to_pylist() == is_null
        assert not values(lists)[is_null].any()
        np.testing.assert_array_equal(values(lists)[~np.array(is_null)], model.encode(LONGER))


def test_what_a_null_hides_is_not_read(model):
    offsets = np.array([0, 3, -5, 3, 5], np.int32)
    array = pa.Array.from_buffers(
        pa.string(), 4, [pa.py_buffer(b"\x09"), pa.py_buffer(offsets), pa.py_buffer(b"catat")]
    )
    lists = model.encode_arrow(array)
    np.testing.assert_array_equal(values(lists)[[0, 3]], model.encode(["cat", "at"]))


def test_nulls_may_be_an_error(model):
    texts = pa.chunked_array([["a"], ["b", None, None]])
    with pytest.raises(ValueError, match=r'^texts\[2\] is null; nulls="keep" gives null rows'):
        model.encode_arrow(texts, nulls="error")
    assert len(model.encode_arrow(texts.slice(0, 2), nulls="error")) == 2
    with pytest.raises(ValueError, match='nulls=\'drop\'; expected "keep" or "error"'):
        model.encode_arrow(texts, nulls="drop")


@pytest.mark.parametrize(
    "texts",
    [
        pa.array([], pa.string()),
        pa.chunked_array([], pa.large_string()),
        pa.chunked_array([[], []], pa.string_view()),
        pa.array([], pa.null()),
        pa.Array.from_buffers(pa.string(), 0, [None, None, pa.py_buffer(b"")]),
    ],
    ids=["array", "no chunks", "empty chunks", "null", "no buffers"],
)
def test_no_texts_give_no_rows(model, texts):
    lists = model.encode_arrow(texts)
    assert (len(lists), lists.type) == (0, pa.list_(pa.float32(), model.dimension))


@pytest.mark.parametrize("texts", [pa.nulls(3), pa.nulls(3, pa.string()), pa.chunked_array([pa.nulls(1), pa.nulls(2)])])
def test_nulls_alone(model, texts):
    assert model.encode_arrow(texts).to_pylist() == [None] * 3


def test_empty_texts_without_data_are_texts(model):
    array = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(bytes(12)), pa.py_buffer(b"")])
    np.testing.assert_array_equal(values(model.encode_arrow(array)), model.encode(["", ""]))


# --- keywords


@pytest.mark.parametrize(
    "keywords",
    [
        {"prompt_name": "query"},
        {"prompt": "cook "},
        {"batch_size": 2, "normalize_embeddings": False},
        {"truncate_dim": 8},
        {"max_length": 4, "show_progress_bar": True},
    ],
    ids=str,
)
def test_keywords_are_those_of_encode(folder, keywords, capsys):
    model = Embedder(folder, prompts={"query": "query: "})
    lists = model.encode_arrow(pa.array([*LONGER, None]), **keywords)
    assert ("8/8" in capsys.readouterr().err) == ("show_progress_bar" in keywords)
    np.testing.assert_array_equal(values(lists)[:-1], model.encode(LONGER, **keywords))


def test_roles_take_their_prompts(folder):
    model = Embedder(folder, prompts={"query": "query: ", "passage": "passage: "}, default_prompt_name="query")
    texts = pa.array(LONGER)
    for keywords, expected in (
        ({"role": "query"}, model.encode_query(LONGER)),
        ({"role": "document"}, model.encode_document(LONGER)),
        ({"role": "document", "prompt": ""}, model.encode(LONGER, prompt="")),
        ({"role": "document", "prompt_name": "query"}, model.encode_query(LONGER)),
        ({}, model.encode(LONGER)),
    ):
        np.testing.assert_array_equal(values(model.encode_arrow(texts, **keywords)), expected)
    with pytest.raises(ValueError, match="role='passage'; expected 'query' or 'document'"):
        model.encode_arrow(texts, role="passage")
    with pytest.raises(TypeError, match="'precision'"):
        model.encode_arrow(texts, precision="int8")


def test_a_cut_text_is_named_as_in_a_list(folder):
    model = Embedder(folder, on_truncate="error")
    with pytest.raises(ValueError, match=r"texts\[2\] has \d+ tokens"):
        model.encode_arrow(pa.array([None, "a", "cat " * 500]))


def test_without_pyarrow_it_says_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'ironvec\[arrow\]'"):
        model.encode_arrow(LONGER)


# --- memory


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A model that is little but memory: a static table."""
    folder = tmp_path_factory.mktemp("table")
    CASES["static-raw"].write(folder)
    return folder


def test_no_python_object_is_made_of_a_text(table, monkeypatch):
    model, rows = Embedder(table), short_texts(20_000)
    arrays = {
        "array": pa.array(rows),
        "chunks": pa.chunked_array([rows[:7], rows[7:]]),
        "views": pa.array(rows, pa.string_view()),
    }
    encode, blocks = Embedder._encode_rows, []

    def watched(self, given, **keywords):
        keywords["progress"] = lambda _: blocks.append(sys.getallocatedblocks())
        return encode(self, given, **keywords)

    monkeypatch.setattr(Embedder, "_encode_rows", watched)
    expected = model.encode(rows)
    for name, array in arrays.items():
        blocks[:] = [before := sys.getallocatedblocks()]
        lists = model.encode_arrow(array)
        assert len(blocks) > 1
        assert max(blocks) - before < 1000, name
        np.testing.assert_array_equal(values(lists), expected)
    # That it would show.
    blocks.clear()
    before = sys.getallocatedblocks()
    model.encode(arrays["array"])
    assert max(blocks) - before > 20_000


PEAK = """
import sys
import numpy as np
import pyarrow as pa
from ironvec import Embedder

def megabytes(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field))

rows = 300_000
characters = np.random.default_rng(0).integers(97, 123, (rows, 30)).astype(np.uint8)
offsets = np.arange(rows + 1, dtype=np.int32) * 30
texts = pa.Array.from_buffers(pa.string(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(characters)])
model = Embedder(sys.argv[1])
model.encode_arrow(texts[:100])
before = megabytes("VmRSS")
lists = model.encode_arrow(texts)
print(megabytes("VmHWM") - before, lists.nbytes / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_peak_memory_is_the_result_and_a_bounded_amount_per_row(table):
    extra, result = map(float, python(PEAK, table, timeout_s=300).split())
    assert result > 25
    # 200 bytes a row, where a str of 30 characters alone takes 79, and the windows.
    assert extra - result < 60 + 40
