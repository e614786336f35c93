"""dtype="bfloat16": near float32, the same bits for a row wherever it runs, and refused where the processor has no such
products. The portable path, which has to be named, runs the same program everywhere, slowly."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit.checkpoints import as_stored, write_bert, write_safetensors
from kit.families import CASES
from kit.families.golden import NOT_YET, golden
from kit.families.texts import TEXTS
from kit.onnx_export import write_encoder_export
from kit.qwen3_checkpoints import write_qwen3
from kit.vectors import cosines

OURS = [name for name, case in CASES.items() if case.family != "static" and not name.startswith(NOT_YET)]
DOCUMENTED = [getattr(value, "__doc__", None) or "" for value in vars(np).values()]
DOCSTRINGS = sorted({line for text in DOCUMENTED for line in text.split("\n")[:3] if line})
# The mean over tokens is ONNX Runtime's, whose sums depend on how far rows are padded. A row that met another before
# that would differ by a rounding to bfloat16 somewhere, a thousand times as much.
POOLED = 5e-7


@pytest.fixture
def portable(monkeypatch):
    monkeypatch.setenv("IRONVEC_KERNELS", "portable")


def has_instructions(folder) -> bool:
    try:
        return Embedder(folder, dtype="bfloat16").device_report()["kernels"] in {"amx", "avx512"}
    except ValueError:
        return False


def test_minilm_stays_close_to_float32(monkeypatch):
    texts = DOCSTRINGS[::40][:24]
    expected = Embedder("minilm").encode(texts)
    monkeypatch.setenv("IRONVEC_KERNELS", "portable")
    model = Embedder("minilm", dtype="bfloat16")
    assert model.dtype == "bfloat16"
    assert model.device_report()["kernels"] == "portable"
    vectors = model.encode(texts)
    found = cosines(vectors, expected)
    assert found.min() >= 0.9999
    assert np.abs(vectors - expected).max() > 1e-4, "this is float32"
    alone = np.stack([model.encode(text) for text in texts[:4]])
    np.testing.assert_allclose(alone, vectors[:4], rtol=0, atol=POOLED)


@pytest.mark.parametrize("name", OURS)
def test_every_family_runs_and_rows_do_not_meet(name, tmp_path, portable):
    CASES[name].write(tmp_path / name)
    model = Embedder(tmp_path / name, dtype="bfloat16")
    vectors, expected = model.encode(TEXTS), golden(name)["vectors"]
    turned = 1 - cosines(vectors, expected)
    # Random layers of 32 components enlarge rounding; trained ones do not.
    assert np.median(turned) <= 3e-3
    assert np.abs(vectors - expected).max() > 1e-5, "this is float32"
    alone = np.stack([model.encode(text) for text in TEXTS])
    np.testing.assert_allclose(alone, vectors, rtol=0, atol=POOLED * max(1.0, np.abs(expected).max()))


def test_a_row_has_the_same_bits_in_any_batch_on_any_number_of_threads(tmp_path, portable):
    checkpoint = write_qwen3(tmp_path / "qwen3", max_positions=2048)
    model = Embedder(checkpoint.folder, dtype="bfloat16", prompt_cache=False)
    texts = ["a", "a b c", "b " * 40, "c", "a " * 100, "b c a"]
    alone = np.stack([model.encode(text) for text in texts])
    np.testing.assert_array_equal(model.encode(texts), alone)
    np.testing.assert_array_equal(model.encode(texts, batch_size=2), alone)
    one_thread = Embedder(checkpoint.folder, dtype="bfloat16", prompt_cache=False, threads=1)
    np.testing.assert_array_equal(one_thread.encode(texts), alone)


def test_a_checkpoint_gives_the_same_vectors_however_it_is_stored(tmp_path, portable):
    checkpoint = write_bert(tmp_path / "bert")
    # Numbers that all three have.
    tensors = {name: as_stored(values, "bfloat16") for name, values in checkpoint.tensors.items()}
    tensors = {name: values * (np.abs(values) > 1e-4) for name, values in tensors.items()}
    vectors = []
    for kind in ("F32", "F16", "BF16"):
        encoded = {name: (kind, values) for name, values in tensors.items()}
        write_safetensors(checkpoint.folder / "model.safetensors", encoded, {"format": "pt"})
        vectors.append(Embedder(checkpoint.folder, dtype="bfloat16").encode(TEXTS))
        assert np.abs(vectors[-1] - Embedder(checkpoint.folder, memory="low").encode(TEXTS)).max() > 1e-5
    np.testing.assert_array_equal(vectors[1], vectors[0])
    np.testing.assert_array_equal(vectors[2], vectors[0])


HELD = """
import sys
from ironvec import Embedder

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

Embedder(sys.argv[1] + "/small", threads=1, dtype="bfloat16").encode("paris")
before = anonymous()
model = Embedder(sys.argv[1] + "/large", threads=1, dtype="bfloat16")
model.encode("the capital of france is paris")
print(anonymous() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status tells what a process holds for itself")
@pytest.mark.parametrize(("stored", "least", "most"), [("bfloat16", 0, 0.3), ("float16", 0.8, 2.3)])
def test_weights_are_held_only_where_they_were_rounded(tmp_path, portable, stored, least, most):
    # ONNX Runtime makes a copy of what a session is given, and keeps both.
    write_bert(tmp_path / "small")
    write_bert(tmp_path / "large", hidden=512, heads=8, layers=8, intermediate=2048, dtype=stored)
    weights = (tmp_path / "large" / "model.safetensors").stat().st_size / 1024
    run = [sys.executable, "-c", HELD, str(tmp_path)]
    held = int(subprocess.run(run, capture_output=True, text=True, timeout=120, check=True).stdout)
    assert least * weights <= held < most * weights


def test_weights_that_bfloat16_has_not_are_refused_by_name(tmp_path, portable):
    checkpoint = write_bert(tmp_path / "bert")
    name = "encoder.layer.0.output.dense.weight"
    tensors = {tensor: values.copy() for tensor, values in checkpoint.tensors.items()}
    tensors[name][3, 5] = 3.4e38
    stored = {tensor: ("F32", values) for tensor, values in tensors.items()}
    write_safetensors(checkpoint.folder / "model.safetensors", stored, {"format": "pt"})
    with pytest.raises(ModelError, match=rf"`{name}`: found 3.4e38 in row 3, expected values up to 3.38"):
        Embedder(checkpoint.folder, dtype="bfloat16")


def test_a_processor_without_instructions_is_told(tmp_path, monkeypatch):
    folder = write_bert(tmp_path / "bert").folder
    if not has_instructions(folder):
        message = (
            r'dtype="bfloat16": expected "float32" or "int8" on this processor, which has neither AVX512-BF16 nor '
            r"AMX-BF16 that the system lets this process use"
        )
        with pytest.raises(ValueError, match=message):
            Embedder(folder, dtype="bfloat16")
    for forced in ("onnxruntime", "none"):
        monkeypatch.setenv("IRONVEC_KERNELS", forced)
        message = rf'IRONVEC_KERNELS="{forced}": expected on this processor .*portable with dtype="bfloat16"'
        with pytest.raises(ValueError, match=message):
            Embedder(folder, dtype="bfloat16")


def test_what_has_no_products_of_bfloat16_is_refused_by_name(tmp_path, portable):
    checkpoint = write_bert(tmp_path / "bert")
    for provider in ("coreml-on-cpu", "coreml", "cuda"):
        message = rf'dtype="bfloat16": expected "float32" with provider="{provider}"; bfloat16 is for the CPU'
        with pytest.raises(ValueError, match=message):
            Embedder(checkpoint.folder, dtype="bfloat16", provider=provider)
    with pytest.raises(ValueError, match=r'memory="low": expected "fast" with dtype="bfloat16", which reads bfloat16'):
        Embedder(checkpoint.folder, dtype="bfloat16", memory="low")
    with pytest.raises(ValueError, match='dtype="bfloat16": expected "float32" for the "cpu" flavour'):
        Embedder(checkpoint.folder).export(tmp_path / "model.onnx", dtype="bfloat16")
    write_encoder_export(checkpoint.folder / "model.onnx", checkpoint)
    CASES["static-raw"].write(tmp_path / "table")
    for path, message in {
        checkpoint.folder / "model.onnx": "an ONNX file, which is run as it is; int8 and bfloat16 are made from",
        tmp_path / "table": "a static table, which multiplies no matrices",
    }.items():
        with pytest.raises(ValueError, match=f'dtype="bfloat16": expected "float32" for {message}'):
            Embedder(path, dtype="bfloat16")
        # The model's own refusal, whatever the processor has.
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("IRONVEC_KERNELS")
            with pytest.raises(ValueError, match=f'dtype="bfloat16": expected "float32" for {message}'):
                Embedder(path, dtype="bfloat16")


def test_it_pickles_and_exports_the_checkpoint_as_it_is(tmp_path, portable):
    checkpoint = write_bert(tmp_path / "bert")
    model = Embedder(checkpoint.folder, dtype="bfloat16")
    copy = pickle.loads(pickle.dumps(model))
    assert copy.dtype == "bfloat16"
    np.testing.assert_array_equal(copy.encode(TEXTS[:4]), model.encode(TEXTS[:4]))
    for name, exporting in {"rounded": model, "plain": Embedder(checkpoint.folder)}.items():
        (tmp_path / name).mkdir()
        exporting.export(tmp_path / name / "model.onnx")
    files = [tmp_path / name / "model.onnx" for name in ("rounded", "plain")]
    assert files[0].read_bytes() == files[1].read_bytes()
