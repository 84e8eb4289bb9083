"""The runtime API over HTTP, for endpoints that are played."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from container.errors import RequestError
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.invocation import Answer, Stream, VariantError
from local_test.endpoints.invocation_http import InvocationApi, read_headers
from local_test.endpoints.invocation_server import GatedApi

LATE = VariantError(RequestError(424, "late"), "third", "config")


class PlayedEndpoint:
    """Answers with what a test asks for."""

    name = "e"

    def __init__(self, status: int = 200, error: RequestError | None = None) -> None:
        self.status = status
        self.error = error

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Echo the body."""
        if self.error is not None:
            raise self.error
        content_type = {"content-type": headers["content-type"]}
        return Answer(self.status, content_type, body, "second", 0.0, 0.25, 0.5)

    def invoke_stream(self, body: bytes, headers: Mapping[str, str]) -> Stream:
        """Echo the body as a stream, which breaks if there is an error."""

        def read() -> Iterator[bytes]:
            yield body
            if self.error is not None:
                raise self.error

        sent = {"x-amzn-sagemaker-custom-attributes": "trace=7"}
        sent["content-type"] = headers["content-type"]
        return Stream(self.status, sent, read(), "second")


def ask(
    endpoint: PlayedEndpoint | None, path: str = "/endpoints/e/invocations", method: str = "POST"
) -> tuple[str, dict[str, str], bytes, list[tuple[Any, ...]]]:
    counted: list[tuple[Any, ...]] = []
    started: list[Any] = []
    api = InvocationApi(
        lambda _: cast("Endpoint", endpoint),
        "123456789012",
        "eu-west-1",
        lambda *count, **_: counted.append(count[:3]),
    )
    environ = {
        "PATH_INFO": path,
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": "text/csv",
        "wsgi.input": io.BytesIO(b"1,2"),
    }
    body = b"".join(api(environ, lambda *arguments: started.extend(arguments)))
    return started[0], dict(started[1]), body, counted


def test_an_answer_carries_variant_times_and_content_type() -> None:
    status, headers, body, counted = ask(PlayedEndpoint())

    assert (status, body, headers["Content-Type"]) == ("200 OK", b"1,2", "text/csv")
    assert headers["x-Amzn-Invoked-Production-Variant"] == "second"
    assert headers["X-Local-Test-First-Byte-Seconds"] == "0.250000"
    assert counted == [("e", "second", 200)]


@pytest.mark.parametrize(
    ("status", "code"), [(415, "CLIENT_ERROR_FROM_MODEL"), (500, "SERVER_ERROR_FROM_MODEL")]
)
@pytest.mark.parametrize("operation", ["invocations", "invocations-response-stream"])
def test_a_container_s_refusal_is_a_model_error(status: int, code: str, operation: str) -> None:
    line, headers, body, counted = ask(PlayedEndpoint(status), f"/endpoints/e/{operation}")

    error = json.loads(body)
    assert (line, headers["x-amzn-ErrorType"]) == ("424 Failed Dependency", "ModelError")  # RQ-6
    assert (error["ErrorCode"], error["OriginalStatusCode"]) == (code, status)
    assert error["OriginalMessage"] == "1,2"
    assert f'error ({status}) from second with message "1,2"' in error["Message"]
    assert error["LogStreamArn"].endswith("123456789012:log-group:/aws/sagemaker/Endpoints/e")
    assert counted == [("e", "second", status)]


@pytest.mark.parametrize(
    ("endpoint", "path", "method", "status", "code"),
    [
        (None, "/endpoints/e/invocations", "POST", 400, "ValidationError"),
        (None, "/endpoints/e/other", "POST", 404, "UnknownOperationException"),
        (None, "/endpoints/e/invocations", "GET", 404, "UnknownOperationException"),
        (PlayedEndpoint(error=RequestError(413, "")), "", "POST", 413, "ValidationError"),
        (PlayedEndpoint(error=RequestError(503, "")), "", "POST", 503, "ServiceUnavailable"),
        (PlayedEndpoint(error=LATE), "", "POST", 424, "ModelError"),
    ],
)
def test_a_refusal_has_the_service_s_status_and_name(
    endpoint: PlayedEndpoint | None, path: str, method: str, status: int, code: str
) -> None:
    line, headers, _, counted = ask(endpoint, path or "/endpoints/e/invocations", method)

    assert (line[:3], headers["x-amzn-ErrorType"]) == (str(status), code)
    assert counted == ([("e", "third", 0)] if status == 424 else [])


def test_a_bidirectional_stream_is_refused_with_what_is_possible() -> None:
    status, _, body, _ = ask(PlayedEndpoint(), "/endpoints/e/invocations-bidirectional-stream")
    assert status == "501 Not Implemented"
    assert b"WebSocket to the container itself" in body


def test_a_stream_that_breaks_ends_with_an_error_event() -> None:
    endpoint = PlayedEndpoint(error=RequestError(424, "StreamBroken: reset"))

    status, headers, body, _ = ask(endpoint, "/endpoints/e/invocations-response-stream")

    assert (status, headers["X-Amzn-SageMaker-Content-Type"]) == ("200 OK", "text/csv")
    assert headers["x-Amzn-Invoked-Production-Variant"] == "second"
    assert headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=7"
    assert body.index(b"1,2") < body.index(b"ModelStreamError") < body.index(b"StreamBroken: reset")


def test_the_container_s_headers_of_a_stream_replace_the_api_s_own() -> None:
    environ = {
        "CONTENT_TYPE": "application/json",
        "HTTP_ACCEPT": "*/*",
        "HTTP_X_AMZN_SAGEMAKER_CONTENT_TYPE": "text/csv",
        "HTTP_X_AMZN_SAGEMAKER_TARGET_MODEL": "a",
        "HTTP_COOKIE": "a=b",
    }

    assert read_headers(environ) == {
        "content-type": "text/csv",
        "accept": "*/*",
        "x-amzn-sagemaker-target-model": "a",
    }


def test_the_server_of_serve_refuses_a_web_page() -> None:
    api = GatedApi(InvocationApi(lambda _: cast("Endpoint", PlayedEndpoint())))
    started: list[Any] = []
    environ = {
        "PATH_INFO": "/endpoints/e/invocations",
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "text/csv",
        "HTTP_HOST": "127.0.0.1:80",
        "wsgi.input": io.BytesIO(b"1,2"),
    }

    assert b"".join(api(environ, lambda *_: None)) == b"1,2"
    environ["HTTP_ORIGIN"] = "https://evil.example"
    body = b"".join(api(environ, lambda *arguments: started.extend(arguments)))
    assert (started[0], dict(started[1])["x-amzn-ErrorType"]) == (
        "403 Forbidden",
        "AccessDeniedException",
    )
    assert "a web page of another site" in json.loads(body)["Message"]


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "/etc/passwd", "https://b/k", "FILE:///x", " s3://b/k"]
)
def test_the_input_of_an_asynchronous_request_is_in_s3(location: str) -> None:
    answered: list[Any] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/endpoints/e/async-invocations",
        "HTTP_X_AMZN_SAGEMAKER_INPUTLOCATION": location,
        "wsgi.input": io.BytesIO(),
    }
    api = InvocationApi(lambda _: cast("Endpoint", PlayedEndpoint()))

    body = b"".join(api(environ, lambda *head: answered.append(head)))

    assert answered[0][0].startswith("400")
    assert "InputLocation must be an s3:// URI" in json.loads(body)["Message"]


@pytest.mark.parametrize(
    ("location", "body", "message"),
    [
        ("", b"", "found neither"),
        ("s3://b/k", b"x", "found both"),
        ("", b"x" * 128_001, "at most 128000"),
    ],
)
def test_an_asynchronous_request_has_one_input(location: str, body: bytes, message: str) -> None:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/endpoints/e/async-invocations",
        "HTTP_X_AMZN_SAGEMAKER_INPUTLOCATION": location,
        "wsgi.input": io.BytesIO(body),
    }
    api = InvocationApi(lambda _: cast("Endpoint", PlayedEndpoint()))
    answered: list[Any] = []
    answer = b"".join(api(environ, lambda *head: answered.append(head)))
    assert answered[0][0].startswith("400")
    assert message in json.loads(answer)["Message"]
