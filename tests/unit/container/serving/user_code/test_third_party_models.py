"""Requests to models without code."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from container.serving.exchange import Request
from container.serving.user_code import model_files, model_runtimes, third_party_models


def forge_npy(shape: tuple[int, ...]) -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


NPY_OF_NOTHING = forge_npy((10**12,))
NPY_IMPOSSIBLE = forge_npy((0, 2**70))


class Doubler:
    """A model that needs no file."""

    input_shape = (2,)

    def predict(self, data: Any) -> Any:
        """Double."""
        return (
            {name: 2 * value for name, value in data.items()}
            if isinstance(data, dict)
            else 2 * data
        )


@pytest.fixture
def doubler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "find", lambda _: model_files.ModelFile("doubler", Path()))
    monkeypatch.setitem(model_runtimes.RUNTIMES, "doubler", lambda _: Doubler())


@pytest.mark.usefixtures("doubler")
@pytest.mark.parametrize(
    ("content_type", "body", "accept", "answer"),
    [
        ("application/json", b'{"instances": [[1, 2]]}', "", b'{"predictions": [[2, 4]]}'),
        (
            "application/json",
            b'{"instances": [{"a": 1}, {"a": 2}]}',
            "",
            b'{"predictions": [{"a": 2}, {"a": 4}]}',
        ),
        ("application/json", b"[[1, 2]]", "application/json", b'{"predictions": [[2, 4]]}'),
        ("text/csv", b"1,2\n3,4", "text/csv", b"2,4\n6,8\n"),
        ("text/csv", b"1,2", "text/html, text/csv;q=0.5", b"2,4\n"),
    ],
)
def test_model_without_code_answers_in_the_usual_forms(
    content_type: str, body: bytes, accept: str, answer: bytes
) -> None:
    application = third_party_models.Found("doubler", Path()).load()
    response = application.invoke(Request(body, {"content-type": content_type, "accept": accept}))
    assert (response.status, response.body) == (200, answer)


@pytest.mark.usefixtures("doubler")
@pytest.mark.parametrize(
    ("content_type", "body", "accept", "status", "message"),
    [
        ("text/csv", b"1,2,3", "", 400, "holds 3 numbers; 2 for an instance of shape [2]"),
        ("text/csv", b"", "", 400, "holds 0 numbers"),
        ("application/json", b'{"rows": 1}', "", 400, "instances"),
        ("application/json", b'{"instances": []}', "", 400, "holds no instance"),
        ("application/json", b'{"instances": [[]]}', "", 400, "holds 0 numbers"),
        ("application/json", b'{"instances": [[1, 2, 3]]}', "", 400, "holds 3 numbers"),
        ("application/json", b'{"inputs": [[1], [2], [3]]}', "", 400, "holds 3 numbers"),
        ("application/json", b'{"instances": [{"a": 1}, 2]}', "", 400, "must have one shape"),
        ("application/json", b"[]", "", 400, "holds 0 numbers"),
        ("application/x-npy", NPY_OF_NOTHING, "", 400, "promises 1000000000000 bytes"),
        ("application/x-npy", NPY_IMPOSSIBLE, "", 400, "not a complete npy file"),
        ("application/json", b'{"instances": [[1], [2, 3]]}', "", 400, "must have one shape"),
        ("application/json", b"[" * 100000, "", 400, "is not application/json"),
        ("image/png", b"x", "", 415, "takes no pictures"),
        ("text/html", b"x", "", 415, "supported: application/x-npy, text/csv, application/json"),
        ("text/csv", b"1,2", "image/png", 406, "application/json, text/csv, application/x-npy"),
    ],
)
def test_bad_request_to_a_model_without_code_is_the_clients_fault(
    content_type: str, body: bytes, accept: str, status: int, message: str
) -> None:
    application = third_party_models.Found("doubler", Path()).load()
    response = application.invoke(Request(body, {"content-type": content_type, "accept": accept}))
    assert response.status == status
    assert message in json.loads(response.body)["error"]


@pytest.mark.usefixtures("doubler")
@pytest.mark.parametrize("body", [b"[1, 2]", b"[[[1, 2]]]", b"[[[1, 2, 3]]]", b'{"inputs": [[]]}'])
def test_nesting_that_does_not_fit_sides_of_any_length_is_the_clients_fault(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RQ-8."""
    monkeypatch.setattr(Doubler, "input_shape", (None, 2, 1))
    application = third_party_models.Found("doubler", Path()).load()

    response = application.invoke(Request(body, {"content-type": "application/json"}))
    assert response.status == 400
    assert "['n', 'any', 2, 1] is expected" in json.loads(response.body)["error"]
    response = application.invoke(Request(b"[[[[1], [2]]]]", {"content-type": "application/json"}))
    assert response.body == b'{"predictions": [[[[2], [4]]]]}'
