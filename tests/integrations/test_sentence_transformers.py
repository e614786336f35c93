"""An `Embedder` where sentence-transformers' own tools take a model: evaluators, mining, search, tensors; and the table
of `docs/sentence_transformers.md` against the real class. Needs sentence-transformers, whose scores decide."""

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from sentence_transformers import SentenceTransformer, util  # noqa: E402
from sentence_transformers.sentence_transformer import evaluation  # noqa: E402

from ironvec import Embedder  # noqa: E402
from ironvec.sentence_transformers_names import INSTEAD  # noqa: E402

# Deprecations of theirs, seen through the tools, are not this package's business.
pytestmark = pytest.mark.filterwarnings("default")

TABLE = Path(__file__).parent.parent.parent / "docs" / "sentence_transformers.md"
TOPICS = ["the capital of france", "how to cook pasta", "a cat on the mat", "the price of oil", "rain in the mountains"]
TEXTS = [
    f"{start} {topic}" for topic in TOPICS for start in ("all about", "what is known of", "a story of", "notes on")
]


@pytest.fixture(scope="module")
def ours() -> Embedder:
    return Embedder("minilm")


@pytest.fixture(scope="module")
def theirs(ours) -> SentenceTransformer:
    return SentenceTransformer(ours._native_arguments["folder"], device="cpu", local_files_only=True)


# --- names


def test_the_table_has_every_public_name_of_the_class():
    listed = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+)\|", TABLE.read_text(), re.MULTILINE))))
    public = {name for name in dir(SentenceTransformer) if not name.startswith("_")}
    beside_the_model = {
        "SUPPORTED_SIMILARITY_FN_NAMES", "check_peft_compatible_model", "default_huggingface_organization",
        "has_peft_compatible_model", "model_card_data_class", "model_type",
    }  # fmt: skip
    assert public - set(dir(torch.nn.Sequential)) - beside_the_model <= listed


def test_what_is_absent_here_is_there(theirs):
    missing = {name for name in INSTEAD if not hasattr(type(theirs), name) and name not in vars(theirs)}
    # Set on instances only, with some backends and adapters only.
    assert missing <= {"backend", "truncate_dim", "active_adapter"}


def test_what_is_the_same_is_the_same(ours, theirs):
    assert ours.similarity_fn_name == theirs.similarity_fn_name
    assert ours.get_embedding_dimension() == theirs.get_embedding_dimension()
    assert ours.max_seq_length == theirs.max_seq_length
    assert ours.get_max_seq_length() == theirs.get_max_seq_length()
    assert ours.device == theirs.device
    assert ours.prompts == theirs.prompts
    assert ours.default_prompt_name == theirs.default_prompt_name


# --- tensors


@pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[0]])
@pytest.mark.parametrize(
    "keywords", [{"convert_to_tensor": True}, {"convert_to_numpy": False}, {"precision": "ubinary"}, {}]
)
def test_results_are_of_the_same_kind(ours, theirs, method, texts, keywords):
    made, expected = getattr(ours, method)(texts, **keywords), getattr(theirs, method)(texts, **keywords)
    assert type(made) is type(expected)
    one, other = (value[0] if isinstance(value, list) else value for value in (made, expected))
    assert (type(one), one.shape, one.dtype) == (type(other), other.shape, other.dtype)
    assert np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).max() < 1e-5


def test_a_tensor_is_the_callers_own(ours):
    rows = ours.encode(TEXTS, convert_to_tensor=True)
    rows.mul_(2)
    assert torch.allclose(torch.linalg.norm(rows, dim=1), torch.full((len(TEXTS),), 2.0))


def test_scores_are_of_the_kind_that_was_given(ours, theirs):
    arrays = ours.encode(TEXTS)
    tensors = torch.from_numpy(arrays)
    expected = theirs.similarity(tensors, tensors)
    assert isinstance(ours.similarity(arrays, arrays), np.ndarray)
    for given in ((tensors, tensors), (arrays, tensors)):
        scores = ours.similarity(*given)
        assert isinstance(scores, torch.Tensor)
        assert torch.allclose(scores, expected, atol=1e-5)
    pairs = ours.similarity_pairwise(tensors, tensors.flip(0))
    assert torch.allclose(pairs, theirs.similarity_pairwise(tensors, tensors.flip(0)), atol=1e-5)


# --- evaluators and tools

CORPUS = {str(number): text for number, text in enumerate(TEXTS)}
QUERIES = {f"q{number}": topic for number, topic in enumerate(TOPICS)}
RELEVANT = {f"q{number}": {str(number * 4), str(number * 4 + 2)} for number in range(len(TOPICS))}
SCORES = [(number * 7) % 11 / 10 for number in range(len(TEXTS))]

EVALUATORS = {
    "similarity": lambda **of: evaluation.EmbeddingSimilarityEvaluator(TEXTS, TEXTS[1:] + TEXTS[:1], SCORES, **of),
    "retrieval": lambda **of: evaluation.InformationRetrievalEvaluator(QUERIES, CORPUS, RELEVANT, **of),
    "binary": lambda **of: evaluation.BinaryClassificationEvaluator(
        TEXTS[:-1], TEXTS[1:], [int(number % 4 != 3) for number in range(len(TEXTS) - 1)], **of
    ),
    "triplet": lambda **of: evaluation.TripletEvaluator(TEXTS[:8], TEXTS[1:9], TEXTS[8:16], **of),
    "reranking": lambda **of: evaluation.RerankingEvaluator(
        [
            {"query": topic, "positive": TEXTS[4 * n : 4 * n + 2], "negative": TEXTS[:2] + TEXTS[-2:]}
            for n, topic in enumerate(TOPICS)
        ][1:-1],
        **of,
    ),
    "paraphrases": lambda **of: evaluation.ParaphraseMiningEvaluator(CORPUS, [("0", "1"), ("4", "6")], **of),
    "translation": lambda **of: evaluation.TranslationEvaluator(TEXTS[:-1], TEXTS[1:], **of),
    "sequential": lambda **of: evaluation.SequentialEvaluator([EVALUATORS["similarity"](**of)]),
}


@pytest.mark.parametrize("kind", EVALUATORS)
@pytest.mark.parametrize("options", [{}, {"truncate_dim": 64}])
def test_evaluators_score_it_as_they_score_the_original(ours, theirs, kind, options, tmp_path):
    expected = EVALUATORS[kind](**options)(theirs)
    found = EVALUATORS[kind](**options)(ours, output_path=str(tmp_path))
    assert found == pytest.approx(expected, abs=1e-4)
    assert expected


def test_a_student_is_compared_with_its_teacher(ours, theirs):
    evaluator = evaluation.MSEEvaluator(TEXTS, TEXTS, teacher_model=theirs)
    assert evaluator(ours)["negative_mse"] == pytest.approx(0, abs=1e-6)


def test_paraphrases_are_mined(ours, theirs):
    found, expected = (util.paraphrase_mining(model, TEXTS, top_k=3) for model in (ours, theirs))
    assert [pair[1:] for pair in found[:10]] == [pair[1:] for pair in expected[:10]]
    assert [pair[0] for pair in found] == pytest.approx([pair[0] for pair in expected], abs=1e-5)


@pytest.mark.parametrize("keywords", [{}, {"convert_to_tensor": True}])
def test_search_and_communities_take_the_vectors(ours, theirs, keywords):
    queries, corpus = ours.encode_query(TOPICS, **keywords), ours.encode_document(TEXTS, **keywords)
    found = util.semantic_search(queries, corpus, top_k=4)
    expected = util.semantic_search(theirs.encode_query(TOPICS), theirs.encode_document(TEXTS), top_k=4)
    assert [[hit["corpus_id"] for hit in hits] for hits in found] == [
        [h["corpus_id"] for h in hits] for hits in expected
    ]
    communities = util.community_detection(corpus, threshold=0.6, min_community_size=2)
    assert communities == util.community_detection(theirs.encode(TEXTS), threshold=0.6, min_community_size=2)
    assert communities


@pytest.mark.parametrize("options", [{}, {"use_multi_process": True}])
def test_hard_negatives_are_mined(ours, theirs, options):
    datasets = pytest.importorskip("datasets")
    pairs = datasets.Dataset.from_dict({"query": TOPICS, "answer": TEXTS[:: len(TEXTS) // len(TOPICS)]})

    def mined(model, **options):
        return util.mine_hard_negatives(pairs, model, corpus=TEXTS, num_negatives=2, verbose=False, **options).to_dict()

    assert mined(ours, **options) == mined(theirs)
