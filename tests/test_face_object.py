"""An `Embedder` as an object: properties, tokens, similarity, pickling, forking; and the package around it."""

import multiprocessing
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest

import ironvec
from ironvec import Embedder
from kit.checkpoints import write_bert
from kit.interpreter import python
from kit.texts import TEXTS
from kit.vectors import close

# --- tokens


def test_tokens_are_those_the_model_sees(folder, model):
    ids = model.tokenize("cat sat")
    assert [type(one) for one in ids] == [int] * 4
    assert model.tokenize(["cat sat", "cat"]) == [ids, [ids[0], ids[1], ids[3]]]
    assert len(model.tokenize("cat " * 500)) == model.max_length
    assert Embedder(folder, max_length=5).tokenize("cat " * 500) == [ids[0], *[ids[1]] * 3, ids[3]]


def test_tokens_are_counted_before_the_cut(model):
    counts = model.count_tokens(["cat sat", "", "cat " * 500])
    assert counts.dtype == np.int64
    assert counts.tolist() == [4, 2, 502]
    assert int(model.count_tokens("cat sat")) == 4
    assert model.count_tokens([]).shape == (0,)


# --- similarity


def _expected(function, a, b):
    if function == "cosine":
        return np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
    if function == "dot":
        return np.dot(a, b)
    return -np.abs(a - b).sum() if function == "manhattan" else -np.sqrt(((a - b) ** 2).sum())


@pytest.mark.parametrize("function", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarity_is_the_checkpoints_own(tmp_path, function):
    model = Embedder(write_bert(tmp_path, similarity_fn_name=function).folder)
    random = np.random.default_rng(0)
    a, b = random.standard_normal((3, 5)), random.standard_normal((3, 5))
    matrix = model.similarity(a, b)
    assert matrix.dtype == np.float32
    close(matrix, [[_expected(function, left, right) for right in b] for left in a])
    pairs = model.similarity_pairwise(a, b)
    assert pairs.dtype == np.float32
    close(pairs, np.diag(matrix))
    close(model.similarity(a[0], b), matrix[:1])


def test_similarity_refuses_shapes_that_do_not_fit(model):
    with pytest.raises(ValueError, match="a has dimension 3 and b has dimension 4"):
        model.similarity(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="a has 2 rows and b has 3"):
        model.similarity_pairwise(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"b has shape \(1, 2, 3\)"):
        model.similarity(np.zeros((2, 3)), np.zeros((1, 2, 3)))


def test_similarity_of_a_zero_vector_is_zero(model):
    assert model.similarity(np.zeros(3), np.ones(3)).tolist() == [[0.0]]


# --- the object


def test_properties_are_read_only_and_strangers_are_refused(model, folder):
    assert (model.dimension, model.max_length, model.model_id) == (32, 64, str(folder))
    assert (model.provider, model.dtype, model.pooling, model.normalize) == ("cpu", "float32", "mean", True)
    for name in ("dimension", "max_length", "model_id", "provider", "dtype", "prompts", "pooling", "normalize"):
        with pytest.raises(AttributeError):
            setattr(model, name, None)
    with pytest.raises(AttributeError):
        model.max_seq_length = 12
    model.prompts["query"] = "changed"
    assert model.prompts["query"] == ""
    assert isinstance(model.device_report(), dict)


def test_repr_says_what_is_loaded(model, folder):
    assert repr(model) == (
        f"Embedder({str(folder)!r}, dimension=32, max_length=64, provider='cpu', dtype='float32', "
        "pooling='mean', normalize=True)"
    )


def test_unsupported_arguments_are_refused(folder):
    with pytest.raises(FileNotFoundError, match=r"x\.onnx: no such file; file_name asks for it"):
        Embedder(folder, file_name="x.onnx")
    with pytest.raises(ValueError, match="on_truncate='raise'; expected"):
        Embedder(folder, on_truncate="raise")
    with pytest.raises(TypeError, match="device"):
        Embedder(folder, device="cpu")


def test_it_pickles_by_its_arguments_but_the_token(folder):
    model = Embedder(folder, truncate_dim=8, prompts={"query": "blue "}, token="hf_secret", max_length=16)
    data = pickle.dumps(model)
    assert b"hf_secret" not in data
    copy = pickle.loads(data)
    assert repr(copy) == repr(model)
    close(copy.encode_query(TEXTS), model.encode_query(TEXTS))


def test_a_relative_path_pickles_as_the_folder_it_was(folder, tmp_path, monkeypatch):
    path = pathlib.Path(folder)
    monkeypatch.chdir(path.parent)
    data = pickle.dumps(Embedder(path.name))
    monkeypatch.chdir(tmp_path)
    close(pickle.loads(data).encode(TEXTS), Embedder(folder).encode(TEXTS))


def test_it_can_be_dropped(folder):
    model = Embedder(folder)
    reference = weakref.ref(model)
    del model
    assert reference() is None


def _encode_in_child(model, texts, queue):
    queue.put(model.encode(texts))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_it_survives_fork(model, rows):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_encode_in_child, args=(model, TEXTS, queue))
    child.start()
    try:
        close(queue.get(timeout=60), rows)
        child.join(timeout=60)
        assert child.exitcode == 0
    finally:
        if child.is_alive():
            child.kill()
    close(model.encode(TEXTS), rows)


_FORK_AND_LEAVE = """
import os, sys
from ironvec import Embedder
model = Embedder(sys.argv[1])
child = os.fork()
if child == 0:
    model.encode("cat")
    sys.exit(7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_that_exits_normally_ends(folder):
    # multiprocessing's children leave by os._exit; gunicorn's, for one, by sys.exit, which runs the libraries' exit
    # handlers. In libonnxruntime 1.32 these wait for its telemetry thread, which a forked child does not have.
    command = [sys.executable, "-W", "ignore", "-c", _FORK_AND_LEAVE, str(folder)]
    with subprocess.Popen(command, start_new_session=True) as parent:
        try:
            assert parent.wait(timeout=10) == 7
        finally:
            # The session is the test's own: parent and child, and nobody else.
            if parent.poll() is None:
                os.killpg(parent.pid, signal.SIGKILL)


# --- the package


def test_import_stays_light():
    heavy = ["torch", "transformers", "onnxruntime", "huggingface_hub", "tqdm", "argparse", "sentence_transformers"]
    code = f"import sys, ironvec; print([name for name in {heavy} if name in sys.modules])"
    assert python(code) == "[]\n"


def test_public_names():
    assert set(ironvec.__all__) >= {"Embedder", "ModelError", "ProviderError", "__version__"}
    assert all(hasattr(ironvec, name) for name in ironvec.__all__)
    assert ironvec.__version__[0].isdigit()
    assert ironvec.ModelError.__module__ == ironvec.ProviderError.__module__ == "ironvec"
