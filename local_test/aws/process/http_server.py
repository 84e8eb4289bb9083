"""The local AWS as one HTTP server: it finds the service of a request, and answers the request.

The credential scope of a signature names the service, and a key of this local AWS must have made
it. Requests without a signature are for the console. Pages of other sites are refused before
anything else happens, and answers that are not the console's run nothing in a browser.

Rules of this file: it has the only broad `except` of the request side; an error that is a bug goes
to the log with the request ID that the client gets.
"""

import json
import sys
import traceback
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from http.client import responses
from typing import Any, Final
from urllib.parse import parse_qs

from container.errors import PlatformError, UserError
from local_test import browser_gate
from local_test.aws.account import log_operations
from local_test.aws.account.account import Account
from local_test.aws.console import pages
from local_test.aws.moto.mount import Services
from local_test.aws.process import claims, operations
from local_test.aws.process.claims import Claim
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, Reply
from local_test.aws.sagemaker import runtime
from local_test.aws.sagemaker.metadata import run_metrics
from local_test.data import disk
from local_test.data.disk import DiskError
from local_test.requests import shapes

_JSON_SERVICES: Final = {
    "SageMaker": "sagemaker",
    "AnyScaleFrontendService": "application-autoscaling",
    "Logs_20140328": "logs",
}
_HARMLESS: Final = [  # keeps a browser from running an answer, or lending it to another site
    ("Content-Security-Policy", "sandbox"),  # an object that is a page gets an origin of its own
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_RECORDED: Final = [("X-Local-Test-Tier", "recorded")]  # an operation that has no effect here
_NOTES = "docs/local-sagemaker-operations.md lists those that it does"


class Application:
    """The WSGI application."""

    def __init__(
        self,
        account: Account,
        services: Services,
        keys: Mapping[str, str],
        addresses: Collection[str] = (),
    ) -> None:
        """Take the secrets by access key, and the addresses at which containers reach us."""
        self.account = account
        self.services = services
        self._keys = keys
        self._addresses = addresses

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        claim = claims.read(environ)
        service = _find_service(claim, environ)
        if service is not None:
            start_response = _adding(_HARMLESS, start_response)
        try:
            self._check_sender(service, environ)
            if service in ("", "s3"):
                _check_not_form(service, environ)
            if claim is not None:
                self._check_signature(claim, environ)
            return self._dispatch(service, claim.region if claim else "", environ, start_response)
        except AwsError as error:
            refusal = error
        except DiskError as error:
            refusal = AwsError("InsufficientStorage", str(error), 507)
        except NotImplementedError as error:
            message = f"The local AWS does not emulate this: {error}"
            refusal = AwsError("NotImplemented", message, 501)
        except Exception as error:  # noqa: BLE001 - a bug of ours fails one request, not the server
            full = disk.explain(error, "the directory of temporary files")
            if full is None:
                refusal = _report_bug(environ)
            else:
                refusal = AwsError("InsufficientStorage", str(full), 507)
        return _send(_refuse(refusal, environ, service), start_response)

    def _check_sender(self, service: str | None, environ: dict[str, Any]) -> None:
        """Refuse a request that a web page of another site may have sent. Raises: AwsError."""
        fault = browser_gate.find_fault(
            environ, addresses=self._addresses, is_linkable=service is None
        )
        if fault is not None:
            code = "AccessDenied" if service == "s3" else "AccessDeniedException"
            raise AwsError(code, fault, 403)

    def _check_signature(self, claim: Claim, environ: dict[str, Any]) -> None:
        """Refuse a request that no key of ours signed. Raises: AwsError."""
        from local_test.aws.process import signatures  # noqa: PLC0415 - botocore takes 0.2 s

        secret = self._keys.get(claim.access_key) or self.services.find_secret(claim.access_key)
        signatures.check(environ, claim, secret)

    def _dispatch(
        self,
        service: str | None,
        region: str,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        if service is None:
            return _send(pages.answer(self.account, environ), start_response)
        if not service:
            message = f"Missing Authentication Token: sign the request; {claims.HINT}"
            raise AwsError("MissingAuthenticationTokenException", message, 403)
        prefix, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        own = _JSON_SERVICES.get(prefix)
        if own == "logs" and not _concerns_sagemaker(operation, environ):
            own = None
        if own is not None:
            self._check_region(region)
            return self._operate(own, operation, environ, start_response)
        if service != "sagemaker":
            if "HTTP_X_AMZ_TARGET" in environ:
                messages.load(messages.read_body(environ))  # moto fails on what is not JSON
            return self.services(service, environ, start_response)
        self._check_region(region)
        body = messages.read_body(environ)  # refuses what no endpoint takes
        operation = environ.get("PATH_INFO", "").removeprefix("/")
        if operation in run_metrics.OPERATIONS:
            return _send(_answer_metrics(self.account, operation, body), start_response)
        return runtime.api_of(self.account)(environ, start_response)

    def _operate(
        self,
        service: str,
        operation: str,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        """Answer an operation of our own, or let moto record one that has no effect here."""
        if service == "sagemaker" and operation in operations.RECORDED_BY_MOTO:
            messages.parse(service, operation, messages.read_body(environ))
            return self.services(service, environ, _adding(_RECORDED, start_response))
        if service == "sagemaker" and operation in operations.RECORDED_HERE:
            start_response = _adding(_RECORDED, start_response)
        return _send(self._answer_json(service, operation, environ), start_response)

    def _answer_json(self, service: str, operation: str, environ: dict[str, Any]) -> Reply:
        if operation not in shapes.service_model(service).operation_names:
            message = f"{service} has no operation {operation!r}"
            raise AwsError("UnknownOperationException", message, 404)
        body = messages.read_body(environ)
        if service == "logs":
            request = messages.parse(service, operation, body)
            answer = log_operations.OPERATIONS[operation](self.account.logs, request)
            return messages.answer(service, operation, answer)
        if operation not in operations.OPERATIONS:
            message = f"The local AWS does not emulate {operation}; {_NOTES}"
            raise AwsError("UnknownOperationException", message)
        request = messages.parse(service, operation, body)
        try:
            result = operations.OPERATIONS[operation](self.account, request)
        except UserError as error:
            messages.reject(str(error))
        except DiskError:
            raise
        except PlatformError as error:
            raise AwsError("InternalFailure", str(error), 500) from error
        return messages.answer(service, operation, result)

    def _check_region(self, region: str) -> None:
        if region != self.account.region:
            message = (
                f"Credential should be scoped to a valid region, not '{region}'. "
                f"This local AWS is in {self.account.region}."
            )
            raise AwsError("InvalidSignatureException", message, 403)


def _adding(
    added: Iterable[tuple[str, str]], start_response: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a `start_response` that adds headers."""

    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        return start_response(status, [*headers, *added], *rest)

    return start


def _concerns_sagemaker(operation: str, environ: dict[str, Any]) -> bool:
    """Return whether a request of the Logs API is about SageMaker's groups; moto has the others."""
    if operation not in log_operations.OPERATIONS:
        return False
    return log_operations.concerns(operation, messages.load(messages.read_body(environ)))


def _find_service(claim: Claim | None, environ: dict[str, Any]) -> str | None:
    """Return the service of a signature.

    It is None for the console, and empty for a request that must be signed and is not.
    """
    if claim is not None:
        return claim.service
    return None if pages.concerns(environ) else ""


def _check_not_form(service: str, environ: dict[str, Any]) -> None:
    """Refuse the upload of an object by a form of a web page. Raises: AwsError."""
    bucket, _, key = environ.get("PATH_INFO", "").strip("/").partition("/")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if environ["REQUEST_METHOD"] != "POST" or not bucket or key or "delete" in query:
        return
    if service or environ.get("CONTENT_TYPE", "").lower().startswith("multipart/form-data"):
        message = (
            "The local AWS does not emulate uploads by a browser's form (POST policies); "
            "use PutObject or a presigned URL for it"
        )
        raise AwsError("NotImplemented", message, 501)


def _answer_metrics(account: Account, operation: str, body: bytes) -> Reply:
    """Answer an operation of `sagemaker-metrics`. Raises: AwsError."""
    request = messages.parse("sagemaker-metrics", operation, body)
    answer = run_metrics.OPERATIONS[operation](account, request)
    return Reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


def _send(reply: Reply, start_response: Callable[..., Any]) -> Iterable[bytes]:
    headers = {**reply.headers, "Content-Length": str(len(reply.body))}
    status = f"{reply.status} {responses.get(reply.status, 'Unknown')}"
    start_response(status, list(headers.items()))
    return [reply.body]


def _report_bug(environ: dict[str, Any]) -> AwsError:
    request_id = str(uuid.uuid4())
    request = f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO')}"
    print(f"request {request_id}: {request!r}", file=sys.stderr)  # a path may hold line ends
    traceback.print_exc(file=sys.stderr)
    message = f"The local AWS failed; its log has the traceback of request {request_id}"
    return AwsError("InternalFailure", message, 500)


def _refuse(error: AwsError, environ: dict[str, Any], service: str | None) -> Reply:
    """Write an error in the protocol of the service that was asked."""
    if "HTTP_X_AMZ_TARGET" in environ:
        return messages.refuse(error)
    if service in ("sagemaker", None):
        return messages.refuse(error, is_rest=True)
    return messages.refuse_as_xml(error, service or "s3")
