"""`encode_arrow`: what is not an Arrow array of strings, or lies about itself, is an error that names the first row."""

import numpy as np
import pytest

from ironvec.text_columns import TextColumn, TextColumns

pa = pytest.importorskip("pyarrow")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", "b"], "texts is list; expected an Arrow array of strings, .*; encode takes lists of str"),
        ("one", "texts is str; .*; encode takes lists"),
        (None, "texts is NoneType; expected an Arrow array of strings"),
        (np.array(["a"]), "texts is ndarray"),
        (pa.array([1]), "texts is an Arrow array of int64; expected"),
        (pa.array([b"a"]), "texts is an Arrow array of binary"),
        (pa.array([["a"]]), "texts is an Arrow array of list<item: string>"),
        (pa.array([1]).dictionary_encode(), "texts is an Arrow array of dictionary<values=int64"),
        (pa.table({"a": ["b"]}), r"texts is an Arrow array of struct<a: string>; .*; pass one column of this table"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_other_things_are_refused_by_name(model, texts, message):
    with pytest.raises(TypeError, match=message):
        model.encode_arrow(texts)


def built(kind, rows, offsets, data, validity=None, first=0):
    """An array of buffers that nobody has looked at."""
    buffers = [None if part is None else pa.py_buffer(part) for part in (validity, offsets, data)]
    return pa.Array.from_buffers(kind, rows, buffers, offset=first)


def int32(*offsets):
    return np.array(offsets, np.int32)


def int64(*offsets):
    return np.array(offsets, np.int64)


# pyarrow looks at sizes, and at the first and the last offset, when it takes an array.
HOSTILE = {
    "decreasing": (
        built(pa.string(), 3, int32(0, 2, 1, 2), b"ab"),
        r"^texts\[1\] is bytes 2 to 1 of 2: its column's offsets are broken",
    ),
    "too far": (built(pa.string(), 3, int32(0, 1, 3, 2), b"ab"), r"^texts\[1\] is bytes 1 to 3 of 2"),
    "far": (
        built(pa.large_string(), 2, int64(0, 1 << 62, 1), b"ab"), r"^texts\[0\] is bytes 0 to 4611686018427387904 of 2"
    ),
    "negative": (built(pa.string(), 2, int32(0, -1, 1), b"ab"), r"^texts\[0\] is bytes 0 to before 0 of 2"),
    "most negative": (
        built(pa.large_string(), 2, int64(0, -(1 << 63), 0), b"ab"), r"^texts\[0\] is bytes 0 to before 0"
    ),
    "Latin-1": (built(pa.string(), 2, int32(0, 1, 5), b"acaf\xe9"), r"texts\[1\] is not UTF-8: byte 4 is not a part"),
    "surrogate": (built(pa.string(), 1, int32(0, 3), b"\xed\xa0\x80"), r"texts\[0\] is not UTF-8: byte 1"),
    "half a character": (built(pa.string(), 2, int32(0, 1, 2), "ä".encode()), r"texts\[0\] is not UTF-8"),
    "a view of what is not there": (
        pa.Array.from_buffers(pa.string_view(), 1, [None, pa.py_buffer(int32(100, 0, 7, 0)), pa.py_buffer(b"short")]),
        "Invalid|View",
    ),
    "dictionary": (
        pa.DictionaryArray.from_arrays(pa.array([0, 5], pa.int32()), pa.array(["a"]), safe=False),
        "Dictionary indices|index 5|out of bounds",
    ),
    "dictionary of broken strings": (
        pa.DictionaryArray.from_arrays(pa.array([0]), built(pa.string(), 2, int32(0, 9, 1), b"ab")), "larger|[Oo]ffset"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_buffers_that_lie_are_errors(model, name):
    texts, message = HOSTILE[name]
    with pytest.raises(ValueError, match=message):
        model.encode_arrow(texts)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"rows": 5}, "a column of 5 rows from row 0 has 2 offsets"),
        ({"rows": 1 << 40}, "a column of 1099511627776 rows from row 0 has 2 offsets"),
        ({"first": (1 << 63) - 1}, "a column of 1 rows from row 9223372036854775807 has 2 offsets"),
        ({"offsets": b""}, "a column of 1 rows from row 0 has 0 offsets"),
        ({"validity": b""}, "has 2 offsets and 0 bits of validity"),
        ({"data": b""}, r"texts\[0\] is bytes 0 to 1 of 0"),
        ({"wide": True}, "has 1 offsets"),
    ],
    ids=str,
)
def test_what_nobody_has_looked_at_is_checked_where_it_is_read(model, column, message):
    parts = {"data": b"ab", "offsets": int32(0, 1).tobytes(), "wide": False, "validity": None, "first": 0, "rows": 1}
    parts.update(column)
    for name in ("data", "offsets", "validity"):
        parts[name] = None if parts[name] is None else np.frombuffer(parts[name], np.uint8)
    with pytest.raises(ValueError, match=message):
        model._encode_rows(TextColumns([TextColumn(**parts)]))


def test_errors_count_rows_over_all_chunks(model):
    with pytest.raises(ValueError, match=r"texts\[4\] is bytes 2 to 1 of 2"):
        model.encode_arrow(pa.chunked_array([["a", None, "b"], HOSTILE["decreasing"][0]]))
