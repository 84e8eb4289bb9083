"""The SageMaker Runtime API: requests to endpoints.

Rules of this file: nothing between a request and its endpoint that costs: the path is read by hand,
the limits are the endpoint's own, and the model of the API is not consulted.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from container.errors import RequestError
from local_test.aws.account.account import Account
from local_test.aws.account.resources import ENDPOINT
from local_test.aws.protocol import event_stream
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker.endpoint_operations import LOG_GROUP, meter_of
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.server import Answer

_PATH: Final = re.compile(
    r"/endpoints/([A-Za-z0-9-]{1,63})/(invocations|invocations-response-stream|async-invocations)"
)
_RETURNED: Final = {  # RQ-5: as the API spells them
    "x-amzn-sagemaker-custom-attributes": "X-Amzn-SageMaker-Custom-Attributes",
    "x-amzn-sagemaker-new-session-id": "X-Amzn-SageMaker-New-Session-Id",
    "x-amzn-sagemaker-closed-session-id": "X-Amzn-SageMaker-Closed-Session-Id",
    "content-type": "Content-Type",
}


def answer(
    account: Account, environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Answer one request of the runtime API.

    Raises: AwsError as the service names it.
    """
    match = _PATH.fullmatch(environ.get("PATH_INFO", ""))
    if match is None or environ["REQUEST_METHOD"] != "POST":
        raise AwsError(
            "UnknownOperationException",
            f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO')} does not exist",
            404,
        )
    name, operation = match.groups()
    live = account.live.get((ENDPOINT.name, name))
    if live is None:
        raise AwsError("ValidationError", f"Endpoint {name} of account {account.number} not found.")
    body, headers = environ["wsgi.input"].read(), read_headers(environ)
    request_id = ("x-amzn-RequestId", str(uuid.uuid4()))
    if operation == "invocations":
        result = invoke(account, live.endpoint, body, headers)
        returned = [
            (_RETURNED[key], value) for key, value in result.headers.items() if key in _RETURNED
        ]
        variant = ("x-Amzn-Invoked-Production-Variant", result.variant)
        start_response(
            "200 OK", [*returned, variant, request_id, ("Content-Length", str(len(result.body)))]
        )
        return [result.body]
    if operation == "async-invocations":
        receipt = _take(live.endpoint, headers)
        document = json.dumps({"InferenceId": receipt["InferenceId"]}).encode()
        places = [
            (f"X-Amzn-SageMaker-{key}", receipt[key])
            for key in ("OutputLocation", "FailureLocation")
        ]
        length = ("Content-Length", str(len(document)))
        start_response(
            "202 Accepted", [("Content-Type", "application/json"), length, *places, request_id]
        )
        return [document]
    status, returned_headers, parts = _open_stream(account, live.endpoint, body, headers)
    if status >= 400:
        original = b"".join(parts).decode("utf-8", "replace")[:2048]
        raise model_error(account, name, status, original)
    content_type = returned_headers.get("content-type", "application/octet-stream")
    start_response(
        "200 OK",
        [
            ("Content-Type", event_stream.CONTENT_TYPE),
            ("X-Amzn-SageMaker-Content-Type", content_type),
            ("x-Amzn-Invoked-Production-Variant", _default_variant(live.endpoint, headers)),
            request_id,
        ],
    )
    return _encode_parts(parts)


def _open_stream(
    account: Account, endpoint: Endpoint, body: bytes, headers: Mapping[str, str]
) -> tuple[int, dict[str, str], Iterator[bytes]]:
    started = time.perf_counter()
    variant = _default_variant(endpoint, headers)
    try:
        status, returned, parts = endpoint.invoke_stream(body, headers)
    except RequestError as error:
        raise _refuse(account, endpoint.name, error) from error
    passed_s = time.perf_counter() - started
    meter_of(account, endpoint.name).count(variant, status, passed_s, passed_s)
    return status, returned, parts


def _encode_parts(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Wrap each part as an event; a stream that breaks ends with the service's own error event."""
    try:
        for part in parts:
            yield event_stream.encode_event("PayloadPart", part)
    except RequestError as error:
        code = str(error).partition(":")[0]
        yield event_stream.encode_exception(
            "ModelStreamError", {"Message": str(error), "ErrorCode": code}
        )


def _take(endpoint: Endpoint, headers: Mapping[str, str]) -> dict[str, str]:
    location = headers.get("x-amzn-sagemaker-inputlocation", "")
    if not location:
        raise AwsError(
            "ValidationError", "InputLocation is required; inline bodies are not emulated"
        )
    identity = headers.get("x-amzn-sagemaker-inference-id")
    spelled = {"X-Amzn-SageMaker-Inference-Id": identity} if identity else {}
    try:
        return endpoint.invoke_async(location, {**headers, **spelled})
    except RequestError as error:
        raise AwsError("ValidationError", str(error), error.status) from error


def read_headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Give the headers of a WSGI request that may concern a container, in lower case."""
    headers = {
        key[5:].replace("_", "-").lower(): str(value)
        for key, value in environ.items()
        if key.startswith("HTTP_X_AMZN_SAGEMAKER")
    }
    for key, name in (("CONTENT_TYPE", "content-type"), ("HTTP_ACCEPT", "accept")):
        if environ.get(key):
            headers[name] = environ[key]
        # Streams and asynchronous requests carry the container's own headers beside those of the
        # API.
        if (inner := headers.pop(f"x-amzn-sagemaker-{name}", None)) is not None:
            headers[name] = inner
    return headers


def invoke(account: Account, endpoint: Endpoint, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Pass a request to an endpoint and count it.

    Raises: AwsError as the service words the container's refusal or failure.
    """
    started = time.perf_counter()
    meter = meter_of(account, endpoint.name)
    try:
        result = endpoint.invoke(body, headers)
    except RequestError as error:
        passed_s = time.perf_counter() - started
        if error.status == 424:
            meter.count(_default_variant(endpoint, headers), 0, passed_s, passed_s)
        raise _refuse(account, endpoint.name, error) from error
    meter.count(result.variant, result.status, result.first_byte_s, time.perf_counter() - started)
    if result.caller_status != 200:
        document = result.model_error(endpoint.name)
        raise model_error(
            account, endpoint.name, result.status, document["OriginalMessage"], document["Message"]
        )
    return result


def _refuse(account: Account, name: str, error: RequestError) -> AwsError:
    if error.status == 424:
        return model_error(account, name, 0, str(error))
    return AwsError(
        "ServiceUnavailable" if error.status == 503 else "ValidationError", str(error), error.status
    )


def _default_variant(endpoint: Endpoint, headers: Mapping[str, str]) -> str:
    target = headers.get("x-amzn-sagemaker-target-variant")
    return target or str(endpoint.describe()["ProductionVariants"][0]["VariantName"])


def model_error(
    account: Account, name: str, status: int, original: str, message: str = ""
) -> AwsError:
    """Give the ModelError of a container's failure; `status` 0 if it gave no answer (RQ-6)."""
    region, number = account.region, account.number
    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group={LOG_GROUP}{name}"
    return AwsError(
        "ModelError",
        f"{message or f'Received server error ({status}) from the container: {original}'} "
        f"See {console} in account {number} for more information.",
        424,
        ErrorCode="CLIENT_ERROR_FROM_MODEL" if 400 <= status < 500 else "SERVER_ERROR_FROM_MODEL",
        LogStreamArn=f"arn:aws:logs:{region}:{number}:log-group:{LOG_GROUP}{name}",
        OriginalMessage=original,
        OriginalStatusCode=status,
    )
