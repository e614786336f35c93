"""Wrong and hostile pytorch_model.bin files: each an error that names the file, none executed, none fatal."""

import io
import zipfile

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit.checkpoints import write_bert
from kit.torch_files import (
    PROTOCOL,
    STOP,
    STORAGES,
    Tensor,
    archive,
    as_bytes,
    call,
    dictionary,
    global_,
    in_place_of_safetensors,
    integer,
    saved,
    state_file,
    storage,
    text,
    tuple_,
)

WORDS = "embeddings.word_embeddings.weight"
FOUR = {"0": bytes(16)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("torch") / "model")


@pytest.fixture
def refusal(written):
    """The error for a file of this content."""

    def of(content: bytes) -> str:
        path = in_place_of_safetensors(written.folder, content)
        with pytest.raises(ModelError) as caught:
            Embedder(written.folder)
        assert str(path) in str(caught.value)
        return str(caught.value)

    return of


def pickled(*opcodes: bytes) -> bytes:
    return archive(PROTOCOL + b"".join(opcodes) + STOP, FOUR)


def entry(*opcodes: bytes) -> bytes:
    return pickled(dictionary({WORDS: b"".join(opcodes)}))


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("__builtin__", "eval"), ("torch", "load"),
     ("torch._utils", "_rebuild_tensor"), ("torch", "Float8_e4m3fnStorage"), ("", "")],
)  # fmt: skip
def test_other_globals_are_refused_by_name(module, name, refusal, tmp_path):
    trace = tmp_path / "executed"
    message = refusal(pickled(call(global_(module, name), text(f"touch {trace}"))))
    assert f"global {module}.{name}" in message
    assert not trace.exists()


@pytest.mark.parametrize("opcode", [b"i", b"o", b"\x81", b"\x92", b"\x93", b"\x82", b"P", b"V", b"I1\n", b"\x95", b"B"])
def test_other_opcodes_are_refused(opcode, refusal):
    assert f"opcode {opcode[0]:#04x}" in refusal(pickled(opcode, b"os\nsystem\n"))


@pytest.mark.parametrize(
    ("opcodes", "problem"),
    [
        (b")" + b"\x85" * 100_000, "nest more than 32 deep"),
        (b"(" * 100_000 + b"t" * 100_000, "nest more than 32 deep"),
        (b"(" * (3 << 20), "values at once"),
        (b"N" * (3 << 20), "values at once"),
        (b"h\x05", "memo 5 was never set"),
        (b"j\x05\x00\x00\x80", "memo 2147483653 was never set"),
        (b"q\x00", "nothing on the stack"),
        (b"t", "no mark"),
        (b"u", "no mark"),
        (b"N(s", "nothing on the stack"),
        (b"(R", "nothing on the stack"),
        (b"NNR", "a call of None"),
        (b"NQ", "a persistent id"),
        (b"NNb", "state set on None"),
        (b"N(NNu", "something else than a dictionary"),
        (b"}(NNNu", "a key without a value"),
        (b"}(NNu", "a key is None"),
        (b"\x8a\x09" + bytes(9), "an integer of 9 bytes"),
        (b"X\xff\xff\xff\xffabc", "in the middle of a value"),
        (b"X\x01\x00\x00\x00\xff", "not UTF-8"),
        (b"c" + b"a" * 300, "a name without an end"),
        (b"\x80\x07", "pickle protocol 7"),
        (b"]", "holds a list"),
        (b"K\x01", "holds an integer"),
        (b"", "nothing on the stack"),
    ],
)
def test_broken_pickles(opcodes, problem, refusal):
    message = refusal(pickled(opcodes))
    assert problem in message
    assert len(message) < 1000


def test_a_dictionary_in_itself_and_in_tuples(refusal):
    """A memo makes rings and towers, which are neither followed nor kept."""
    ring = b"}q\x00(" + text("a") + b"h\x00u"
    assert "is a list" in refusal(pickled(ring))
    tower = b"}q\x00" + b"".join(b"(" + text("a") + b"h\x00\x85u}q\x00" for _ in range(5000))
    refusal(pickled(tower))
    # Doubling: 2**40 entries if copies were made.
    doubled = b")q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(40))
    assert "nest more than 32" in refusal(pickled(doubled))
    refusal(pickled(b")q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(30))))


@pytest.mark.parametrize(
    ("tensor", "problem"),
    [
        (Tensor("0", (2, 2), strides=(1, 2)), "not row by row"),
        (Tensor("0", (2, 2), strides=(1 << 62, 1)), "not row by row"),
        (Tensor("0", (2, 2), strides=(0, 0)), "not row by row"),
        (Tensor("0", (2, 2), strides=(-2, 1)), "-2 where a size"),
        (Tensor("0", (2, 2), strides=(1,)), "2 axes with 1 strides"),
        (Tensor("0", (-2, 2), numbers=4), "-2 where a size"),
        (Tensor("0", (2, 2), offset=-1), "-1 where a size"),
        (Tensor("0", (2, 2), offset=1), "ends at number 5 of a storage of 4"),
        (Tensor("0", (4,), offset=(1 << 63) - 1), "storage of 4"),
        (Tensor("0", (8,), numbers=4), "ends at number 8"),
        (Tensor("0", (1 << 40, 1 << 40), strides=(1 << 40, 1), numbers=4), "larger than any memory"),
        (Tensor("0", (4,), numbers=5), "16 bytes, not 5 numbers"),
        (Tensor("0", (2,), numbers=2), "16 bytes, not 2 numbers"),
        (Tensor("0", (4,), numbers=(1 << 62) + 4), "larger than any memory"),
        (Tensor("0", (4,), numbers=-4), "-4 where a size"),
        (Tensor("0", (4,), dtype="F16"), "16 bytes, not 4 numbers"),
        (Tensor("1", (4,)), "no member"),
        (Tensor("../data.pkl", (4,)), "no member"),
    ],
)
def test_tensors_that_leave_their_storage(tensor, problem, refusal):
    assert problem in refusal(state_file({WORDS: tensor}, FOUR))


def test_entries_that_are_no_tensors(refusal):
    assert "entry 'state_dict'" in refusal(pickled(dictionary({"state_dict": b"}"}))).replace('"', "'")
    assert "is a storage" in refusal(entry(storage("0", "F32", 4)))
    assert "with arguments that torch.save does not write" in refusal(entry(call(global_("torch", STORAGES["F32"]))))
    assert "a persistent id" in refusal(entry(tuple_([text("module"), integer(1)]) + b"Q"))
    twice = dictionary({WORDS: Tensor("0", (4,)).pickled()})[:-1].split(b"}(")[0]
    again = b"(" + text(WORDS) + Tensor("0", (4,)).pickled() + b"u"
    assert "is there twice" in refusal(pickled(twice + again))


def test_a_bomb_is_refused_unopened(written, refusal):
    big = io.BytesIO()
    with zipfile.ZipFile(big, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("archive/data.pkl", bytes(200 << 20))
    assert "compressed or encrypted" in refusal(big.getvalue())
    assert "compressed" in refusal(saved(written.tensors, compression=zipfile.ZIP_DEFLATED))
    assert "compressed" in refusal(saved(written.tensors, compression=zipfile.ZIP_LZMA))


def test_an_encrypted_member(written, refusal):
    content = bytearray(saved(written.tensors))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refusal(bytes(content))


def test_not_exactly_one_pickle(written, refusal):
    second = [("other/data.pkl", PROTOCOL + b"}" + STOP)]
    assert "exactly one data.pkl" in refusal(saved(written.tensors, extra=second))
    none = io.BytesIO()
    with zipfile.ZipFile(none, "w") as out:
        out.writestr("archive/version", b"3\n")
    assert "exactly one data.pkl" in refusal(none.getvalue())
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = saved(written.tensors, extra=[("archive/data/0", bytes(16))])
    refusal(content)


def test_the_other_byte_order(written, refusal):
    assert 'byteorder is "big"' in refusal(saved(written.tensors, byteorder=b"big"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        # How torch.save began files before.
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "no zip, as since torch 1.6"),
        (b"PK\x03\x04", "no zip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
        (b"<!doctype html><title>Not found</title>", "no zip"),
    ],
)  # fmt: skip
def test_files_that_are_no_zip(content, problem, refusal):
    assert problem in refusal(content)


def test_missing_and_misshapen_tensors(written, refusal):
    without = {name: values for name, values in written.tensors.items() if name != WORDS}
    assert WORDS in refusal(saved(without))
    assert "shape [4]" in refusal(saved({**written.tensors, WORDS: np.zeros(4)}))
    integers = dict.fromkeys(written.tensors, "F32") | {WORDS: "I64"}
    assert "I64" in refusal(saved(written.tensors, integers))


def test_truncated_anywhere(written, refusal):
    content = saved(written.tensors)
    for end in sorted({*range(1, len(content), len(content) // 97), len(content) - 1, len(content) - 22}):
        refusal(content[:end])


def load(folder) -> bool:
    try:
        Embedder(folder)
    except ModelError as error:
        message = str(error)
    else:
        return True
    assert "pytorch_model.bin" in message
    return False


def test_flipped_bytes_never_crash(written):
    """What is flipped in numbers loads; what is flipped elsewhere mostly does not."""
    tensors = {name: Tensor("0", values.shape, numbers=values.size) for name, values in written.tensors.items()}
    tensors = {name: Tensor(str(index), tensor.shape) for index, (name, tensor) in enumerate(tensors.items())}
    storages = {str(index): as_bytes(values, "F32") for index, values in enumerate(written.tensors.values())}
    content = state_file(tensors, storages)
    start = content.index(PROTOCOL)
    pickle = range(start, content.index(STOP + b"PK", start) + 1)
    random, loaded = np.random.default_rng(11), 0
    places = [*random.choice(pickle, 250), *random.integers(content.rindex(b"PK\x01\x02") - 2000, len(content), 150)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << random.integers(8)
        in_place_of_safetensors(written.folder, bytes(changed))
        loaded += load(written.folder)
    assert loaded < len(places) * 0.6
    in_place_of_safetensors(written.folder, content)
    assert load(written.folder)
