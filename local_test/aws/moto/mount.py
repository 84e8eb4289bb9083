"""The services around SageMaker: moto's server in this process, with S3's objects on disk.

moto answers for S3, ECR, STS, IAM, CloudWatch and Logs, and for whatever else it knows.

Rules of this file: only this folder imports moto.
"""

import base64
import contextlib
import datetime as dt
import functools
import itertools
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jinja2

from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.aws.moto import alarms, metric_queries, percentiles, query_model
from local_test.aws.moto.notices.notices import Notices
from local_test.aws.moto.roles import Roles
from local_test.aws.protocol.messages import AwsError, read_body
from local_test.data import disk
from local_test.data.disk import DiskError

_ALLOWED = jinja2.Template(
    Path(__file__).with_name("assets").joinpath("simulate_principal_policy.xml").read_text("utf-8"),
    autoescape=True,
    trim_blocks=True,
)
_ROLE = re.compile(rb'"Role": *"arn:aws:iam::[0-9]+:role/([\w+=,.@-]+)"')


_READS = ("Get", "List", "Describe", "BatchGet", "Query", "Scan", "Search", "Filter", "Simulate")


class _ExactName(str):
    """A header name that the HTTP server does not capitalize, as S3's metadata keeps its case."""

    __slots__ = ()

    def split(self, *_: Any) -> list[str]:
        return [self]

    def capitalize(self) -> str:
        return self


class Services:
    """moto's server for one account."""

    def __init__(self, store: Store, directory: Path, settings: Settings) -> None:
        """Import moto, which takes a second and reads its settings from the environment.

        `directory` is where the objects of S3 are kept.
        """
        # A web page from elsewhere must not read this machine's data.
        os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"
        from moto.cloudwatch.models import cloudwatch_backends  # noqa: PLC0415 - see above
        from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - see above
            DomainDispatcherApplication,
            create_backend_app,
        )

        from local_test.aws.moto.object_files import ObjectFiles  # noqa: PLC0415 - imports moto
        from local_test.aws.moto.snapshots.snapshots import Snapshots  # noqa: PLC0415 - as above

        account, region = settings.account, settings.region
        self._account = account
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._objects = ObjectFiles(self._ask, store, directory, account, region)
        self._snapshots = Snapshots(store, account)
        self._cloudwatch = cloudwatch_backends[account][region]
        keep = functools.partial(self._snapshots.keep, self._cloudwatch)
        self.alarms = alarms.Alarms(self._cloudwatch, record=keep)
        self.notices = Notices(account, region, self._snapshots.keeping)
        self._roles = Roles(account)
        alarms.install()
        percentiles.install()
        metric_queries.install()

    def __call__(
        self, service: str, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request. Raises: AwsError, DiskError, NotImplementedError."""
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = self._account
        form = _read_form(environ) if service in query_model.MODELS else {}
        if "Action" in form:
            query_model.check(service, form["Action"][0], form)
        if service == "iam":
            self._roles.prepare(form)
        if service == "iam" and form.get("Action") == ["SimulatePrincipalPolicy"]:
            return _allow_all(form, start_response)

        def start_exactly(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            exact = [(_ExactName(name), value) for name, value in headers]
            return start_response(status, exact, *rest)

        if service == "lambda" and (match := _ROLE.search(read_body(environ))):
            self._roles.prepare({"RoleName": [match[1].decode()]})
        application = self._objects if service == "s3" else self._ask
        changes = _changes_buckets(environ) if service == "s3" else not _reads(environ, form)
        if changes:
            application = functools.partial(self._keep, application)
        return application(environ, start_exactly)

    def _keep(
        self, application: Callable[..., Any], environ: dict[str, Any], start: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Let moto answer, and write what that has changed before the answer leaves.

        Raises: DiskError if it cannot be written, and was undone.
        """
        answers: list[tuple[Any, ...]] = []

        def collect(*arguments: Any) -> Callable[[bytes], None]:
            answers.append(arguments)
            return lambda data: None  # noqa: ARG005 - moto's applications return their bodies

        with self._snapshots.keeping():
            body: Iterable[bytes] = application(environ, collect)
        for arguments in answers:
            start(*arguments)
        return body

    def _ask(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Let moto answer.

        Raises: AwsError; NotImplementedError if moto fails, as on requests that it cannot answer.
        """
        try:
            answer: Iterable[bytes] = self._moto(environ, start)
        except (NotImplementedError, AwsError):
            raise
        except Exception as error:
            if disk.explain(error, "") is not None:
                raise
            traceback.print_exc(file=sys.stderr)
            if "continuation-token" in environ.get("QUERY_STRING", ""):  # it was made elsewhere
                message = "The continuation token provided is incorrect"
                raise AwsError("InvalidArgument", message) from error
            raise NotImplementedError(f"moto cannot answer this request ({error!r})") from error
        return answer

    def make_bucket(self, name: str) -> None:
        """Create a bucket, unless it exists."""
        self._objects.make_bucket(name)

    def make_role(self, name: str) -> None:
        """Create a role that SageMaker may assume, unless it exists; SDK v3 reads it first."""
        with contextlib.suppress(DiskError), self._snapshots.keeping():
            self._roles.make(name)

    def find_secret(self, access_key: str) -> str | None:
        """Return the secret of a key that IAM or STS issued, or None if they did not."""
        from moto.iam.models import iam_backends  # noqa: PLC0415 - takes long to import
        from moto.sts.models import sts_backends  # noqa: PLC0415 - takes long to import

        users = list(iam_backends[self._account]["aws"].users.values())  # others create some now
        issued = [key for user in users for key in user.access_keys if key.status == "Active"]
        roles = list(sts_backends[self._account]["aws"].assumed_roles)
        for key in (*issued, *roles):
            if key.access_key_id == access_key:
                return str(key.secret_access_key)
        return None

    def find_function(self, arn: str) -> dict[str, Any] | None:
        """Return a function of Lambda, or None."""
        from moto.awslambda.exceptions import UnknownFunctionException  # noqa: PLC0415 - slow
        from moto.awslambda.models import lambda_backends  # noqa: PLC0415 - takes a second

        try:
            found = lambda_backends[self._account][self._cloudwatch.region_name].get_function(arn)
        except UnknownFunctionException:
            return None
        return {
            "name": found.function_name,
            "handler": found.handler,
            "runtime": str(found.run_time),
            "code": base64.b64encode(found.code_bytes).decode(),
            "environment": dict(found.environment_vars),
            "timeout_s": int(found.timeout),
            "memory_mb": int(found.memory_size),
        }

    def publish_metrics(self, namespace: str, data: list[dict[str, Any]]) -> None:
        """Store CloudWatch data; times are seconds since the epoch."""
        converted = [{**datum, "Timestamp": _to_utc(datum["Timestamp"])} for datum in data]
        self._cloudwatch.put_metric_data(namespace, converted)


def _reads(environ: Mapping[str, Any], form: Mapping[str, list[str]]) -> bool:
    """Return whether a request changes nothing, as the name of its operation says."""
    place = environ.get("PATH_INFO", "").rpartition("/operation/")[2]
    name = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2] or form.get("Action", [place])[0]
    return name.startswith(_READS) or (environ["REQUEST_METHOD"] in ("GET", "HEAD") and not form)


def _changes_buckets(environ: Mapping[str, Any]) -> bool:
    """Return whether a request of S3 changes settings of a bucket, or tags."""
    key = environ.get("PATH_INFO", "").lstrip("/").partition("/")[2]
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    has_tags = "tagging" in query or "HTTP_X_AMZ_TAGGING" in environ
    concerns = has_tags or (not key and "delete" not in query)
    return concerns and environ["REQUEST_METHOD"] not in ("GET", "HEAD", "OPTIONS")


def _allow_all(
    form: Mapping[str, list[str]], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Answer SimulatePrincipalPolicy: every role may do everything."""
    listed = (form[name] for name in form if name.startswith("ActionNames.member."))
    actions = list(itertools.chain.from_iterable(listed))
    body = _ALLOWED.render(actions=actions).encode()
    start_response("200 OK", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
    return [body]


def _to_utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None)


def _read_form(environ: dict[str, Any]) -> dict[str, list[str]]:
    """Return the parameters of a request of the query protocol, in its body and its address."""
    body = read_body(environ).decode("utf-8", "replace")
    return {**parse_qs(environ.get("QUERY_STRING", "")), **parse_qs(body)}
