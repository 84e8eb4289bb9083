"""Which operations of an ONNX graph train; tests/contract reads a graph that `onnx` wrote."""

from pathlib import Path

import pytest

from container.serving.third_party.loaders import onnx_training

TRUE = b"\x10\x09\x4a\x01\x01"  # data_type BOOL, raw_data 1
FALSE = b"\x10\x09\x4a\x01\x00"


def write(number: int, *contents: bytes) -> bytes:
    """Write the contents of a field of a protocol buffer."""
    return b"".join(bytes([number << 3 | 2, len(content)]) + content for content in contents)


def write_node(operation: bytes, inputs: list[bytes], outputs: list[bytes]) -> bytes:
    return write(1, write(1, *inputs) + write(2, *outputs) + write(4, operation))


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        (write_node(b"Dropout", [b"x"], [b"y"]), []),
        (write_node(b"Dropout", [b"x", b"", b"t"], [b"y"]), []),
        (write_node(b"Dropout", [b"x", b"", b"t"], [b"y"]) + write(5, TRUE + b"B\1t"), ["Dropout"]),
        (write_node(b"Dropout", [b"x", b"", b"t"], [b"y"]) + write(5, FALSE + b"B\1t"), []),
        (write_node(b"BatchNormalization", [b"x"], [b"y"]), []),
        (write_node(b"BatchNormalization", [b"x"], [b"y", b"m"]), ["BatchNormalization"]),
    ],
)
def test_operations_that_train_are_found(tmp_path: Path, graph: bytes, found: list[str]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(write(7, graph))
    assert [name for name, _ in onnx_training.list_calls(path)] == found


def test_what_is_no_graph_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"<html>")
    with pytest.raises(ValueError, match="protobuf"):
        list(onnx_training.list_calls(path))
