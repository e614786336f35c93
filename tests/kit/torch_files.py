"""Files as `torch.save` writes them, and wrong ones, made without torch.

A file is a zip of stored members: `archive/data.pkl` names tensors, `archive/data/N` holds numbers.
The pickle's opcodes are written by hand, so that a test can write any.
"""

import io
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.checkpoints import bfloat16_bits

STORAGES = {
    "F64": "DoubleStorage", "F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage",
    "I64": "LongStorage", "I32": "IntStorage", "I16": "ShortStorage", "I8": "CharStorage", "U8": "ByteStorage",
    "BOOL": "BoolStorage",
}  # fmt: skip
NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip
PROTOCOL, STOP = b"\x80\x02", b"."


def as_bytes(values: np.ndarray, dtype: str) -> bytes:
    if dtype == "BF16":
        return bfloat16_bits(values).tobytes()
    return np.ascontiguousarray(values).astype(NUMPY[dtype]).tobytes()


def global_(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if 0 <= value < 1 << 16:
        return b"M" + struct.pack("<H", value)
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def tuple_(items: Iterable[bytes]) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_(arguments) + b"R"


ORDERED = call(global_("collections", "OrderedDict"))


def storage(key: str, dtype: str, numbers: int) -> bytes:
    parts = [text("storage"), global_("torch", STORAGES[dtype]), text(key), text("cpu"), integer(numbers)]
    return tuple_(parts) + b"Q"


def row_by_row(shape: Iterable[int]) -> list[int]:
    strides, numbers = [], 1
    for size in reversed(list(shape)):
        strides.append(numbers)
        numbers *= max(size, 1)
    return strides[::-1]


@dataclass
class Tensor:
    """A tensor of the pickle; `numbers` is what it says of its storage's length."""

    key: str
    shape: tuple[int, ...]
    dtype: str = "F32"
    offset: int = 0
    strides: tuple[int, ...] | None = None
    numbers: int | None = None
    parameter: bool = False

    def pickled(self) -> bytes:
        numbers = int(np.prod(self.shape)) if self.numbers is None else self.numbers
        strides = row_by_row(self.shape) if self.strides is None else self.strides
        made = call(
            global_("torch._utils", "_rebuild_tensor_v2"),
            storage(self.key, self.dtype, numbers),
            integer(self.offset),
            tuple_(map(integer, self.shape)),
            tuple_(map(integer, strides)),
            b"\x89",
            ORDERED,
        )
        return call(global_("torch._utils", "_rebuild_parameter"), made, b"\x88", ORDERED) if self.parameter else made


def dictionary(entries: Mapping[str, bytes]) -> bytes:
    """A state dictionary with torch's `_metadata` set on it."""
    items = b"".join(text(name) + value for name, value in entries.items())
    return ORDERED + b"(" + items + b"u" + b"}(" + text("_metadata") + ORDERED + b"u" + b"b"


def archive(
    pickle: bytes,
    storages: Mapping[str, bytes],
    *,
    root: str = "archive",
    byteorder: bytes | None = b"little",
    compression: int = zipfile.ZIP_STORED,
    extra: Iterable[tuple[str, bytes]] = (),
) -> bytes:
    members = [(f"{root}/data.pkl", pickle)]
    members += [] if byteorder is None else [(f"{root}/byteorder", byteorder)]
    members += [(f"{root}/data/{key}", data) for key, data in storages.items()]
    members += [(f"{root}/version", b"3\n"), *extra]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        for name, data in members:
            out.writestr(zipfile.ZipInfo(name), data, compression)
    return file.getvalue()


def state_file(tensors: Mapping[str, Tensor], storages: Mapping[str, bytes], **options: object) -> bytes:
    pickle = PROTOCOL + dictionary({name: tensor.pickled() for name, tensor in tensors.items()}) + STOP
    return archive(pickle, storages, **options)  # type: ignore[arg-type]


def saved(
    tensors: Mapping[str, np.ndarray],
    dtypes: Mapping[str, str] | str = "F32",
    *,
    tied: Mapping[str, str] | None = None,
    parameters: bool = False,
    **options: object,
) -> bytes:
    """A state dictionary, a storage for each tensor; `tied`: further names of tensors."""
    named: dict[str, Tensor] = {}
    storages: dict[str, bytes] = {}
    for index, (name, values) in enumerate(tensors.items()):
        dtype = dtypes if isinstance(dtypes, str) else dtypes[name]
        named[name] = Tensor(str(index), values.shape, dtype, parameter=parameters)
        storages[str(index)] = as_bytes(values, dtype)
    for name, other in (tied or {}).items():
        named[name] = named[other]
    return state_file(named, storages, **options)


def in_place_of_safetensors(folder: Path, content: bytes) -> Path:
    """Puts `pytorch_model.bin` where `model.safetensors` was."""
    (folder / "model.safetensors").unlink(missing_ok=True)
    path = folder / "pytorch_model.bin"
    path.write_bytes(content)
    return path
