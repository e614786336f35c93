"""Texts, arguments and tokenizers that are hostile or wrong: a clear exception or the right rows, never a crash."""

import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder, ModelError, ProviderError
from kit.checkpoints import write_bert
from kit.interpreter import python
from kit.texts import TEXTS
from kit.vectors import close


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("hostile"), include_prompt=False, pooling="mean").folder


class Text(str):
    """A str that lies about itself."""

    def __str__(self):
        return "something else"

    encode = None


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "texts is None"), (b"a", "texts is bytes, not text"), (3, "texts is int"), (2.5, "texts is float"),
        (True, "texts is bool"), ({"a": "b"}, "texts is a mapping"), (object(), "texts is object"),
        ([["a"]], r"texts\[0\] is list, not str"), (["a", ("b",)], r"texts\[1\] is tuple, not str"),
        (["a"] * 99 + [None], r"texts\[99\] is NoneType, not str"), (["a", {"b": 1}], r"texts\[1\] is dict, not str"),
        (["a", b"b"], r"texts\[1\] is bytes, not str"), ([float("nan")], r"texts\[0\] is float, not str"),
        ([np.bytes_(b"a")], r"texts\[0\] is bytes_, not str"), (range(3), r"texts\[0\] is int, not str"),
    ],
    ids=lambda value: repr(value)[:16],
)  # fmt: skip
@pytest.mark.parametrize("method", ["encode", "encode_query", "tokenize", "count_tokens"])
def test_what_is_not_text(model, method, texts, message):
    with pytest.raises(TypeError, match=message):
        getattr(model, method)(texts)


@pytest.mark.parametrize("text", [chr(0xD800), "a\udc80b", "😀" * 9 + "\ud83d", "\udc00\ud800"], ids=ascii)
@pytest.mark.parametrize("method", ["encode", "encode_document", "tokenize", "count_tokens"])
def test_lone_surrogates(model, method, text):
    with pytest.raises(ValueError, match=r"texts\[2\] holds a lone surrogate, which is not text"):
        getattr(model, method)(["a", "b", text, "c"])
    with pytest.raises(ValueError, match="surrogate"):
        model.encode("a", prompt=text)


@pytest.mark.parametrize(
    "text", ["a\0b", "\0", "\ufeffcat", "\uffff\U0010ffff", "\u202ecat\u202c", "ﷺ", "e" + "\u0301" * 3000]
)
def test_odd_characters_are_text(model, text):
    rows = model.encode(["cat sat", text])
    assert np.isfinite(rows).all()
    close(rows[1], model.encode(text))
    close(rows[0], model.encode("cat sat"))


def test_subclasses_of_str_are_what_they_hold(model):
    texts = [Text("cook pasta"), np.str_("cook pasta"), type("S", (str,), {})("cook pasta")]
    close(model.encode(texts), np.stack([model.encode("cook pasta")] * 3))
    close(model.encode(Text("cook pasta")), model.encode("cook pasta"))


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["cat sat ", "x", "😀", "\u0301", "\0", " "], ids=ascii)
def test_a_text_of_ten_megabytes(model, unit):
    text = unit * ((10 << 20) // len(unit.encode()))
    rows = model.encode([text, "cook pasta"])
    close(rows[1], model.encode("cook pasta"))
    close(rows[0], model.encode(text[:4096]))


def test_many_empty_texts(model):
    close(model.encode([""] * 100_000), np.broadcast_to(model.encode(""), (100_000, model.dimension)))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((4, 32)), ValueError, "out: expected a C-contiguous float32 array .* dtype float64"),
        (np.zeros((4, 32), ">f4"), ValueError, "out: expected .* found ndarray with dtype >f4"),
        (np.zeros((3, 32), np.float32), ValueError, r"out: expected .* of shape \[4, 32\], found shape \[3, 32\]"),
        (np.zeros((4, 0), np.float32), ValueError, r"out: expected .* found shape \[4, 0\]"),
        (np.zeros(128, np.float32), ValueError, r"out: expected .* shape \(128,\)"),
        (np.zeros((1, 4, 32), np.float32), ValueError, r"out: expected .* shape \(1, 4, 32\)"),
        (np.zeros((4, 64), np.float32)[:, ::2], ValueError, "out: expected .* not contiguous"),
        (np.zeros((4, 32), np.float32, order="F"), ValueError, "out: expected .* not contiguous"),
        (np.zeros((4, 32), np.float32)[::-1], ValueError, "out: expected .* not contiguous"),
        (np.broadcast_to(np.float32(0), (4, 32)), ValueError, "out: "),
        (np.frombuffer(bytes(512), np.float32).reshape(4, 32), ValueError, "out: .*must be writeable"),
        (np.frombuffer(bytearray(513), np.float32, 128, 1).reshape(4, 32), ValueError, "out: "),
        ([[0.0]], TypeError, "out is list; expected a NumPy array"), (bytearray(512), TypeError, "out is bytearray"),
    ],
)  # fmt: skip
def test_a_wrong_out(model, out, error, message):
    with pytest.raises(error, match=message):
        model.encode(TEXTS, out=out)
    assert not np.any(np.frombuffer(out, np.uint8) if isinstance(out, bytearray) else out), "left as it was"


def test_a_right_out(model, tmp_path):
    rows = model.encode(TEXTS)
    guarded = np.full((6, 32), 7, np.float32)
    assert model.encode(TEXTS, out=guarded[1:5]).base is guarded
    close(guarded, np.vstack([np.full(32, 7), rows, np.full(32, 7)]))
    mapped = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(4, 32))
    assert model.encode(TEXTS, out=mapped) is mapped
    close(np.fromfile(tmp_path / "rows", np.float32).reshape(4, 32), rows)
    with pytest.raises(ValueError, match="out= takes float32 rows"):
        model.encode(TEXTS, out=np.zeros((4, 32), np.float32), precision="binary")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        *(({name: value}, ValueError, f"{name} is {value}; expected a positive int")
          for name in ("batch_size", "truncate_dim", "max_length") for value in (0, -1, -(2**70))),
        *(({name: value}, TypeError, f"{name} is {type(value).__name__}; expected a positive int")
          for name in ("batch_size", "truncate_dim", "max_length") for value in (True, 1.0, "1", [1])),
        *(({name: value}, ValueError, f"{name}.*{value}.*expected")
          for name in ("truncate_dim", "max_length") for value in (65, 2**63, 2**64, 2**70)),
        *(({"max_length": value}, ValueError, f"max_length={value}: expected 3 to 64") for value in (1, 2)),
        ({"precision": "int4"}, ValueError, "precision.*int4"), ({"precision": 8}, TypeError, "precision"),
        ({"precision": "int8"}, ValueError, "precision=\"int8\" takes each dimension's range"),
        ({"prompt_name": "x"}, ValueError, "prompt_name='x' is not among the prompts"),
        ({"prompt": b"x"}, TypeError, "prompt is bytes, not str"),
        ({"normalize_embeddings": 1}, TypeError, "normalize_embeddings is int; expected a bool"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_arguments_of_a_call(model, arguments, error, message):
    with pytest.raises(error, match=message):
        model.encode(["cat"], **arguments)


@pytest.mark.parametrize("batch_size", [1, 2**31, 2**63, 2**64, 2**100])
def test_any_positive_batch_size_will_do(model, batch_size):
    close(model.encode(TEXTS, batch_size=batch_size), model.encode(TEXTS))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"provider": "CPU"}, ValueError, 'provider="CPU": expected "auto", "cpu", "coreml" or "cuda"'),
        ({"provider": None}, TypeError, "provider"), ({"dtype": "float64"}, ValueError, 'dtype="float64": expected'),
        ({"dtype": np.float32}, TypeError, "dtype"), ({"threads": 0}, ValueError, "threads is 0; expected a positive"),
        ({"threads": 10**9}, ValueError, "threads=1000000000: expected 1 to 1024"),
        ({"threads": 2**70}, ValueError, "threads.*expected"),
        ({"truncate_dim": 2**70}, ValueError, "truncate_dim.*expected"),
        ({"truncate_dim": 33}, ValueError, "truncate_dim=33: expected 1 to 32"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_arguments_of_the_constructor(folder, arguments, error, message):
    with pytest.raises(error, match=message):
        Embedder(folder, **arguments)


def test_cuda_by_name_is_refused_where_it_is_not(folder, model):
    if model.provider == "cuda":
        pytest.skip("this machine has it")
    with pytest.raises(ProviderError, match=r'provider "cuda" (is not available; available|cannot be used): '):
        Embedder(folder, provider="cuda")


def test_texts_that_the_prompt_leaves_no_room(model):
    # include_prompt is false and the prompt fills the row: nothing is pooled.
    assert np.isfinite(model.encode(TEXTS, prompt="cat " * 500)).all()


def test_an_exception_in_the_progress_bar_ends_the_call(model, monkeypatch):
    class Bar(nullcontext):
        def __init__(self, **_):
            super().__init__(self)

        def update(self, count):
            raise RuntimeError("the bar fell")

    monkeypatch.setitem(sys.modules, "tqdm.auto", type("auto", (), {"tqdm": Bar}))
    with pytest.raises(RuntimeError, match="the bar fell"):
        model.encode(["cat sat"] * 100, show_progress_bar=True)
    close(model.encode(TEXTS, show_progress_bar=False), np.stack([model.encode(text) for text in TEXTS]))


INTERRUPTED = """
import signal, sys, threading
from ironvec import Embedder
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is started with it ignored
model = Embedder(sys.argv[1])
expected = model.encode("cat")
texts = [f"{number} cat sat on the mat " * 20 for number in range(200_000)]
try:
    threading.Timer(0.3, print, ["working"], {"flush": True}).start()
    model.encode(texts)
except KeyboardInterrupt:
    assert abs(model.encode("cat") - expected).max() < 1e-5
    print("stopped", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_ctrl_c_stops_and_leaves_the_interpreter_usable(folder):
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED, folder], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "working\n"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60) == ("stopped\n", None)
            assert process.returncode == 0
        finally:
            process.kill()


def template(*pieces: dict) -> dict:
    ends = {name: {"id": name, "ids": [2], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    return {"type": "TemplateProcessing", "single": pieces, "pair": [], "special_tokens": ends}


def sequence(type_id: int = 0, name: str = "A") -> dict:
    return {"Sequence": {"id": name, "type_id": type_id}}


def split_at(regex: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


CLASS_OF_CLASSES = split_at("[" * 4000 + "a" + "]" * 4000)  # as deep as Oniguruma's parser goes
BEYOND = {"type": "BertProcessing", "sep": ["[SEP]", 2**32 - 1], "cls": ["[CLS]", 2]}
WITHOUT_A = {"type": "Replace", "pattern": {"String": "a"}, "content": ""}
MANY_IDS = {"X": {"id": "X", "ids": [2] * 64, "tokens": ["x"] * 64}}
CLS, X = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "X"))
TOKENIZERS = {
    "a charsmap of nothing": ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}}, "panicked"),
    "a charsmap of zeros": ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="}}, "panicked"),
    "chunks of no length": ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "panicked"),
    "a template without its tokens": ({"post_processor": {**template(CLS), "special_tokens": {}}}, ""),
    "a template of the second text": ({"post_processor": template(sequence(name="B"))}, "panicked"),
    "type ids": ({"post_processor": template(sequence(1))}, r"type ids of a single text is \[1.*\]; supported: all 0"),
    "type ids of other texts": ({"post_processor": template(sequence(1)), "normalizer": WITHOUT_A}, "type ids"),
    "the text twice": ({"post_processor": template(sequence(), sequence())}, ""),
    "an id of 2^32 - 1": ({"post_processor": BEYOND}, "token id 4294967295 is outside the embedding table of 122 rows"),
    "an empty vocabulary": ({"model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {}}}, ""),
    "an unknown version": ({"version": "9"}, "not a valid tokenizer.json: Unknown tokenizer version '9'"),
    "an unknown model": ({"model": {"type": "Mine", "vocab": {}}}, "not a valid tokenizer.json"),
    "a regex that is none": ({"pre_tokenizer": split_at("(")}, "not a valid tokenizer.json"),
    "64 special tokens": ({"post_processor": {**template(X, sequence()), "special_tokens": MANY_IDS}}, ""),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "message"), TOKENIZERS.values(), ids=TOKENIZERS)
def test_tokenizers_that_break(bert, fields, message):
    folder = bert(tokenizer_overrides=fields).folder
    with pytest.raises(ModelError, match=re.escape(str(folder / "tokenizer.json")) + f": .*{message}"):
        Embedder(folder).encode(["cat " * 100, "aaa bbb", ""])


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"version": "1.0"}', "[" * 100_000, "\0" * 9])
def test_tokenizer_json_that_is_no_tokenizer(bert, content):
    folder = bert().folder
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json: not a valid tokenizer\.json: "):
        Embedder(folder)


@pytest.mark.parametrize("place", ["pre_tokenizer", "normalizer"])
def test_a_deep_regex_does_not_overflow_the_stack(bert, place):
    kind = "Split" if place == "pre_tokenizer" else "Replace"
    folder = bert(tokenizer_overrides={place: {**CLASS_OF_CLASSES, "type": kind, "content": ""}}).folder
    code = "import sys, ironvec\ntry: ironvec.Embedder(sys.argv[1])\nexcept ironvec.ModelError: pass"
    assert python(code, folder) == ""


def test_tokens_beyond_the_vocabulary_name_the_text(bert):
    folder = bert(config_overrides={"vocab_size": 20}).folder
    model = Embedder(folder)
    with pytest.raises(ModelError, match=r"tokenizer\.json: token id \d+ is outside .* of 20 rows \(text 70\)"):
        model.encode([*["the a of"] * 70, "zebra 9", *["the"] * 70])
    assert np.isfinite(model.encode("the a of")).all(), "the error leaves the model usable"
