"""What callers do around the face: positions, warnings, subclasses, odd pickles, columns of other libraries."""

import copy
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder
from kit.checkpoints import write_bert

TEXTS = ["the capital of france is paris", "cook pasta"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("callers"), prompts={"query": "query: "}).folder


@pytest.fixture(scope="module")
def model(folder) -> Embedder:
    return Embedder(folder)


class Ours(Embedder):
    """A constructor of its own, and something kept from it."""

    def __init__(self, place, *, suffix):
        super().__init__(place)
        self.suffix = suffix


class Slotted(Embedder):
    __slots__ = ("__label",)

    def __init__(self, label, place):
        super().__init__(place)
        self.__label = label

    def label(self):
        return self.__label


@pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
def test_positions_are_those_of_sentence_transformers(model, method, capsys):
    call = getattr(model, method)
    assert np.array_equal(call(TEXTS, "query"), call(TEXTS, prompt_name="query"))
    assert np.array_equal(call(TEXTS, None, "cook "), call(TEXTS, prompt="cook "))
    call(TEXTS, None, None, 1, True)
    assert "2/2" in capsys.readouterr().err
    with pytest.raises(ValueError, match="batch_size is 0"):
        call(TEXTS, None, None, 0)
    with pytest.raises(TypeError, match="positional argument"):
        call(TEXTS, None, None, 1, False, "sentence_embedding")


@pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document", "embed_texts", "encode_iter"])
@pytest.mark.parametrize("options", [{}, {"show_progress_bar": True}])
def test_warnings_name_the_callers_line(folder, method, options):
    if (options and not method.startswith("encode")) or (options and method == "encode_iter"):
        pytest.skip("has no progress bar")
    model = Embedder(folder, on_truncate="warn", max_length=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = getattr(model, method)(TEXTS, **options)
        if method == "encode_iter":
            next(made)
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name]
    assert "were cut at max_length=4" in str(caught[0].message)


@pytest.mark.parametrize("duplicate", [lambda model: pickle.loads(pickle.dumps(model)), copy.copy, copy.deepcopy])
def test_a_subclass_keeps_what_its_constructor_was_given(folder, duplicate):
    ours = duplicate(Ours(folder, suffix=["!"]))
    assert (type(ours), ours.suffix) == (Ours, ["!"])
    assert np.array_equal(ours.encode(TEXTS), Embedder(folder).encode(TEXTS))
    slotted = duplicate(Slotted("first", folder))
    assert (type(slotted), slotted.label()) == (Slotted, "first")


def test_a_stray_file_named_like_an_alias_does_not_enter_the_pickle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minilm").write_text("notes")
    data = pickle.dumps(Embedder("minilm"))
    assert pickle.loads(data).dimension == 384


def test_a_relative_cache_pickles_as_the_folder_it_was(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, (_, _, keywords), _ = Embedder(folder, cache_dir="hub").__reduce__()
    assert keywords["cache_dir"] == str(tmp_path / "hub")


class Column:
    """As a column of a library that is not here: `answer` by the name of its own method."""

    def __init__(self, method, answer):
        setattr(self, method, lambda: answer)

    def __iter__(self):
        return iter([object()])


@pytest.mark.parametrize("method", ["tolist", "to_pylist"])
def test_columns_of_other_libraries_give_their_texts(model, method):
    assert np.array_equal(model.encode(Column(method, TEXTS)), model.encode(TEXTS))
    with pytest.raises(TypeError, match=rf"texts\.{method}\(\) gave str, not a list; expected a str or a sequence"):
        model.encode(Column(method, "text"))


def test_a_chunked_array_of_arrow(model):
    arrow = pytest.importorskip("pyarrow")
    chunked = arrow.chunked_array([TEXTS[:1], TEXTS[1:]])
    assert np.array_equal(model.encode(chunked), model.encode(TEXTS))


class LazyTable:
    @property
    def columns(self):
        raise AssertionError("asked for its columns")

    def collect(self):
        raise AssertionError("collected")


def test_a_lazy_table_is_refused_without_being_asked(model):
    with pytest.raises(TypeError, match=r"texts is a table \(LazyTable\); pass one column of it, collected"):
        model.encode(LazyTable())


def test_an_output_value_that_is_an_array_is_refused(model):
    with pytest.raises(ValueError, match=r"encode\(output_value=array.*sentence_embedding"):
        model.encode(TEXTS, output_value=np.array(["sentence_embedding", "token_embeddings"]))
