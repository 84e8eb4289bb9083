"""The services around SageMaker: moto's server, mounted in this process; its S3 keeps objects on disk.

Rules of this file: nothing else imports moto, but for `objects`.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from xml.sax import saxutils

from local_test.aws.account.account import Account

# What an S3 client needs, and what SageMaker's users touch. Others answer as well; they are moto's
# alone.
NAMES = ("s3", "ecr", "sts", "iam", "cloudwatch", "logs")


class _ExactName(str):
    """A header's name that the HTTP server leaves as it is: it capitalises words, and clients show S3's metadata so."""

    __slots__ = ()

    def split(self, *_: Any) -> list[str]:
        return [self]

    def capitalize(self) -> str:
        return self


class Services:
    """moto's server for one account."""

    def __init__(self, account: Account) -> None:
        """Take a second to import moto; its settings are read at that time."""
        os.environ["MOTO_DISABLE_GLOBAL_CORS"] = (
            "true"  # a web page from elsewhere must not read this machine's data
        )
        from moto.cloudwatch.models import cloudwatch_backends  # noqa: PLC0415
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415

        from local_test.aws.moto.object_files import ObjectFiles  # noqa: PLC0415

        self._account = account
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._objects = ObjectFiles(
            self._moto, account.store, account.directory / "objects", account.number, account.region
        )
        self._cloudwatch = cloudwatch_backends[account.number][account.region]

    def __call__(
        self, service: str, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = self._account.number
        if service == "iam" and (actions := _read_simulated_actions(environ)) is not None:
            body = _allow(actions)
            start_response(
                "200 OK", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))]
            )
            return [body]
        application = self._objects if service == "s3" else self._moto

        def start_exactly(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(
                status, [(_ExactName(name), value) for name, value in headers], *rest
            )

        return application(environ, start_exactly)

    def make_bucket(self, name: str) -> None:
        """Make a bucket unless it is there."""
        self._objects.make_bucket(name)

    def make_role(self, name: str) -> None:
        """Make a role that SageMaker may take; SDK v3 looks at it before it sends anything."""
        from moto.iam.models import iam_backends  # noqa: PLC0415

        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        iam_backends[self._account.number]["aws"].create_role(
            role_name=name,
            assume_role_policy_document=json.dumps(
                {"Version": "2012-10-17", "Statement": [statement]}
            ),
            path="/",
            permissions_boundary=None,
            description="Every job's role on this machine",
            tags=[],
            max_session_duration="3600",
        )

    def publish_metrics(self, namespace: str, data: list[dict[str, Any]]) -> None:
        """Hand CloudWatch data over; times are seconds since the epoch."""
        converted = [
            {
                **datum,
                "Timestamp": dt.datetime.fromtimestamp(datum["Timestamp"], dt.UTC).replace(
                    tzinfo=None
                ),
            }
            for datum in data
        ]
        self._cloudwatch.put_metric_data(namespace, converted)


def _read_simulated_actions(environ: dict[str, Any]) -> list[str] | None:
    """Read the actions of a SimulatePrincipalPolicy request, which moto does not know; None for any other request."""
    stream = environ["wsgi.input"]
    form = parse_qs(stream.read(int(environ.get("CONTENT_LENGTH") or 0)).decode("utf-8", "replace"))
    stream.seek(0)
    if form.get("Action") != ["SimulatePrincipalPolicy"]:
        return None
    return [
        value
        for name, values in form.items()
        if name.startswith("ActionNames.member.")
        for value in values
    ]


def _allow(actions: list[str]) -> bytes:
    """Answer that a role may do everything, as it is here: no role is looked at."""
    results = "".join(
        f"<member><EvalActionName>{saxutils.escape(action)}</EvalActionName><EvalResourceName>*</EvalResourceName>"
        "<EvalDecision>allowed</EvalDecision></member>"
        for action in actions
    )
    return (
        '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>"
        "</SimulatePrincipalPolicyResult><ResponseMetadata><RequestId>local</RequestId></ResponseMetadata>"
        "</SimulatePrincipalPolicyResponse>"
    ).encode()
