"""The local AWS as one HTTP server: finds the service of a request, and answers it.

Which service is meant stands in the credential scope of the signature, as it does for AWS. Every
request must be signed; with which key does not matter. Requests that carry no signature are the
console's.

Rules of this file: the one broad `except` of the request side is here; an error that is a bug goes
to the log with the request id that the client gets.
"""

from __future__ import annotations

import ipaddress
import re
import sys
import traceback
import uuid
from collections.abc import Callable, Iterable
from http.client import responses
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from container.errors import PlatformError, UserError
from local_test.aws.account import logs
from local_test.aws.account.account import Account
from local_test.aws.console import pages
from local_test.aws.moto.mount import Services
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, Reply
from local_test.aws.sagemaker import cloudwatch, operations, runtime
from local_test.requests import shapes

_CREDENTIAL = re.compile(r"[^/]+/\d{8}/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")
_JSON_SERVICES: Final = {
    "SageMaker": "sagemaker",
    "AnyScaleFrontendService": "application-autoscaling",
    "Logs_20140328": "logs",
}
_NOTES = "docs/local-aws.md lists what is implemented"


class Application:
    """The WSGI application."""

    def __init__(self, account: Account, services: Services) -> None:
        self.account = account
        self.services = services

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        service: str | None = ""
        try:
            _check_host(environ.get("HTTP_HOST", ""))
            service, region = _find_service(environ)
            return self._dispatch(service, region, environ, start_response)
        except AwsError as error:
            return _send(_refuse(error, environ, service), start_response)
        except NotImplementedError as error:
            refusal = AwsError(
                "NotImplemented", f"The local AWS does not emulate this: {error}", 501
            )
            return _send(_refuse(refusal, environ, service), start_response)
        except Exception:  # noqa: BLE001 - a bug of ours is one request's failure
            return _send(_refuse(_report_bug(environ), environ, service), start_response)

    def _dispatch(
        self,
        service: str | None,
        region: str,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        if service is None:
            return _send(pages.answer(self.account, environ), start_response)
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        own = _JSON_SERVICES.get(target.partition(".")[0])
        if own is not None and (own != "logs" or self._concerns_us(environ, target)):
            self._check_region(region)
            return _send(self._answer_json(own, target.partition(".")[2], environ), start_response)
        if service == "sagemaker" and environ.get("PATH_INFO") == "/BatchGetMetrics":
            return _send(
                cloudwatch.batch_get_metrics(self.account, _read_body(environ)), start_response
            )
        if service == "sagemaker":
            self._check_region(region)
            return runtime.api_of(self.account)(environ, start_response)
        return self.services(service, environ, start_response)

    def _answer_json(self, service: str, operation: str, environ: dict[str, Any]) -> Reply:
        model = shapes.service_model(service)
        if operation not in model.operation_names:
            raise AwsError(
                "UnknownOperationException", f"{service} has no operation {operation!r}", 404
            )
        body = _read_body(environ)
        if service == "logs":
            events = logs.OPERATIONS[operation](self.account.logs, logs.parse(operation, body))
            return messages.answer(service, operation, events)
        if operation not in operations.OPERATIONS:
            raise AwsError(
                "UnknownOperationException",
                f"The local AWS (python -m local_test up) does not emulate {operation}; {_NOTES}",
            )
        request = messages.parse(service, operation, body)
        try:
            result = operations.OPERATIONS[operation](self.account, request)
        except UserError as error:
            messages.reject(str(error))
        except PlatformError as error:
            raise AwsError("InternalFailure", str(error), 500) from error
        return messages.answer(service, operation, result)

    def _concerns_us(self, environ: dict[str, Any], target: str) -> bool:
        operation = target.partition(".")[2]
        if operation not in logs.OPERATIONS:
            return False
        body = _read_body(environ)
        return logs.concerns(operation, messages.load(body))

    def _check_region(self, region: str) -> None:
        if region != self.account.region:
            raise AwsError(
                "InvalidSignatureException",
                f"Credential should be scoped to a valid region, not '{region}'. "
                f"This local AWS is {self.account.region}.",
                403,
            )


def _find_service(environ: dict[str, Any]) -> tuple[str | None, str]:
    """Give service and region of the signature; None for a request of the console.

    Raises: AwsError for a request that must be signed and is not.
    """
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    match = _CREDENTIAL.search(authorization)
    if match is None:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        match = _CREDENTIAL.fullmatch(unquote(query.get("X-Amz-Credential", [""])[0]))
        if match is None and (authorization.startswith("AWS ") or "AWSAccessKeyId" in query):
            return "s3", ""  # the older signature, which S3 alone still takes
    if match is not None:
        return match.group(2), match.group(1)
    if pages.concerns(environ):
        return None, ""
    raise AwsError(
        "MissingAuthenticationTokenException",
        "Missing Authentication Token: sign the request, any key will do",
        403,
    )


def _check_host(host: str) -> None:
    """Refuse a name that is not this machine's: a web page could make it point here. An address points where it says.

    Raises: AwsError for it.
    """
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name != "localhost" and not _is_address(name):
        raise AwsError(
            "AccessDeniedException",
            f"the local AWS does not answer to the host name {name!r}; use 127.0.0.1",
            403,
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _read_body(environ: dict[str, Any]) -> bytes:
    stream = environ["wsgi.input"]
    body: bytes = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    stream.seek(0)  # the HTTP server holds bodies whole, so another application can read it again
    return body


def _send(reply: Reply, start_response: Callable[..., Any]) -> Iterable[bytes]:
    headers = {**reply.headers, "Content-Length": str(len(reply.body))}
    start_response(
        f"{reply.status} {responses.get(reply.status, 'Unknown')}", list(headers.items())
    )
    return [reply.body]


def _report_bug(environ: dict[str, Any]) -> AwsError:
    request_id = str(uuid.uuid4())
    print(
        f"request {request_id}: {environ['REQUEST_METHOD']} {environ.get('PATH_INFO')}",
        file=sys.stderr,
    )
    traceback.print_exc(file=sys.stderr)
    return AwsError(
        "InternalFailure",
        f"The local AWS failed; its log has the traceback of request {request_id}",
        500,
    )


def _refuse(error: AwsError, environ: dict[str, Any], service: str | None) -> Reply:
    """Word an error in the protocol of the service that was asked."""
    if "HTTP_X_AMZ_TARGET" in environ:
        return messages.refuse(error)
    if service in ("sagemaker", None):
        return messages.refuse(error, is_rest=True)
    return messages.refuse_as_xml(error, service or "s3")
