"""The Flask application: routes, methods, errors, and the answers of the core."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from container.serving import inference
from container.serving.app import create_app
from container.serving.exchange import Request

ROW = b"0,0,0,200"


def make() -> inference.Inference:
    return inference.Inference(
        lambda images: np.full((len(images), 4), 0.25, np.float32),
        input_shape=(1, 4, 1),
        classes=("a", "b", "c", "d"),
    )


@pytest.fixture
def client() -> Any:
    return create_app(make(), payload_bytes=100).test_client()


def test_ping_answers_get_and_post_with_an_empty_200(client: Any) -> None:
    """HO-4."""
    for response in (client.get("/ping"), client.post("/ping")):
        assert (response.status_code, response.data) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/ping/", 404),
        ("GET", "//ping", 404),
        ("POST", "/invocations/", 404),
        ("GET", "/invocations", 405),
        ("DELETE", "/ping", 405),
    ],
)
def test_other_paths_are_404_and_other_methods_405_without_redirect(
    client: Any, method: str, path: str, status: int
) -> None:
    """HO-16."""
    response = client.open(path, method=method)

    assert response.status_code == status
    assert "Location" not in response.headers
    assert set(response.json) == {"error", "request_id"}
    assert ("Allow" in response.headers) == (status == 405)


def test_body_beyond_the_limit_is_413_that_names_the_setting(client: Any) -> None:
    """HO-9."""
    response = client.post("/invocations", data=b"1" * 101, content_type="text/csv")

    assert response.status_code == 413
    assert "100 bytes" in response.json["error"]
    assert "SAGEMAKER_MAX_PAYLOAD_IN_MB" in response.json["error"]


def test_flask_gives_what_the_core_gives(client: Any) -> None:
    headers = {
        "Content-Type": "text/csv",
        "X-Amzn-SageMaker-Custom-Attributes": "a=1",
        "Accept": "text/csv",
    }

    response = client.post("/invocations", data=ROW, headers=headers)

    expected = make().invoke(Request(ROW, {"content-type": "text/csv", "accept": "text/csv"}))
    assert (response.status_code, response.data) == (expected.status, expected.body)
    assert response.headers["Content-Type"] == "text/csv"
    assert response.headers["X-Amzn-SageMaker-Custom-Attributes"] == "a=1"


@pytest.mark.parametrize(
    ("workers", "concurrency", "payload_mb"), [(1, 1, 6), (2, 2, 6), (32, 32, 3), (500, 100, 1)]
)
def test_execution_parameters_keep_a_transform_within_100_mb(
    workers: int, concurrency: int, payload_mb: int
) -> None:
    """BT-3, BT-4, BT-11."""
    client = create_app(make(), workers=workers).test_client()

    assert client.get("/execution-parameters").json == {
        "MaxConcurrentTransforms": concurrency,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": payload_mb,
    }
