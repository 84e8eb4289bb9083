"""The command line in this process, with an account behind it: boto3 finds the local AWS."""

from __future__ import annotations

import functools
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.retries.quota
import botocore.retries.standard
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from local_test.cli import app, job_commands
from local_test.cli.remote import submission, tune_command
from local_test.remote import access, remote_endpoints, remote_jobs
from tests.contract.aws.client import LocalAws
from tests.contract.aws.simulator import Need, find_needs, permits, tag_context

Fault = Callable[[Any], AWSResponse | None]


def answer(status: int, code: str, message: str = "it says why") -> Fault:
    """Return a fault: an error answer of the service."""

    def send(request: Any) -> AWSResponse:
        raw = io.BytesIO()
        response = AWSResponse(request.url, status, {"x-amzn-ErrorType": code}, raw)
        body = json.dumps({"__type": code, "message": message})
        if request.url.partition("//")[2].partition("/")[2] or "Action=" in str(request.body):
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            if "Action=" in str(request.body):
                body = f"<ErrorResponse>{body}</ErrorResponse>"
        response._content = body.encode()  # noqa: SLF001 - the response has no other way in
        return response

    return send


_watching: list[Remote] = []
"""The one whose test runs; clients keep the handlers that their session had."""


def reply(document: dict[str, Any] | None = None) -> Fault:
    """Return what answers a request in the service's place; without a document, with no body."""

    def send(request: Any) -> AWSResponse:
        response = AWSResponse(request.url, 200, {}, io.BytesIO())
        body = b"" if document is None else json.dumps(document).encode()
        response._content = body  # noqa: SLF001 - as above
        return response

    return send


@functools.cache
def _make_session(url: str) -> Any:
    """Return one session for all tests of a local AWS: its clients take 0.2 s each."""
    del url
    session = boto3.Session(region_name="us-east-1")
    session.events.register("before-send", _see)
    return session


@functools.cache
def _make_client(url: str, service: str) -> Any:
    return _make_session(url).client(service)


def _see(**event: Any) -> AWSResponse | None:
    return _watching[-1].see(**event)


@dataclass
class Remote:
    """Runs commands, records what is sent, and injects faults."""

    aws: LocalAws
    jobs: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    sent: dict[str, list[Any]] = field(default_factory=dict)
    """The bodies of the requests, by operation."""
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    """What happens to the next requests, by operation; after the last one, nothing."""
    policy: dict[str, Any] | None = None
    """What is permitted; None permits everything."""
    needs: list[Need] = field(default_factory=list)
    """The actions and resources that were asked for while there was a policy."""

    def __post_init__(self) -> None:
        """Point boto3 at the local AWS, and let it retry at once."""
        for name, value in {
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.aws.key.access_key,
            "AWS_SECRET_ACCESS_KEY": self.aws.key.secret_key,
        }.items():
            self.monkeypatch.setenv(name, value)
        self.monkeypatch.delenv("AWS_PROFILE", raising=False)
        self.monkeypatch.setattr(
            botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0
        )
        # A process has a budget of retries, and a test is many processes.
        self.monkeypatch.setattr(botocore.retries.quota.RetryQuota, "acquire", lambda *_: True)
        for name in ("_FIRST_POLL_S", "_POLL_S"):
            self.monkeypatch.setattr(remote_jobs, name, 0.05)
            self.monkeypatch.setattr(remote_endpoints, name, 0.05)
        self.monkeypatch.setattr(remote_endpoints, "_WATCH_S", 0.05)
        for module in (submission, job_commands, tune_command):
            self.monkeypatch.setattr(module, "JOBS", self.jobs)

        session = _make_session(self.aws.url)
        _watching[:] = [self]
        find = access.find_account

        def find_it(profile: str | None, region: str | None) -> Any:
            return find(profile, region, lambda **_: session)

        self.monkeypatch.setattr(access, "find_account", find_it)

    def see(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        """Record a request; return a fault's answer, or None to send it."""
        _, service, operation = event_name.split(".")
        self.sent.setdefault(operation, []).append(request.body)
        if self.policy is not None:
            needs = [
                need._replace(context={**need.context, **self._find_tags(need)})
                for need in find_needs(service, operation, request)
            ]
            self.needs += needs
            if not all(permits(self.policy, need) for need in needs):
                return answer(403, "AccessDenied", "no policy allows it")(request)
        waiting = self.faults.get(operation)
        return waiting.pop(0)(request) if waiting else None

    def _find_tags(self, need: Need) -> dict[str, str]:
        """Return the context of the tags that a resource has before an action changes it."""
        service, action = need.action.split(":")
        if service not in ("ecr", "sagemaker") or action.startswith(("Create", "List", "Get")):
            return {}
        try:
            if service == "ecr":
                answer = self.aws.client("ecr").list_tags_for_resource(resourceArn=need.resource)
                return tag_context("ResourceTag", answer["tags"])
            answer = self.aws.sagemaker.list_tags(ResourceArn=need.resource)
            return tag_context("ResourceTag", answer["Tags"])
        except ClientError:  # it does not exist yet, or any more
            return {}

    def make_client(self, service: str) -> Any:
        """Return a client of the account that the commands use."""
        return _make_client(self.aws.url, service)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command; return exit code, standard output and standard error."""
        self.sent.clear()
        self.monkeypatch.setattr(sys, "argv", ["byo", *arguments])
        code = app.main()
        out, err = self.capsys.readouterr()
        return code, out, err

    def run_well(self, *arguments: str) -> str:
        """Run a command that must succeed; return its standard output."""
        code, out, err = self.run(*arguments)
        assert code == 0, err
        return out
