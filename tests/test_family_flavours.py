"""What is written once serves every family: the CoreML flavour, float16, int8, the prompt cache, long rows in pieces,
exports. No family has a line here; a case is the plainest of a family, or one of a branch that the
flavours treat apart.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from ironvec import Embedder, ModelError
from ironvec.inspection import inspect
from kit.checkpoints import as_stored
from kit.families import CASES, layout
from kit.families.texts import TEXTS, words

BRANCHES = ("window", "bidirectional", "not-causal", "dense", "two-types", "every-second")
# Relative, of one rounding to float16, and of one to 127 steps of a channel's largest weight.
FLOAT16, INT8 = 2.0**-11, 2.0**-7
# Around the tiny windows, around buckets' ends.
COUNTS = (5, 6, 7, 8, 9, 10, 11, 63, 64, 65, 127, 128, 129)
PROMPT = "the river of the city and the cat: " * 2


def is_base(name: str) -> bool:
    return not any(name.startswith(f"{other}-") for other in CASES)


# A static table is no network: nothing of it is lowered.
CHOSEN = [
    name
    for name, case in CASES.items()
    if case.family != "static" and (is_base(name) or any(branch in name for branch in BRANCHES))
]


@dataclass(frozen=True)
class Loaded:
    name: str
    folder: Path
    cpu: Embedder
    expected: np.ndarray

    @property
    def takes_the_last_token_of_a_causal_model(self) -> bool:
        pooling = json.loads((self.folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
        return pooling["pooling_mode_lasttoken"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IRONVEC_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module", params=CHOSEN)
def loaded(request, tmp_path_factory) -> Loaded:
    folder = tmp_path_factory.mktemp("families") / request.param
    CASES[request.param].write(folder)
    try:
        cpu = Embedder(folder)
    except ModelError as error:  # test_families.py says of which cases this is right
        pytest.skip(f"cannot be loaded: {error}")
    return Loaded(request.param, folder, cpu, cpu.encode(TEXTS))


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def moved_by_noise(name: str, folder: Path, expected: np.ndarray, size: float) -> np.ndarray:
    """How far float32 vectors turn, (3, texts), as 1 - cosine, when every weight is off by so much.

    What no narrower number could do better: random layers of 32 components may enlarge it a hundred times.
    """
    turned = []
    for seed in range(3):
        random = np.random.default_rng(seed)

        def with_noise(values: np.ndarray, dtype: str, random=random) -> np.ndarray:
            noise = size * random.standard_normal(values.shape)
            return as_stored((values * (1 + noise)).astype(values.dtype), dtype)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layout, "as_stored", with_noise)
            CASES[name].write(folder / f"{name}-{seed}")
        turned.append(1 - cosines(Embedder(folder / f"{name}-{seed}").encode(TEXTS), expected))
    return np.stack(turned)


def of_counts(model: Embedder, counts: tuple[int, ...]) -> list[str]:
    """A text of each count of tokens."""
    candidates = [words(count) + more * times for count in range(130) for more in (" x", "q") for times in range(4)]
    # A row that reaches the model's limit may have been cut.
    known = {len(row): text for row, text in zip(model.tokenize(candidates), candidates, strict=True)}
    missing = [count for count in counts if count not in known]
    assert not missing, f"no text of {missing} tokens"
    return [known[count] for count in counts]


def largest_rank(path: Path) -> int:
    model = onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False), strict_mode=True)
    graph = model.graph
    shapes = [value.type.tensor_type.shape.dim for value in (*graph.input, *graph.output, *graph.value_info)]
    assert len(graph.value_info) >= len(graph.node) - len(graph.output), "ranks are not known"
    return max(map(len, [*shapes, *(tensor.dims for tensor in graph.initializer)]))


def test_no_family_is_left_out():
    assert {CASES[name].family for name in CHOSEN} == {case.family for case in CASES.values()} - {"static"}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_coreml_takes_the_graph_whole(loaded, tmp_path, dtype):
    path = tmp_path / "model.onnx"
    for length in (64, 180):
        loaded.cpu.export(path, "coreml", length=length, dtype=dtype)
        report = inspect(path)
        assert report["refused"] == []
        assert report["taken"] == report["nodes"] > 10
        assert report["partitions"] == 1
        assert largest_rank(path) <= 4


def test_buckets_give_the_vectors_of_the_cpu(loaded):
    model = Embedder(loaded.folder, provider="coreml-on-cpu")
    assert_close(model.encode(TEXTS), loaded.expected, 1e-4)


def test_buckets_in_float16(loaded, tmp_path):
    model = Embedder(loaded.folder, provider="coreml-on-cpu", dtype="float16")
    turned = 1 - cosines(model.encode(TEXTS), loaded.expected)
    noise = moved_by_noise(loaded.name, tmp_path, loaded.expected, FLOAT16)
    assert turned.max() <= max(0.001, noise.max())
    assert turned.mean() <= max(0.001, noise.mean())


def test_lengths_around_windows_and_buckets(loaded):
    texts = of_counts(loaded.cpu, COUNTS)
    alone = np.stack([loaded.cpu.encode(text) for text in texts])
    assert_close(loaded.cpu.encode(texts), alone, 1e-5)
    assert_close(loaded.cpu.encode([*texts, TEXTS[-1]], batch_size=3)[:-1], alone, 1e-5)
    buckets = Embedder(loaded.folder, provider="coreml-on-cpu")
    assert_close(buckets.encode(texts), alone, 1e-4)


def test_int8_stays_close_and_rows_do_not_meet(loaded, tmp_path):
    model = Embedder(loaded.folder, dtype="int8")
    vectors = model.encode(TEXTS)
    turned = 1 - cosines(vectors, loaded.expected)
    # Random layers of 32 components enlarge what rounding does: 0.059 and 0.012 were the worst. Trained ones do not.
    noise = moved_by_noise(loaded.name, tmp_path, loaded.expected, INT8)
    assert turned.max() <= max(0.07, noise.max())
    assert turned.mean() <= max(0.02, noise.mean())
    assert np.abs(vectors - loaded.expected).max() > 1e-4, "this is float32"
    # The last bits are those of the sum over a row's tokens, which is ONNX Runtime's.
    alone = np.stack([model.encode(text) for text in TEXTS])
    assert np.abs(alone - vectors).max() < 1e-6 * max(1.0, np.abs(vectors).max())


def test_a_prompt_that_is_kept_changes_nothing(loaded):
    computing = Embedder(loaded.folder, prompt_cache=False)
    expected = computing.encode(TEXTS, prompt=PROMPT)
    first, second = (loaded.cpu.encode(TEXTS, prompt=PROMPT) for _ in range(2))
    assert_close(first, expected, 1e-5)
    assert_close(second, expected, 1e-5)
    assert_close(loaded.cpu.encode(TEXTS[1], prompt=PROMPT), expected[1], 1e-5)
    # A prompt that takes part in every row, so that the equality above says something.
    assert np.abs(expected - loaded.expected).max() > 1e-3
    # The last bits tell that it was another computation.
    is_kept = bool(np.abs(first - expected).max() > 0)
    assert is_kept == loaded.takes_the_last_token_of_a_causal_model


def test_long_rows_in_pieces_are_the_rows_in_one(loaded):
    if not loaded.takes_the_last_token_of_a_causal_model:
        pytest.skip("its rows are not cut into pieces")
    for file, key in {"config.json": "max_position_embeddings", "sentence_bert_config.json": "max_seq_length"}.items():
        path = loaded.folder.with_name(f"{loaded.name}-long") / file
        if not path.parent.exists():
            CASES[loaded.name].write(path.parent)
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: 2048}), encoding="utf-8")
    pieces, whole = Embedder(path.parent), Embedder(path.parent, provider="coreml-on-cpu")
    long = words(3000)
    for length in (511, 512, 513, 1024, 1025, 1500):
        assert_close(pieces.encode(long, max_length=length), whole.encode(long, max_length=length), 1e-4)
    # After a prefix, so that no piece begins where a piece without one would.
    assert_close(
        pieces.encode(long, max_length=1025, prompt=PROMPT), whole.encode(PROMPT + long, max_length=1025), 1e-4
    )


def test_the_cpu_export_opens_in_stock_onnxruntime(loaded, tmp_path):
    path = tmp_path / "model.onnx"
    loaded.cpu.export(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert "pooled" in {made.name for made in session.get_outputs()}
    assert "input_ids" in {given.name for given in session.get_inputs()}
