"""What `Embedder` takes as texts and sizes, and the shape of what it gives: on a tiny random checkpoint.

Whether the numbers are right is the parity tests' question.
"""

import numpy as np
import pytest

from ironvec import Embedder
from kit.texts import TEXTS
from kit.vectors import close

# --- texts in, arrays out


def test_a_list_gives_a_matrix_and_a_str_a_vector(model, rows):
    assert rows.shape == (4, model.dimension)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    vector = model.encode(TEXTS[0])
    assert vector.shape == (model.dimension,)
    close(vector, rows[0])
    assert not np.allclose(rows[0], rows[2], atol=1e-3)


class Lines:
    """A sequence by protocol only."""

    def __len__(self):
        return len(TEXTS)

    def __getitem__(self, index):
        return TEXTS[index]

    def __iter__(self):
        return iter(TEXTS)


class Column(Lines):
    """Like a pandas Series: `tolist` gives Python strings."""

    def __iter__(self):
        raise AssertionError("tolist is there")

    def tolist(self):
        return list(TEXTS)


@pytest.mark.parametrize(
    "texts",
    [tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, dtype=object), Lines(), Column(), iter(TEXTS), (t for t in TEXTS)],
    ids=["tuple", "array", "object array", "sequence", "series", "iterator", "generator"],
)
def test_every_ordered_iterable_of_str_is_taken(model, rows, texts):
    close(model.encode(texts), rows)


@pytest.mark.parametrize("texts", [[], (), np.array([], dtype=str), iter(())])
def test_no_texts_give_no_rows(model, texts):
    empty = model.encode(texts)
    assert empty.shape == (0, model.dimension)
    assert empty.dtype == np.float32


class Table:
    columns = ("a", "b")

    def __iter__(self):
        return iter(self.columns)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "texts is None; expected a str or a sequence of str"),
        (b"bytes", "texts is bytes, not text; decode it first"),
        (bytearray(b"x"), "texts is bytearray, not text"),
        (3, "texts is int; expected a str"),
        ({"a": 1}, r"texts is a mapping \(dict\)"),
        ({"a", "b"}, "texts is a set, which has no order"),
        (Table(), r"texts is a table \(Table\); pass one column"),
        (np.array("one"), r"texts is an array of shape \(\)"),
        (np.array([["a", "b"]]), r"texts is an array of shape \(1, 2\)"),
        ([*TEXTS, None], r"texts\[4\] is NoneType"),
        (["a", b"b"], r"texts\[1\] is bytes"),
        (["a", 3.5], r"texts\[1\] is float"),
        ([["a", "b"]], r"texts\[0\] is list"),
        (np.array([1, 2]), r"texts\[0\] is int"),
    ],
)
def test_other_things_are_refused_by_name(model, texts, message):
    with pytest.raises(TypeError, match=message):
        model.encode(texts)


def test_encode_without_texts_is_refused(model):
    with pytest.raises(TypeError, match="texts is None"):
        model.encode()


@pytest.mark.parametrize("texts", [["fine", "\ud800"], ["fine", "a\udfffb"]])
def test_lone_surrogates_are_refused_with_their_index(model, texts):
    with pytest.raises(ValueError, match=r"texts\[1\]"):
        model.encode(texts)


# --- numbers among the arguments


@pytest.mark.parametrize("name", ["batch_size", "truncate_dim", "max_length"])
@pytest.mark.parametrize("value", [0, -1, True, 2.0, "8", np.bool_(True)])
def test_sizes_are_positive_ints(model, name, value):
    expected = ValueError if type(value) is int else TypeError
    with pytest.raises(expected, match=f"{name} is .*; expected a positive int"):
        model.encode(TEXTS, **{name: value})


@pytest.mark.parametrize("name", ["threads", "truncate_dim", "max_length"])
@pytest.mark.parametrize("value", [0, True, "8"])
def test_the_constructors_sizes_are_positive_ints(folder, name, value):
    with pytest.raises((TypeError, ValueError), match=f"{name} is .*; expected a positive int"):
        Embedder(folder, **{name: value})


@pytest.mark.parametrize("batch_size", [1, 3, np.int64(2)])
def test_batch_size_changes_nothing(model, rows, batch_size):
    close(model.encode(TEXTS, batch_size=batch_size), rows)


def test_truncate_dim_cuts_and_renormalizes(folder, model, rows):
    cut = rows[:, :8] / np.linalg.norm(rows[:, :8], axis=1, keepdims=True)
    close(model.encode(TEXTS, truncate_dim=8), cut)
    short = Embedder(folder, truncate_dim=8)
    assert short.dimension == 8
    close(short.encode(TEXTS), cut)


def test_normalize_embeddings_is_a_bool_or_none(model):
    close(np.linalg.norm(model.encode(TEXTS, normalize_embeddings=np.bool_(True)), axis=1), 1.0)
    with pytest.raises(TypeError, match="normalize_embeddings is str; expected a bool or None"):
        model.encode(TEXTS, normalize_embeddings="no")


# --- out


def test_out_is_filled_and_returned(model, rows, tmp_path):
    out = np.full(rows.shape, np.nan, dtype=np.float32)
    assert model.encode(TEXTS, out=out) is out
    close(out, rows)
    mapped = np.memmap(tmp_path / "rows.f32", dtype=np.float32, mode="w+", shape=rows.shape)
    assert model.encode(TEXTS, out=mapped) is mapped
    close(np.fromfile(tmp_path / "rows.f32", dtype=np.float32).reshape(rows.shape), rows)


def test_out_of_one_text_may_be_a_vector_or_a_row(model, rows):
    for shape in ((model.dimension,), (1, model.dimension)):
        out = np.zeros(shape, dtype=np.float32)
        assert model.encode(TEXTS[0], out=out) is out
        close(out.reshape(-1), rows[0])


def test_a_wrong_out_is_refused(model, rows):
    with pytest.raises(TypeError, match="out is list; expected a NumPy array"):
        model.encode(TEXTS, out=[0.0])
    for out in (
        np.zeros((3, model.dimension), np.float32),
        np.zeros(rows.shape),
        np.zeros(model.dimension, np.float32),
    ):
        with pytest.raises((TypeError, ValueError), match="out"):
            model.encode(TEXTS, out=out)


# --- encode_iter


@pytest.mark.parametrize("chunk", [1, 3, 4, 1000])
def test_encode_iter_gives_the_same_rows_in_chunks(model, rows, chunk):
    arrays = list(model.encode_iter(iter(TEXTS), chunk=chunk))
    assert [len(array) for array in arrays] == [len(TEXTS[i : i + chunk]) for i in range(0, len(TEXTS), chunk)]
    close(np.concatenate(arrays), rows)


def test_encode_iter_reads_no_further_than_asked(model):
    taken = []
    arrays = model.encode_iter((taken.append(text) or text for text in TEXTS * 1000), chunk=3)
    assert taken == []
    next(arrays)
    assert len(taken) == 3


def test_encode_iter_checks_its_arguments_at_the_call(model):
    for texts, message in [("one", "texts is one str"), (None, "texts is None"), ({"a": 1}, "texts is a mapping")]:
        with pytest.raises(TypeError, match=message):
            model.encode_iter(texts)
    with pytest.raises(ValueError, match="chunk is 0; expected a positive int"):
        model.encode_iter(TEXTS, chunk=0)
    with pytest.raises(ValueError, match="precision='int8' needs all vectors at once"):
        model.encode_iter(TEXTS, precision="int8")


def test_encode_iter_says_in_which_chunk_a_text_is_wrong(model):
    arrays = model.encode_iter(["a", "b", "c", 4], chunk=2)
    next(arrays)
    with pytest.raises(TypeError, match=r"in the chunk that starts at text 2: texts\[1\] is int"):
        next(arrays)
