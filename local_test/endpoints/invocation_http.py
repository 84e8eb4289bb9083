"""Invocations over HTTP: the runtime API as one WSGI application, for `serve` and the local AWS.

    POST /endpoints/NAME/invocations                    InvokeEndpoint
    POST /endpoints/NAME/invocations-response-stream    InvokeEndpointWithResponseStream
    POST /endpoints/NAME/async-invocations              InvokeEndpointAsync

An answer to InvokeEndpoint also carries `X-Local-Test-...` headers: the container's own status, the
times of each stage, and findings. Every request passes here, so nothing expensive does.
"""

import functools
import itertools
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from container import contract
from container.errors import RequestError
from local_test import identity
from local_test.endpoints import event_stream, invocation
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.invocation import RETURNED_HEADERS, Answer, Stream, VariantError

LOG_GROUP: Final = "/aws/sagemaker/Endpoints/"
COMPONENT_LOG_GROUP: Final = "/aws/sagemaker/InferenceComponents/"
_PATH: Final = re.compile(
    r"/endpoints/([A-Za-z0-9-]{1,63})/(invocations|invocations-response-stream|async-invocations)"
)
_BIDIRECTIONAL: Final = (
    "InvokeEndpointWithBidirectionalStream needs HTTP/2, which is not emulated; connect a WebSocket"
    f" to the container itself, {contract.BIDIRECTIONAL_PATH} at the port that its log names"
)
_MESSAGE_CHARACTERS: Final = 2048  # of the container's answer in a ModelError (RQ-6)
_INLINE_BYTES: Final = 128_000  # of an asynchronous request's own body (ASY-1)
_ERROR_CODES: Final[Mapping[int, str]] = {
    HTTPStatus.NOT_FOUND: "UnknownOperationException",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
    HTTPStatus.TOO_MANY_REQUESTS: "ThrottlingException",
}

Count = Callable[..., None]
"""Called with an endpoint's name, the variant, the container's status (0 without an answer), the
seconds to the first byte and in total, the inference `component`, a cold start's `setup_s`, and
`config`, the name of the variant's endpoint configuration."""


class InvocationError(Exception):
    """A refused or failed invocation, as the API reports it."""

    def __init__(self, code: str, message: str, status: int, **members: Any) -> None:
        """`code` is the API's name of the error; `members` are further fields of its shape."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members


@dataclass(frozen=True)
class InvocationApi:
    """The WSGI application for a set of endpoints."""

    find: Callable[[str], Endpoint | None]
    """Return the running endpoint of a name."""
    account: str = identity.ACCOUNT
    region: str = field(default_factory=identity.region)
    count: Count = lambda *_, **__: None
    keep: Callable[[str, Mapping[str, str], bytes], None] = lambda *_: None
    """Called with the endpoint's name, headers and body of each request that was answered."""

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        try:
            return self._dispatch(environ, start_response)
        except InvocationError as error:
            return send_error(start_response, error)

    def _dispatch(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.endswith(contract.BIDIRECTIONAL_PATH):
            raise _refuse(HTTPStatus.NOT_IMPLEMENTED, _BIDIRECTIONAL)
        match = _PATH.fullmatch(path)
        if match is None or environ["REQUEST_METHOD"] != "POST":
            message = (
                f"{environ['REQUEST_METHOD']} {path} does not exist; "
                "POST /endpoints/NAME/invocations does"
            )
            raise _refuse(HTTPStatus.NOT_FOUND, message)
        name, operation = match.groups()
        endpoint = self.find(name)
        if endpoint is None:
            message = f"Endpoint {name} of account {self.account} not found."
            raise _refuse(HTTPStatus.BAD_REQUEST, message)
        body = environ["wsgi.input"].read()
        headers = read_headers(environ)
        if operation == "invocations":
            answer = self.invoke(endpoint, body, headers)
            return _send(start_response, HTTPStatus.OK, answer.body, _describe(answer))
        if operation == "async-invocations":
            return _accept(endpoint, body, headers, start_response)
        return self._stream(endpoint, body, headers, start_response)

    def invoke(self, endpoint: Endpoint, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Pass a request to an endpoint and return the container's answer.

        Raises: InvocationError if the request is refused, or the container answers 400 or above.
        """
        started = time.perf_counter()
        count, group = self._prepare(endpoint, headers)
        try:
            answer = endpoint.invoke(body, headers)
        except RequestError as error:
            raise self._explain(count, group, error, time.perf_counter() - started) from error
        times_s = (answer.first_byte_s, time.perf_counter() - started)
        details = {"setup_s": answer.setup_s, "config": answer.config}
        count(answer.variant, answer.status, *times_s, **details)
        if answer.status >= 400:
            source = answer.source or answer.variant
            raise self._model_error(group, source, answer.status, answer.body)
        self.keep(endpoint.name, headers, body)
        return answer

    def _stream(
        self,
        endpoint: Endpoint,
        body: bytes,
        headers: Mapping[str, str],
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        stream = self._open_stream(endpoint, body, headers)
        content_type = stream.headers.get("content-type", "application/octet-stream")
        attributes = stream.headers.get(contract.CUSTOM_ATTRIBUTES_HEADER.lower())
        returned = [(contract.CUSTOM_ATTRIBUTES_HEADER, attributes)] if attributes else []
        start_response(
            "200 OK",
            [
                *returned,
                ("Content-Type", event_stream.CONTENT_TYPE),
                ("X-Amzn-SageMaker-Content-Type", content_type),
                ("x-Amzn-Invoked-Production-Variant", stream.variant),
                ("x-amzn-RequestId", str(uuid.uuid4())),
            ],
        )
        return event_stream.encode_parts(stream.parts)

    def _open_stream(self, endpoint: Endpoint, body: bytes, headers: Mapping[str, str]) -> Stream:
        started = time.perf_counter()
        count, group = self._prepare(endpoint, headers)
        try:
            stream = endpoint.invoke_stream(body, headers)
            times_s = [time.perf_counter() - started] * 2
            count(stream.variant, stream.status, *times_s, config=stream.config)
            if stream.status < 400:
                self.keep(endpoint.name, headers, body)
                return stream
            original = b"".join(itertools.islice(stream.parts, 64))  # it may not end
        except RequestError as error:
            passed_s = time.perf_counter() - started
            raise self._explain(count, group, error, passed_s) from error
        raise self._model_error(group, stream.variant, stream.status, original)

    def _prepare(self, endpoint: Endpoint, headers: Mapping[str, str]) -> tuple[Count, str]:
        """Return what counts a request, and the log group of the container that answers it."""
        component = headers.get(invocation.COMPONENT, "")
        group = COMPONENT_LOG_GROUP + component if component else LOG_GROUP + endpoint.name
        return functools.partial(self.count, endpoint.name, component=component), group

    def _explain(
        self, count: Count, group: str, error: RequestError, passed_s: float
    ) -> InvocationError:
        """Return the API's error for a request without an answer, and count it if one was due."""
        if isinstance(error, VariantError) and error.status == HTTPStatus.FAILED_DEPENDENCY:
            count(error.variant, 0, passed_s, passed_s, config=error.config)
            return self._model_error(group, error.variant, 0, str(error).encode())
        return _refuse(error.status, str(error))

    def _model_error(self, group: str, source: str, status: int, answer: bytes) -> InvocationError:
        """Return the ModelError for an answer of `source`; `status` is 0 without one (RQ-6)."""
        original = answer[: 4 * _MESSAGE_CHARACTERS].decode("utf-8", "replace")
        original = original[:_MESSAGE_CHARACTERS]
        kind = "client" if 400 <= status < 500 else "server"
        console = (
            f"https://{self.region}.console.aws.amazon.com/cloudwatch/home"
            f"?region={self.region}#logEventViewer:group={group}"
        )
        return InvocationError(
            "ModelError",
            f'Received {kind} error ({status}) from {source} with message "{original}". '
            f"See {console} in account {self.account} for more information.",
            HTTPStatus.FAILED_DEPENDENCY,
            ErrorCode=f"{kind.upper()}_ERROR_FROM_MODEL",
            LogStreamArn=f"arn:aws:logs:{self.region}:{self.account}:log-group:{group}",
            OriginalMessage=original,
            OriginalStatusCode=status,
        )


def send_error(start_response: Callable[..., Any], error: InvocationError) -> list[bytes]:
    """Answer with an error of the API."""
    document = {"Message": error.message, **error.members}
    headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", error.code)]
    return _send(start_response, error.status, json.dumps(document).encode(), headers)


def read_headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of a WSGI request that may concern a container, names in lower case."""
    headers = {
        key[5:].replace("_", "-").lower(): str(value)
        for key, value in environ.items()
        if key.startswith("HTTP_X_AMZN_SAGEMAKER")
    }
    for key, name in (("CONTENT_TYPE", "content-type"), ("HTTP_ACCEPT", "accept")):
        # Streams and asynchronous requests carry the container's headers beside the API's own.
        value = headers.pop(f"x-amzn-sagemaker-{name}", None) or environ.get(key)
        if value:
            headers[name] = value
    return headers


def _send(
    start_response: Callable[..., Any], status: int, body: bytes, headers: list[tuple[str, str]]
) -> list[bytes]:
    length = ("Content-Length", str(len(body)))
    request_id = ("x-amzn-RequestId", str(uuid.uuid4()))
    start_response(f"{status:d} {HTTPStatus(status).phrase}", [*headers, length, request_id])
    return [body]


def _describe(answer: Answer) -> list[tuple[str, str]]:
    headers = [(RETURNED_HEADERS[name], value) for name, value in answer.headers.items()]
    headers += [
        ("x-Amzn-Invoked-Production-Variant", answer.variant),
        ("X-Local-Test-Container-Status", str(answer.status)),
        ("X-Local-Test-Connect-Seconds", f"{answer.connect_s:.6f}"),
        ("X-Local-Test-First-Byte-Seconds", f"{answer.first_byte_s:.6f}"),
        ("X-Local-Test-Total-Seconds", f"{answer.total_s:.6f}"),
    ]
    if answer.setup_s:
        headers.append(("X-Local-Test-Cold-Start-Seconds", f"{answer.setup_s:.6f}"))
    if answer.findings:
        headers.append(("X-Local-Test-Findings", "; ".join(answer.findings)))
    return headers


def _accept(
    endpoint: Endpoint, body: bytes, headers: Mapping[str, str], start_response: Callable[..., Any]
) -> list[bytes]:
    source = _choose_source(body, headers)
    try:
        receipt = endpoint.invoke_async(source, headers)
    except RequestError as error:
        raise _refuse(error.status, str(error)) from error
    places = [
        (f"X-Amzn-SageMaker-{key}", receipt[key]) for key in ("OutputLocation", "FailureLocation")
    ]
    document = json.dumps({"InferenceId": receipt["InferenceId"]}).encode()
    content_type = ("Content-Type", "application/json")
    return _send(start_response, HTTPStatus.ACCEPTED, document, [content_type, *places])


def _choose_source(body: bytes, headers: Mapping[str, str]) -> str | bytes:
    """Return what an asynchronous request is about: the URI of an object, or its own body.

    Raises: InvocationError.
    """
    location = headers.get("x-amzn-sagemaker-inputlocation", "")
    if bool(location) == bool(body):
        found = "both" if body else "neither"
        message = f"Exactly one of InputLocation and Body must be given; found {found} (ASY-1)"
        raise _refuse(HTTPStatus.BAD_REQUEST, message)
    if len(body) > _INLINE_BYTES:
        message = (
            f"Body has {len(body)} bytes; an inline body has at most {_INLINE_BYTES}. Put it in S3 "
            "and use InputLocation (ASY-1)"
        )
        raise _refuse(HTTPStatus.BAD_REQUEST, message)
    if location and not location.startswith("s3://"):  # our files are not the caller's to name
        message = f"InputLocation must be an s3:// URI, found {location!r} (ASY-1)"
        raise _refuse(HTTPStatus.BAD_REQUEST, message)
    return location or body


def _refuse(status: int, message: str) -> InvocationError:
    return InvocationError(_ERROR_CODES.get(status, "ValidationError"), message, status)
