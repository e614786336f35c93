"""Writes ONNX models without the `onnx` package: as much protobuf as `onnx_export.py` needs.

In: operators, constants, inputs and outputs, in the order of the graph. Out: a model of opset 17
unless it asks for another, its large constants inside or in `NAME_data` beside it, written as they
come. Field numbers are those of onnx.proto. Nothing here checks a graph; onnxruntime does.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

OPSET, IR_VERSION = 17, 8
ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11}
_EXTERNAL_BYTES = 1024  # smaller constants stay inside, as onnx's own writer leaves them
_PAGE = 4096
_CHUNK_BYTES = 64 << 20


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1  # a negative int64 takes ten bytes
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _field(number: int, value: int | float | str | bytes) -> bytes:
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def _message(fields: Sequence[tuple[int, Any]]) -> bytes:
    return b"".join(_field(number, value) for number, value in fields)


def _attribute(name: str, value: int | float | str | bytes | Sequence[int]) -> bytes:
    """Bytes are a graph."""
    if isinstance(value, str):
        return _message([(1, name), (4, value), (20, 3)])
    if isinstance(value, bytes):
        return _message([(1, name), (6, value), (20, 5)])
    if isinstance(value, float):
        return _message([(1, name), (2, value), (20, 1)])
    if isinstance(value, int):
        return _message([(1, name), (3, value), (20, 2)])
    return _message([(1, name), *((8, item) for item in value), (20, 7)])


def _value_info(name: str, dtype: str, shape: Sequence[int | str]) -> bytes:
    dimensions = [(1, _message([(2 if isinstance(size, str) else 1, size)])) for size in shape]
    tensor_type = _message([(1, ELEMENT_TYPES[dtype]), (2, _message(dimensions))])
    return _message([(1, name), (2, _message([(1, tensor_type)]))])


def _chunks(values: Any, dtype: str) -> Iterator[bytes]:
    """An array's bytes, a few rows at a time; all it needs is a shape and slices of rows."""
    if not values.shape:
        yield np.asarray(values, dtype=dtype).tobytes()
        return
    row_bytes = int(np.prod(values.shape[1:])) * np.dtype(dtype).itemsize
    step = max(1, _CHUNK_BYTES // row_bytes)
    for start in range(0, values.shape[0], step):
        yield np.asarray(values[start : start + step], dtype=dtype).tobytes()


class GraphWriter:
    """One model on its way to a file. Values are known by their names, which the methods return."""

    def __init__(self, path: Path, external_data: bool = False, opset: int = OPSET) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.opset = opset
        self._nodes: list[tuple[str, tuple[str, ...], list[str], dict[str, Any], str]] = []
        self._small_constants: dict[tuple[Any, ...], str] = {}
        self._initializers: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._data_path = path.with_name(f"{path.name}_data")
        self._data = self._data_path.open("wb") if external_data else None

    def constant(self, name: str, values: Any, dtype: str) -> str:
        """An initializer. Those of one element or few are shared and get a number to their name."""
        shape = tuple(values.shape)
        count = int(np.prod(shape))
        if count <= 8:
            key = (dtype, shape, np.asarray(values, dtype=dtype).tobytes())
            if key in self._small_constants:
                return self._small_constants[key]
            name = self._small_constants[key] = f"{name}_{len(self._small_constants)}"
        about = [*((1, size) for size in shape), (2, ELEMENT_TYPES[dtype]), (8, name)]
        if self._data is None or count * np.dtype(dtype).itemsize < _EXTERNAL_BYTES:
            about.append((9, b"".join(_chunks(values, dtype))))
        else:
            self._data.write(bytes(-self._data.tell() % _PAGE))
            offset = self._data.tell()
            for chunk in _chunks(values, dtype):
                self._data.write(chunk)
            length = self._data.tell() - offset
            place = {"location": self._data_path.name, "offset": str(offset), "length": str(length)}
            about += [(13, _message([(1, entry), (2, value)])) for entry, value in place.items()]
            about.append((14, 1))
        self._initializers.append(_message(about))
        return name

    def hollow(self, name: str, shape: Sequence[int], dtype: str) -> str:
        """An initializer of zeros that are a hole in the data file, and take no room on disk."""
        assert self._data is not None
        offset, length = self._data.tell(), int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._data.truncate(offset + length)
        self._data.seek(offset + length)
        place = {"location": self._data_path.name, "offset": str(offset), "length": str(length)}
        about = [*((1, size) for size in shape), (2, ELEMENT_TYPES[dtype]), (8, name)]
        about += [(13, _message([(1, entry), (2, value)])) for entry, value in place.items()]
        self._initializers.append(_message([*about, (14, 1)]))
        return name

    def nodes_out(self, operator: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        names = [f"{operator}_{len(self._nodes)}_{index}" for index in range(outputs)]
        self._nodes.append((operator, inputs, names, attributes, domain))
        return names

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.nodes_out(operator, *inputs, outputs=1, **attributes)[0]

    def cast(self, x: str, dtype: str) -> str:
        return self.node("Cast", x, to=ELEMENT_TYPES[dtype])

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        self._inputs.append(_value_info(name, dtype, shape))
        return name

    def output(self, value: str, name: str, dtype: str, shape: Sequence[int | str], first: bool = False) -> str:
        """Makes an output of the value that the last node gave, which has this name from here on."""
        names = self._nodes[-1][2]
        assert names == [value], f"{value} is not the last node's"
        names[:] = [name]
        self._outputs.insert(0 if first else len(self._outputs), _value_info(name, dtype, shape))
        return name

    def rename_output(self, value: str, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Makes an output of one of several values that the last node gave."""
        names = self._nodes[-1][2]
        names[names.index(value)] = name
        self._outputs.append(_value_info(name, dtype, shape))

    def graph(self) -> bytes:
        """What has been written so far, as a graph: of the model, or of an attribute of a node in another."""
        graph = []
        for index, (operator, inputs, outputs, attributes, domain) in enumerate(self._nodes):
            fields = [*((1, name) for name in inputs), *((2, name) for name in outputs)]
            fields += [(3, f"{operator}_{index}"), (4, operator), (7, domain)]
            fields += [(5, _attribute(name, value)) for name, value in attributes.items()]
            graph.append((1, _message(fields)))
        graph.append((2, "main_graph"))
        for number, messages in ((5, self._initializers), (11, self._inputs), (12, self._outputs)):
            graph += [(number, message) for message in messages]
        return _message(graph)

    def save(self) -> None:
        versions = {domain: 1 for *_, domain in self._nodes} | {"": self.opset}
        opsets = [(8, _message([(1, domain), (2, version)])) for domain, version in versions.items()]
        self.path.write_bytes(_message([(1, IR_VERSION), (2, "ironvec tests"), (7, self.graph()), *opsets]))
        if self._data is not None:
            self._data.close()
