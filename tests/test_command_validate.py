"""`ironvec validate`: a sound model passes every check, and each fault is found by the check that is there for it."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ironvec import Embedder
from ironvec.cli import main
from ironvec.model_checks import check_model
from ironvec.sample_texts import SENTENCES, TEXTS
from kit.checkpoints import write_bert
from kit.qwen3_checkpoints import write_qwen3

pytestmark = pytest.mark.slow

NAMES = ["dimension", "finite", "L2 norm", "alone = batched", "deterministic", "truncation", "prompts", "similarity"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    prompts = {"query": "query: "}
    return write_bert(tmp_path_factory.mktemp("validate") / "bert", prompts=prompts, max_positions=128).folder


class Faulty:
    """A model whose `encode` is changed on its way out: `fault(texts, vectors, keywords)`."""

    def __init__(self, model: Embedder, fault: Callable[..., np.ndarray]) -> None:
        self._model, self._fault = model, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, texts: Any, **keywords: Any) -> np.ndarray:
        keywords = {**keywords, "texts": texts}
        found = self._fault(self._model, keywords)
        return found

    def encode_query(self, texts: Any) -> np.ndarray:
        return self.encode(texts, prompt_name="query")


def changed(change: Callable[[np.ndarray, dict[str, Any]], np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda model, keywords: change(model.encode(**keywords), keywords)


def one_nan(vectors, keywords):
    vectors = vectors.copy()
    vectors.flat[3] = np.nan
    return vectors


def batch_dependent(vectors, keywords):
    return vectors + np.float32(1e-3) if vectors.ndim == 2 else vectors


def of_the_other_sentence(vectors, keywords):
    return vectors[[0, 2, 1]] if list(keywords["texts"]) == list(SENTENCES) else vectors


noise = np.random.default_rng(3)
FAULTS = {
    "dimension": changed(lambda vectors, _: vectors[..., :-1]),
    "finite": changed(one_nan),
    "L2 norm": changed(lambda vectors, _: vectors * np.float32(1.0001)),
    "alone = batched": changed(batch_dependent),
    "deterministic": changed(lambda vectors, _: vectors + noise.normal(0, 1e-8, vectors.shape).astype(np.float32)),
    "truncation": lambda model, keywords: model.encode(**{**keywords, "max_length": None}),
    "prompts": lambda model, keywords: model.encode(keywords["texts"], prompt=""),
    "similarity": changed(of_the_other_sentence),
}


def failed(model: Any) -> set[str]:
    return {check.name for check in check_model(model, TEXTS) if not check.passed}


def test_a_sound_model_passes(minilm, folder):
    assert [check.name for check in check_model(minilm, TEXTS)] == NAMES == list(FAULTS)
    assert failed(minilm) == set()
    assert failed(Embedder(folder)) - {"similarity"} == set()  # random weights know nothing of Paris


@pytest.mark.parametrize("name", NAMES)
def test_each_fault_is_found(name, minilm, folder):
    # The published model for what its weights must know, the tiny one, which has a prompt, for the rest.
    model = minilm if name == "similarity" else Embedder(folder)
    assert name in failed(Faulty(model, FAULTS[name]))


def test_an_error_within_is_a_failed_check(folder):
    def broken(model, keywords):
        raise ValueError("the weights have changed")

    checks = list(check_model(Faulty(Embedder(folder), broken), TEXTS))
    assert checks == [("encode", False, "the weights have changed", {})]


@pytest.mark.parametrize("options", [{"include_prompt": False}, {"pooling": ["cls", "max"], "normalize": False}])
def test_other_kinds_of_models_pass(options, tmp_path):
    folder = write_bert(tmp_path / "bert", prompts={"query": "query: "}, max_positions=128, **options).folder
    assert failed(Embedder(folder)) - {"similarity"} == set()


def test_a_decoder_passes(tmp_path):
    assert failed(Embedder(write_qwen3(tmp_path / "qwen3").folder)) - {"similarity"} == set()


def test_the_lines(capsys):
    assert main(["validate", "minilm"]) == 0
    head, blank, *lines, _, last = capsys.readouterr().out.splitlines()
    assert head.startswith("sentence-transformers/all-MiniLM-L6-v2 on cpu in float32, loaded in ")
    assert (blank, last) == ("", "8 checks passed.")
    assert [line.split("  ")[1] for line in lines if line.startswith("  ok")] == ["ok"] * 8
    text = "\n".join(lines)
    assert "similar 0.8561, different 0.1005, separation" in text
    assert "384, as the registry says" in text
    assert max(map(len, lines)) <= 80


def test_a_reference_is_made_and_held(tmp_path, capsys):
    path, texts = tmp_path / "vectors.npz", tmp_path / "texts.txt"
    texts.write_text("Paris\n\nthe capital of France\n", encoding="utf-8")
    assert main(["validate", "minilm", "--make-reference", str(path), "--texts", str(texts)]) == 0
    assert f"Written: {path}" in capsys.readouterr().out
    with np.load(path) as arrays:
        assert arrays["texts"].tolist() == ["Paris", "the capital of France"]
        embeddings = arrays["embeddings"]
    np.testing.assert_array_equal(embeddings, Embedder("minilm").encode(["Paris", "the capital of France"]))
    assert main(["validate", "minilm", "--reference", str(path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["passed"], len(record["checks"])) == (True, 10)
    # int8 is another arithmetic, and says how far it is.
    assert main(["validate", "minilm", "--reference", str(path), "--dtype", "int8", "--min-cosine", "0.99999"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  reference cosine" in out
    assert "1 of 10 checks failed: reference cosine." in out


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (lambda vectors: vectors + np.float32(0.01), {"reference error", "reference cosine"}),
        (lambda vectors: vectors * np.float32(3), {"reference error"}),
        (lambda vectors: vectors[:, :-1], {"reference"}),
        (lambda vectors: vectors * np.float32("nan"), {"reference error", "reference cosine"}),
    ],
)  # fmt: skip
def test_another_models_vectors_fail(change, failing, tmp_path, capsys):
    path, texts = tmp_path / "vectors.npz", list(TEXTS)
    np.savez(path, texts=texts, embeddings=change(Embedder("minilm").encode(texts)))
    assert main(["validate", "minilm", "--reference", str(path), "--json"]) == 1
    record = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert {check["name"] for check in record["checks"] if not check["passed"]} == failing


def test_a_reference_of_queries(tmp_path, capsys):
    folder = write_bert(tmp_path / "bert", prompts={"query": "query: "}).folder
    path, texts = tmp_path / "vectors.npz", ["paris", "cook pasta"]
    np.savez(path, texts=texts, embeddings=Embedder(folder).encode_query(texts))
    main(["validate", str(folder), "--reference", str(path), "--prompt-name", "query", "--json"])
    with_prompt = json.loads(capsys.readouterr().out)["checks"][-1]
    main(["validate", str(folder), "--reference", str(path), "--json"])
    without = json.loads(capsys.readouterr().out)["checks"][-1]
    assert (with_prompt["passed"], without["passed"]) == (True, False)
    assert main(["validate", str(folder), "--prompt-name", "none"]) == 2
    assert "--prompt-name none: known are query, document" in capsys.readouterr().err


def test_what_is_no_reference_is_refused(tmp_path, capsys):
    def refusal(**arrays: Any) -> str:
        np.savez(tmp_path / "wrong.npz", **arrays)
        assert main(["validate", "minilm", "--reference", str(tmp_path / "wrong.npz")]) == 2
        return capsys.readouterr().err

    one = np.ones((1, 384), np.float32)
    assert "embeddings is not a file in the archive; expected an .npz file of `texts`" in refusal(texts=["a"])
    assert "Object arrays cannot be loaded" in refusal(texts=np.array(["a"], dtype=object), embeddings=one)
    assert "2 texts and 1 embeddings" in refusal(texts=["a", "b"], embeddings=one)
    assert "texts <U1 (1,), embeddings int64" in refusal(texts=["a"], embeddings=np.ones((1, 384), np.int64))
    for content in (b"", b"PK\x03\x04", b"no archive"):
        (tmp_path / "wrong.npz").write_bytes(content)
        assert main(["validate", "minilm", "--reference", str(tmp_path / "wrong.npz")]) == 2
        assert "expected an .npz file" in capsys.readouterr().err
    assert main(["validate", "minilm", "--reference", str(tmp_path / "none.npz")]) == 2
    assert "none.npz" in capsys.readouterr().err


def test_nothing_is_written_of_a_model_that_fails(tmp_path, capsys):
    folder, path = write_bert(tmp_path / "bert", seed=5, normalize=True).folder, tmp_path / "vectors.npz"
    reference = tmp_path / "reference.npz"
    np.savez(reference, texts=["paris"], embeddings=np.ones((1, 7), np.float32))
    arguments = ["validate", str(folder), "--reference", str(reference), "--make-reference", str(path)]
    assert main(arguments) == 1
    assert f"Not written, since a check failed: {path}" in capsys.readouterr().out
    assert not path.exists()


@pytest.mark.parametrize("arguments", ["nowhere/at-all/here", "minilm --dtype float7", "minilm --file x"])
def test_wrong_arguments(arguments, capsys):
    assert main(["validate", *arguments.split()]) == 2
    assert capsys.readouterr().err.startswith("ironvec: error: ")
