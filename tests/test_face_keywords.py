"""Prompts and the keywords of sentence-transformers: what is taken, what is refused."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder
from kit.checkpoints import write_bert
from kit.texts import TEXTS
from kit.vectors import close

PROMPTS = {"query": "query: ", "passage": "passage: "}


@pytest.fixture(scope="module")
def prompted_folder(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("prompted"), prompts=PROMPTS, default_prompt_name="passage").folder


@pytest.fixture(scope="module")
def prompted(prompted_folder) -> Embedder:
    return Embedder(prompted_folder)


# --- prompts


def test_prompt_beats_prompt_name_beats_the_default(prompted):
    def plain(text):
        return prompted.encode(text, prompt="")

    close(prompted.encode("cat"), plain("passage: cat"))
    close(prompted.encode("cat", prompt_name="query"), plain("query: cat"))
    close(prompted.encode("cat", prompt_name="query", prompt="search_query: "), plain("search_query: cat"))
    assert not np.allclose(plain("cat"), plain("query: cat"), atol=1e-3)


def test_roles_take_their_prompts(prompted):
    close(prompted.encode_query("cat"), prompted.encode("query: cat", prompt=""))
    close(prompted.encode_document("cat"), prompted.encode("passage: cat", prompt=""))
    close(prompted.encode_query("cat", prompt=""), prompted.encode("cat", prompt=""))
    close(prompted.encode_document("cat", prompt_name="query"), prompted.encode_query("cat"))


def test_document_roles_are_tried_in_order(folder):
    given = {"document": "a ", "passage": "b ", "corpus": "c "}
    while given:
        model = Embedder(folder, prompts=given)
        first = next(iter(given))
        close(model.encode_document("cat"), model.encode(given[first] + "cat"))
        del given[first]


def test_a_role_without_a_prompt_keeps_the_default_away(folder):
    model = Embedder(folder, prompts={"task": "cook "}, default_prompt_name="task")
    close(model.encode("cat"), model.encode("cook cat", prompt=""))
    close(model.encode_query("cat"), model.encode("cat", prompt=""))


def test_the_constructors_prompts_override_and_extend(prompted_folder):
    model = Embedder(prompted_folder, prompts={"query": "blue ", "own": "red "}, default_prompt_name="own")
    assert model.prompts == {"query": "blue ", "document": "", "passage": "passage: ", "own": "red "}
    close(model.encode("cat"), model.encode("red cat", prompt=""))
    close(model.encode_query("cat"), model.encode("blue cat", prompt=""))


def test_unknown_prompt_names_list_the_known_ones(folder, prompted):
    with pytest.raises(ValueError, match="prompt_name='x' is not among the prompts; known: 'query', 'document', 'pass"):
        prompted.encode("cat", prompt_name="x")
    with pytest.raises(ValueError, match="default_prompt_name='x' is not among the prompts"):
        Embedder(folder, default_prompt_name="x")


def test_prompts_are_texts(folder, model):
    with pytest.raises(TypeError, match=r"prompts\['query'\] maps str to int"):
        Embedder(folder, prompts={"query": 3})
    with pytest.raises(TypeError, match="prompts is list; expected a mapping"):
        Embedder(folder, prompts=["query"])
    with pytest.raises(TypeError, match="prompt is int, not str"):
        model.encode("cat", prompt=3)


# --- sentence-transformers' other keywords


@pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
@pytest.mark.parametrize("name", ["inputs", "sentences"])
def test_texts_go_by_their_other_names(model, rows, method, name):
    close(getattr(model, method)(**{name: TEXTS}), rows)
    with pytest.raises(TypeError, match=f"got its texts more than once: texts, {name}"):
        getattr(model, method)(TEXTS, **{name: TEXTS})


def test_keywords_that_ask_for_what_it_does_are_accepted(model, rows):
    same = model.encode(
        TEXTS, show_progress_bar=False, output_value="sentence_embedding", precision="float32", convert_to_numpy=True,
        convert_to_tensor=False, device="cpu", pool=None, chunk_size=None,
    )  # fmt: skip
    close(same, rows)
    close(model.encode(TEXTS, device=None), rows)


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("output_value", "token_embeddings", "sentence_embedding"),
        ("output_value", None, "sentence_embedding"),
        ("device", "cuda:0", "runs on 'cpu'"),
        ("device", ["cpu", "cpu"], "runs on 'cpu'"),
        ("pool", {}, "no process pools"),
        ("chunk_size", 10, "no process pools"),
    ],
)
def test_keywords_that_ask_for_more_are_refused(model, keyword, value, message):
    with pytest.raises(ValueError, match=rf"encode\({keyword}=.*asks for what ironvec does not do: .*{message}"):
        model.encode(TEXTS, **{keyword: value})


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed: tests/integrations")
@pytest.mark.parametrize("keyword", [{"convert_to_tensor": True}, {"convert_to_numpy": False}])
def test_tensors_without_torch_are_an_error_before_the_work(model, keyword):
    with pytest.raises(ImportError, match=r"encode\(convert_to_.*\) makes tensors of torch, which is not installed"):
        model.encode(TEXTS, **keyword)
    with pytest.raises(TypeError, match="convert_to_tensor is str; expected a bool"):
        model.encode(TEXTS, convert_to_tensor="yes")


def test_unknown_keywords_are_refused(model):
    with pytest.raises(TypeError, match=r"encode\(\) got an unexpected keyword argument 'btach_size'"):
        model.encode(TEXTS, btach_size=3)


def test_a_progress_bar_counts_texts_and_only_when_asked(model, rows, capsys):
    model.encode(TEXTS)
    assert capsys.readouterr().err == ""
    close(model.encode(TEXTS, show_progress_bar=True), rows)
    assert "4/4" in capsys.readouterr().err
