"""The SageMaker Runtime API: requests to endpoints.

Rules of this file: nothing between a request and its endpoint that costs: the path is read by hand, the limits are the
endpoint's own, and the model of the API is not consulted.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from container.errors import RequestError
from local_test.aws.account import Account
from local_test.aws.endpoints import LOG_GROUP, meter_of
from local_test.aws.protocol import AwsError
from local_test.aws.resources import ENDPOINT
from local_test.endpoint import Answer, Endpoint

_PATH: Final = re.compile(
    r"/endpoints/([A-Za-z0-9-]{1,63})/(invocations|invocations-response-stream|async-invocations)"
)
_RETURNED: Final = {  # RQ-5: as the API spells them
    "x-amzn-sagemaker-custom-attributes": "X-Amzn-SageMaker-Custom-Attributes",
    "x-amzn-sagemaker-new-session-id": "X-Amzn-SageMaker-New-Session-Id",
    "x-amzn-sagemaker-closed-session-id": "X-Amzn-SageMaker-Closed-Session-Id",
    "content-type": "Content-Type",
}


def answer(account: Account, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer one request of the runtime API.

    Raises: AwsError as the service names it.
    """
    match = _PATH.fullmatch(environ.get("PATH_INFO", ""))
    if match is None or environ["REQUEST_METHOD"] != "POST":
        raise AwsError(
            "UnknownOperationException", f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO')} does not exist", 404
        )
    name, operation = match.groups()
    endpoint = account.live.get((ENDPOINT.name, name))
    if endpoint is None:
        raise AwsError("ValidationError", f"Endpoint {name} of account {account.number} not found.")
    if operation == "invocations":
        body = environ["wsgi.input"].read()
        result = invoke(account, endpoint, body, read_headers(environ))
        headers = [(_RETURNED[key], value) for key, value in result.headers.items() if key in _RETURNED]
        headers += [
            ("x-Amzn-Invoked-Production-Variant", result.variant),
            ("x-amzn-RequestId", str(uuid.uuid4())),
            ("Content-Length", str(len(result.body))),
        ]
        start_response("200 OK", headers)
        return [result.body]
    raise AwsError("UnknownOperationException", f"{operation} is not emulated yet; docs/local-aws.md lists what is")


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
            raise model_error(account, endpoint.name, 0, str(error)) from error
        code = "ServiceUnavailable" if error.status == 503 else "ValidationError"
        raise AwsError(code, str(error), error.status) from error
    meter.count(result.variant, result.status, result.first_byte_s, time.perf_counter() - started)
    if result.caller_status != 200:
        document = result.model_error(endpoint.name)
        raise model_error(account, endpoint.name, result.status, document["OriginalMessage"], document["Message"])
    return result


def _default_variant(endpoint: Endpoint, headers: Mapping[str, str]) -> str:
    target = headers.get("x-amzn-sagemaker-target-variant")
    return target or str(endpoint.describe()["ProductionVariants"][0]["VariantName"])


def model_error(account: Account, name: str, status: int, original: str, message: str = "") -> AwsError:
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
