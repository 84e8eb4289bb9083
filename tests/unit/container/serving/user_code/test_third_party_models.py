"""Requests to models without code."""

import json
from pathlib import Path
from typing import Any

import pytest

from container.serving import inference
from container.serving.user_code import model_files, model_runtimes, third_party_models


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
    response = application.invoke(
        inference.Request(body, {"content-type": content_type, "accept": accept})
    )
    assert (response.status, response.body) == (200, answer)


@pytest.mark.usefixtures("doubler")
@pytest.mark.parametrize(
    ("content_type", "body", "accept", "status", "message"),
    [
        ("text/csv", b"1,2,3", "", 400, "holds 3 numbers; 2 for an instance of shape [2]"),
        ("text/csv", b"", "", 400, "holds 0 numbers"),
        ("application/json", b'{"rows": 1}', "", 400, "instances"),
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
    response = application.invoke(
        inference.Request(body, {"content-type": content_type, "accept": accept})
    )
    assert response.status == status
    assert message in json.loads(response.body)["error"]
