"""mteb: its kinds of tasks, on the few made-up texts that it carries for tests, and what the protocol asks for."""

import pytest

from ironvec import Embedder
from kit.packages import package
from kit.vectors import close

IronvecEncoder = package("ironvec.integrations.mteb").IronvecEncoder
mteb, mocks = package("mteb"), package("mteb.mocks")
EncoderProtocol = package("mteb.models.models_protocols").EncoderProtocol
PromptType = package("mteb.types").PromptType
SentenceTransformer = package("sentence_transformers").SentenceTransformer
torch = package("torch")

KINDS = [
    "MockBitextMiningTask", "MockClassificationTask", "MockClusteringTask", "MockInstructionReranking",
    "MockMultilabelClassification", "MockPairClassificationTask", "MockRegressionTask", "MockRerankingTask",
    "MockRetrievalTask", "MockSTSTask", "MockSummarizationTask", "MockTextZeroShotClassificationTask",
]  # fmt: skip


@pytest.fixture(scope="module")
def encoder(folder):
    return IronvecEncoder(folder)


@pytest.fixture(scope="module")
def sentence_transformer(folder):
    return SentenceTransformer(folder)


def _scores(model, kind):
    [result] = mteb.evaluate(model, [getattr(mocks, kind)()], cache=None, show_progress_bar=False).task_results
    return {
        f"{split} {index}": row["main_score"] for split, rows in result.scores.items() for index, row in enumerate(rows)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_score_as_with_sentence_transformers(encoder, sentence_transformer, kind):
    scores = _scores(encoder, kind)
    assert scores == pytest.approx(_scores(sentence_transformer, kind), abs=1e-5)
    assert scores


def test_the_protocol(encoder, folder, expected):
    assert isinstance(encoder, EncoderProtocol)
    meta = encoder.mteb_model_meta
    name = "ironvec/" + folder.strip("/").replace("/", "__")
    assert (meta.name, meta.embed_dim, meta.max_tokens) == (name, 32, 64)
    metadata = mocks.MockSTSTask().metadata
    batches = [{"text": expected.texts[:3]}, {"text": expected.texts[3:]}]
    asked = {"task_metadata": metadata, "hf_split": "test", "hf_subset": "default"}
    for prompt_type, vectors in [
        (None, expected.plain), (PromptType.query, expected.query), (PromptType.document, expected.document),
    ]:  # fmt: skip
        close(encoder.encode(batches, prompt_type=prompt_type, batch_size=2, **asked), vectors)
    scores = encoder.similarity(expected.query, torch.from_numpy(expected.document))
    assert isinstance(scores, torch.Tensor)
    close(scores.numpy(), expected.query @ expected.document.T)
    close(encoder.similarity_pairwise(expected.query, expected.document).numpy(), scores.diagonal().numpy())


def test_the_prompt_of_a_task_beats_that_of_its_role(folder, expected):
    encoder = IronvecEncoder(Embedder(folder, prompts={"STS-query": "red ", "MockSTSTask": "green "}))
    metadata = mocks.MockSTSTask().metadata
    asked = {"hf_split": "test", "hf_subset": "default", "prompt_type": PromptType.query}
    named = encoder.encode([{"text": ["cat"]}], task_metadata=metadata, **asked)
    close(named[0], encoder.model.encode("cat", prompt="green "))
    other = metadata.model_copy(update={"name": "Another"})
    close(
        encoder.encode([{"text": ["cat"]}], task_metadata=other, **asked)[0], encoder.model.encode("cat", prompt="red ")
    )


def test_device_and_revision_are_the_embedders(folder):
    assert IronvecEncoder(folder, device="cpu").model.provider == "cpu"
    with pytest.raises(ValueError, match="cpu:7"):
        IronvecEncoder(folder, device="cpu:7")
    with pytest.raises(ValueError, match="revision='main'"):
        IronvecEncoder(folder, "main")
