"""ONNX graphs that were exported in training mode.

ONNX Runtime does not show a graph, so the file is read as the protocol buffer that it is.

Source: onnx.proto of ONNX 1.23: ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto.
"""

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from container.record_framing import read_fields
from container.serving.third_party.loaders.pytorch.training_mode import Call

_BOOL: Final = 9
_NORMALIZATION: Final = {"training": True, "running_mean": ...}
_DROPOUT: Final = {"p": 0.5, "training": True}


def list_calls(path: Path) -> Iterator[Call]:
    """List the operations that do something else while a model trains.

    Raises: ValueError if the file is not a protocol buffer.
    """
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    for graph in read_fields(data, 7):
        yield from _list_graph(graph, set())


def _list_graph(graph: Any, around: set[str]) -> Iterator[Call]:
    """List those of a graph, in which the names of `around` are true."""
    true = around | {_read_text(tensor, 8) for tensor in read_fields(graph, 5) if _is_true(tensor)}
    for node in read_fields(graph, 1):
        operation = _read_text(node, 4)
        outputs = list(filter(None, _read_texts(node, 2)))
        attributes = read_fields(node, 5)
        if operation == "Constant" and any(map(_is_true, _list_inside(attributes, 5))):
            true.update(outputs)
        elif operation == "Dropout" and set(_read_texts(node, 1)[2:]) & true:
            yield operation, _DROPOUT
        elif operation == "BatchNormalization" and len(outputs) > 1:
            yield operation, _NORMALIZATION
        for inner in (*_list_inside(attributes, 6), *_list_inside(attributes, 11)):
            yield from _list_graph(inner, true)  # branches and bodies of loops


def _list_inside(messages: Sequence[Any], number: int) -> Iterator[Any]:
    for message in messages:
        yield from read_fields(message, number)


def _is_true(tensor: Any) -> bool:
    values = [*map(bytes, read_fields(tensor, 9)), *read_fields(tensor, 5)]
    return read_fields(tensor, 2) == [_BOOL] and values in ([b"\1"], [1])


def _read_texts(message: Any, number: int) -> list[str]:
    return [bytes(text).decode() for text in read_fields(message, number)]


def _read_text(message: Any, number: int) -> str:
    return "".join(_read_texts(message, number))
