"""Requests to models without code."""

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from container.serving.exchange import Request
from container.serving.third_party.model_application import Found, ModelApplication
from container.serving.third_party.signature import Shape, Tensor, Tensors


def forge_npy(shape: tuple[int, ...]) -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


NPY_OF_NOTHING = forge_npy((10**12,))
NPY_IMPOSSIBLE = forge_npy((0, 2**70))


class Doubler:
    """A model that needs no file."""

    def __init__(self, *shapes: Shape) -> None:
        names = [["x"], ["a", "b"]][len(shapes) - 1]
        self.signature = Tensors(
            [Tensor(name, None, shape) for name, shape in zip(names, shapes, strict=True)]
        )

    def predict(self, data: Any) -> Any:
        """Double."""
        return self.signature.run(
            data, lambda feed: {name: 2 * value for name, value in feed.items()}
        )


def serve(*shapes: Shape, **choices: Any) -> ModelApplication:
    return ModelApplication(Doubler(*shapes), Found("LiteRT", Path(), **choices))


def ask(application: ModelApplication, content_type: str, body: bytes, accept: str = "") -> Any:
    return application.invoke(Request(body, {"content-type": content_type, "accept": accept}))


LINES = "application/jsonlines"


@pytest.mark.parametrize(
    ("content_type", "body", "accept", "answer"),
    [
        ("application/json", b'{"instances": [[1, 2]]}', "", b'{"predictions": [[2, 4]]}'),
        ("application/json", b'{"inputs": [[1, 2]]}', "", b'{"outputs": [[2, 4]]}'),
        ("application/json", b'{"inputs": {"x": [[1, 2]]}}', "", b'{"outputs": [[2, 4]]}'),
        ("application/json", b'{"instances": [{"x": [1, 2]}]}', "", b'{"predictions": [[2, 4]]}'),
        ("application/json", b"[[1, 2]]", "application/json", b'{"predictions": [[2, 4]]}'),
        ("application/json", b"[1, 2]", "", b'{"predictions": [[2, 4]]}'),
        ("application/json", b"[[NaN, 2]]", "", b'{"predictions": [[null, 4.0]]}'),
        (
            "application/json",
            b'{"signature_name": "serving_default", "instances": [[1, 2]]}',
            "",
            b'{"predictions": [[2, 4]]}',
        ),
        (
            "application/json",
            b'\xef\xbb\xbf{"instances": [[1, 2]]}',
            "",
            b'{"predictions": [[2, 4]]}',
        ),
        (
            "application/json; charset=utf-16",
            "[[1, 2]]".encode("utf-16"),
            "",
            b'{"predictions": [[2, 4]]}',
        ),
        ("text/csv", b"1,2\n3,4", "text/csv", b"2,4\n6,8\n"),
        ("text/csv", b"\xef\xbb\xbf1,2\r\n3,4\r\n\r\n", "text/csv", b"2,4\n6,8\n"),
        ("text/csv", b'"1",2\n', "text/csv", b"2,4\n"),
        ("text/csv", b"1,2", "text/html, text/csv;q=0.5", b"2,4\n"),
        (LINES, b"[1, 2]\n[3, 4]\n", LINES, b"[2, 4]\n[6, 8]\n"),
        ("application/jsonl", b'{"x": [1, 2]}\n', "application/x-ndjson", b"[2, 4]\n"),
        ("application/x-jsonlines", b'{"features": [1, 2]}', "", b'{"predictions": [[2, 4]]}'),
    ],
)
def test_model_without_code_answers_in_the_usual_forms(
    content_type: str, body: bytes, accept: str, answer: bytes
) -> None:
    response = ask(serve((None, 2)), content_type, body, accept)
    assert (response.status, response.body) == (200, answer)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (
            b'{"instances": [{"a": 1, "b": [1]}, {"b": [2], "a": 2}]}',
            {"predictions": [{"a": 2, "b": [2]}, {"a": 4, "b": [4]}]},
        ),
        (
            b'{"inputs": {"a": [1, 2], "b": [[1], [2]]}}',
            {"outputs": {"a": [2, 4], "b": [[2], [4]]}},
        ),
        (
            b'{"dataframe_split": {"columns": ["b", "a"], "data": [[1, 2], [3, 4]]}}',
            {"predictions": [{"a": 4, "b": [2]}, {"a": 8, "b": [6]}]},
        ),
        (b'{"dataframe_records": [{"b": 1, "a": 2}]}', {"predictions": [{"a": 4, "b": [2]}]}),
    ],
)
def test_inputs_of_several_names_are_answered_by_name(body: bytes, answer: Any) -> None:
    response = ask(serve((None,), (None, 1)), "application/json", body)
    assert (response.status, json.loads(response.body)) == (200, answer)


def test_csv_with_a_header_names_the_inputs() -> None:
    application = serve((None,), (None, 1))
    response = ask(application, "text/csv", b"b,a\n1,2\n3,4\n", "application/jsonlines")
    assert response.body == b'{"a": 4, "b": [2]}\n{"a": 8, "b": [6]}\n'
    response = ask(application, "text/csv", b"b,c\n1,2\n")
    assert response.status == 400
    assert "the input 'a' is missing; the model has no input 'c'" in response.body.decode()


def test_no_newline_ends_the_answers_of_a_transform_job() -> None:
    """BT-8."""
    application = serve((None, 2), end_of_line=False)
    assert ask(application, "text/csv", b"1,2\n3,4\n", "text/csv").body == b"2,4\n6,8"
    assert ask(application, LINES, b"[1, 2]\n", LINES).body == b"[2, 4]"


def make_picture(kind: str, size: tuple[int, int] = (2, 1)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (1, 2, 3)).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("content_type", ["application/x-image", "image/jpg", "image/png"])
@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_first_bytes_say_which_picture_it_is(content_type: str, kind: str) -> None:
    response = ask(serve((None, 1, 2, 3)), content_type, make_picture(kind))
    assert json.loads(response.body) == {"predictions": [[[[2, 4, 6], [2, 4, 6]]]]}


def test_picture_goes_in_in_the_order_of_the_models_axes() -> None:
    response = ask(serve((None, 3, 1, 2)), "image/png", make_picture("PNG"))
    assert json.loads(response.body) == {"predictions": [[[[2, 2]], [[4, 4]], [[6, 6]]]]}


def test_pictures_in_json_are_decoded_and_bounded() -> None:
    text = base64.b64encode(make_picture("PNG")).decode()
    body = json.dumps({"instances": [{"b64": text}, {"b64": text}]}).encode()
    response = ask(serve((None, 1, 2, 3), payload_bytes=12), "application/json", body)
    assert json.loads(response.body)["predictions"] == 2 * [[[[2, 4, 6], [2, 4, 6]]]]
    response = ask(serve((None, 1, 2, 3), payload_bytes=11), "application/json", body)
    assert response.status == 413
    response = ask(serve((None, 2)), "application/json", body)
    assert response.status == 400
    assert "does not take bytes" in json.loads(response.body)["error"]


@pytest.mark.parametrize(
    ("content_type", "body", "accept", "status", "message"),
    [
        ("text/csv", b"1,2,3", "", 400, "the shape [1, 3]; ['n', 2] is expected"),
        ("text/csv", b"", "", 400, "the body is empty"),
        ("text/csv", b"\n", "", 400, "at least one row"),
        ("text/csv", b"1,2\n\n3,4", "", 400, "row 2 is empty"),
        ("text/csv", b"1,2\n3", "", 400, "row 2 has 1 columns; the first has 2"),
        ("text/csv; header=present", b"a,b\n1,2\n3", "", 400, "row 3 has 1 columns; the first"),
        ("text/csv", b"a,b\n1,2", "", 400, "rows are sent without a header"),
        ("text/csv", b'1,"2', "", 400, "is not text/csv"),
        ("text/csv; charset=idna", b"1,2", "", 415, "charset 'idna' is not supported"),
        ("application/json", b'{"rows": 1}', "", 400, "the object holds 'rows'"),
        ("application/json", b"1", "", 400, "a int was found"),
        ("application/json", b'{"instances": []}', "", 400, "holds no instance"),
        ("application/json", b'{"instances": 3}', "", 400, "the instances are a int"),
        ("application/json", b'{"instances": [[]]}', "", 400, "the shape [1, 0]"),
        ("application/json", b'{"instances": [[1, 2, 3]]}', "", 400, "the shape [1, 3]"),
        ("application/json", b'{"inputs": [[1], [2], [3]]}', "", 400, "the shape [3, 1]"),
        ("application/json", b"[[1, 2, 3, 4], [1, 2, 3, 4]]", "", 400, "the shape [2, 4]"),
        ("application/json", b'{"instances": [{"a": 1}, 2]}', "", 400, "must have one shape"),
        (
            "application/json",
            b'{"instances": [{"x": 1}, {"x": 1, "y": 2}]}',
            "",
            400,
            "no name 'y'",
        ),
        ("application/json", b'{"instances": [{"y": [1, 2]}]}', "", 400, "'x' is missing"),
        ("application/json", b'{"instances": [{"x": [1, 2], "y": 1}]}', "", 400, "no input 'y'"),
        ("application/json", b"[]", "", 400, "holds no instance"),
        (
            "application/json",
            b'{"signature_name": "a", "inputs": [[1, 2]]}',
            "",
            400,
            "no signature 'a'",
        ),
        ("application/json", b'[{"b64": "?"}]', "", 400, "is not base64"),
        ("application/json", b'{"dataframe_split": [1]}', "", 400, "dataframe_split must be"),
        (
            "application/json",
            b'{"dataframe_split": {"columns": ["x", "x"], "data": [[1, 2]]}}',
            "",
            400,
            "'x' occur twice",
        ),
        (
            "application/json",
            b'{"dataframe_split": {"columns": ["x"], "data": [[1, 2]]}}',
            "",
            400,
            "row 1 has 2 values; expected 1",
        ),
        (
            "multipart/form-data; boundary=X",
            b"--X\r\nContent-Type: application/json\r\n\r\n%b\r\n--X--"
            % b'{"signature_name": "a", "inputs": [[1, 2]]}',
            "",
            400,
            "part 1: the model has no signature 'a'",
        ),
        (LINES, b"[1, 2]\n\n[3, 4]", "", 400, "line 2 is empty"),
        (LINES, b"[1, 2]\n[3, 4", "", 400, "line 2: the body is not"),
        ("application/x-npy", NPY_OF_NOTHING, "", 400, "declares 1000000000000 bytes"),
        ("application/x-npy", NPY_IMPOSSIBLE, "", 400, "not a complete npy file"),
        ("application/json", b'{"instances": [[1], [2, 3]]}', "", 400, "must have one shape"),
        ("application/json", b"[" * 100000, "", 400, "is not application/json"),
        ("image/png", b"x", "", 415, "takes no pictures"),
        ("text/html", b"x", "", 415, "supported: application/json, text/csv"),
        ("", b"x", "", 415, "a request without a content type"),
        ("text/csv", b"1,2", "image/png", 406, "application/json, text/csv, application/x-npy"),
    ],
)
def test_bad_request_to_a_model_without_code_is_the_clients_fault(
    content_type: str, body: bytes, accept: str, status: int, message: str
) -> None:
    response = ask(serve((None, 2)), content_type, body, accept)
    assert response.status == status
    assert message in json.loads(response.body)["error"]


@pytest.mark.parametrize("body", [b"[1, 2]", b"[[[1, 2]]]", b"[[[1, 2, 3]]]", b'{"inputs": [[]]}'])
def test_nesting_that_does_not_fit_sides_of_any_length_is_the_clients_fault(body: bytes) -> None:
    """RQ-8."""
    application = serve((None, None, 2, 1))
    response = ask(application, "application/json", body)
    assert response.status == 400
    assert "['n', 'any', 2, 1] is expected" in json.loads(response.body)["error"]
    response = ask(application, "application/json", b"[[[[1], [2]]]]")
    assert response.body == b'{"predictions": [[[[2], [4]]]]}'


def test_parts_of_one_number_are_a_batch() -> None:
    part = b"\r\n--X\r\nContent-Type: application/json\r\n\r\n"
    body = (part + b'{"inputs": 1}' + part + b'{"inputs": 2}' + b"\r\n--X--")[2:]
    response = ask(serve((None,)), "multipart/form-data; boundary=X", body)
    assert response.body == b'{"predictions": [2, 4]}'


def test_columns_of_one_name_are_refused() -> None:
    """One of them would be lost."""
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table([[1.0], [2.0], [3.0]], names=["a", "b", "b"])
    stream = io.BytesIO()
    with pyarrow.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    response = ask(
        serve((None,), (None,)), "application/vnd.apache.arrow.stream", stream.getvalue()
    )
    assert response.status == 400
    assert "the columns 'b' occur twice" in json.loads(response.body)["error"]
