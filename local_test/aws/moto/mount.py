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
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import jinja2

from local_test.aws.account.kinds import BACKEND, BUCKET, OBJECT
from local_test.aws.account.settings import ROLE, Settings
from local_test.aws.account.store import Store
from local_test.aws.moto import alarms, metric_queries, percentiles, query_model
from local_test.aws.moto.notices.notices import Notices
from local_test.aws.moto.roles import Roles
from local_test.aws.protocol.messages import AwsError, read_body
from local_test.data import disk
from local_test.data.disk import DiskError

if TYPE_CHECKING:  # they import moto, which takes a second
    from local_test.aws.moto.object_files import ObjectFiles
    from local_test.aws.moto.snapshots.snapshots import Snapshots

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


@dataclass(frozen=True)
class _Moto:
    """What this process has of moto once it is imported."""

    application: Any
    """moto's own WSGI application."""
    objects: "ObjectFiles"
    snapshots: "Snapshots"
    cloudwatch: Any


class Services:
    """moto's server for one account."""

    def __init__(self, store: Store, directory: Path, settings: Settings) -> None:
        """Import moto, which takes a second, if it had state; else when something first needs it.

        `directory` is where the objects of S3 are kept.
        """
        # A web page from elsewhere must not read this machine's data; moto reads it when imported.
        os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"
        self._store = store
        self._directory = directory
        self._settings = settings
        self._account = settings.account
        self.alarms = alarms.Alarms(
            lambda: self._moto.cloudwatch,
            record=lambda: self._moto.snapshots.keep(self._moto.cloudwatch),
        )
        self.notices = Notices(settings.account, settings.region, self._keeping)
        self._roles = Roles(self._account)
        self._lock = threading.Lock()
        self._made: _Moto | None = None
        if any((store.list(BACKEND), store.list(BUCKET), store.list(OBJECT))):
            self._made = self._make()

    @property
    def _moto(self) -> _Moto:
        with self._lock:
            if self._made is None:
                known = len(self._store.warnings)
                self._made = self._make()
                for warning in self._store.warnings[known:]:  # the start has printed the others
                    print(f"warning: {warning}", file=sys.stderr, flush=True)
            return self._made

    def _keeping(self) -> contextlib.AbstractContextManager[None]:
        return self._moto.snapshots.keeping()

    def _make(self) -> _Moto:
        """Import moto, restore its state, and make what always exists."""
        from moto import settings  # noqa: PLC0415 - takes 1 s
        from moto.cloudwatch.models import cloudwatch_backends  # noqa: PLC0415 - as above
        from moto.moto_server import werkzeug_app  # noqa: PLC0415 - as above

        from local_test.aws.moto.object_files import ObjectFiles  # noqa: PLC0415 - as above
        from local_test.aws.moto.snapshots.snapshots import Snapshots  # noqa: PLC0415 - as above

        # No name of this server has a bucket in it, as host.containers.internal seems to have.
        settings.S3_IGNORE_SUBDOMAIN_BUCKETNAME = "true"
        region = self._settings.region
        moto = _Moto(
            application=werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app),
            objects=ObjectFiles(self._ask, self._store, self._directory, self._account, region),
            snapshots=Snapshots(self._store, self._account),
            cloudwatch=cloudwatch_backends[self._account][region],
        )
        alarms.install()
        percentiles.install()
        metric_queries.install()
        with contextlib.suppress(DiskError), moto.snapshots.keeping():
            self._roles.make(ROLE)
        moto.objects.make_bucket(self._settings.default_bucket)
        return moto

    def __call__(
        self, service: str, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request. Raises: AwsError, DiskError, NotImplementedError."""
        moto = self._moto
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
        application = moto.objects if service == "s3" else self._ask
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

        with self._keeping():
            body: Iterable[bytes] = application(environ, collect)
        for arguments in answers:
            start(*arguments)
        return body

    def _ask(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Let moto answer.

        Raises: AwsError; NotImplementedError if moto fails, as on requests that it cannot answer.
        """
        try:
            answer: Iterable[bytes] = self._moto.application(environ, start)
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

    def find_secret(self, access_key: str) -> str | None:
        """Return the secret of a key that IAM or STS issued, or None if they did not."""
        if self._made is None:
            return None
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
        if self._made is None:
            return None
        from moto.awslambda.exceptions import UnknownFunctionException  # noqa: PLC0415 - takes 1 s
        from moto.awslambda.models import lambda_backends  # noqa: PLC0415 - takes 1 s

        try:
            found = lambda_backends[self._account][self._settings.region].get_function(arn)
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
        self._moto.cloudwatch.put_metric_data(namespace, converted)


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
