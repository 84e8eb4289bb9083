"""moto in this process: whose answers reach a client, and what is added to them."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest

from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.aws.moto.mount import Services
from local_test.aws.protocol.messages import AwsError
from tests.support import ROOT

ACCOUNT = "000000000002"


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setenv("MOTO_DISABLE_GLOBAL_CORS", "true")
    # Restored afterwards: other tests of this process use names of buckets as AWS does.
    monkeypatch.setattr("moto.settings.S3_IGNORE_SUBDOMAIN_BUCKETNAME", "")
    store = Store(tmp_path / "state.sqlite")
    yield Services(store, tmp_path / "objects", Settings(account=ACCOUNT))
    store.close()


def test_moto_is_imported_when_something_needs_it_or_when_it_had_state(tmp_path: Path) -> None:
    program = f"""
import pathlib, sys
from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.aws.moto.mount import Services
directory = pathlib.Path({str(tmp_path)!r})
services = Services(Store(directory / "state.sqlite"), directory / "objects", Settings())
services.alarms.evaluate()
services.find_secret("nobody's")
print("moto" in sys.modules)
services.publish_metrics("any", [])
print("moto" in sys.modules)
"""
    for expected in ("False\nTrue\n", "True\nTrue\n"):
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        )
        assert done.stdout == expected


def test_what_a_late_import_finds_is_printed(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects/orphan").touch()
    services.publish_metrics("any", [])
    services.publish_metrics("any", [])
    assert capsys.readouterr().err.count("warning: 1 file(s) of S3 objects that no record") == 1


def send(services: Services, service: str, body: bytes = b"", **changes: str) -> tuple[str, bytes]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_AUTHORIZATION": (
            f"AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/{service}/aws4_request, "
            "SignedHeaders=host, Signature=x"
        ),
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        **changes,
    }
    answers: list[str] = []
    parts = services(service, environ, lambda status, *_: answers.append(status))
    return answers[0], b"".join(parts)


def ask(services: Services, service: str, **form: str) -> tuple[str, bytes]:
    return send(services, service, urlencode(form).encode())


def test_a_role_may_do_everything(services: Services) -> None:
    actions = {
        "PolicySourceArn": "arn",
        "ActionNames.member.1": "s3:GetObject",
        "ActionNames.member.2": "a<b",
    }
    status, body = ask(services, "iam", Action="SimulatePrincipalPolicy", **actions)
    assert status == "200 OK"
    root = ET.fromstring(body)  # noqa: S314 - our own answer
    texts = [item.text for item in root.iter() if item.tag.endswith(("ActionName", "Decision"))]
    assert texts == ["s3:GetObject", "allowed", "a<b", "allowed"]


def test_moto_answers_for_its_account(services: Services) -> None:
    status, body = ask(services, "sts", Action="GetCallerIdentity", Version="2011-06-15")
    assert status == "200 OK"
    assert ACCOUNT.encode() in body


def test_published_metrics_are_cloudwatchs(services: Services) -> None:
    datum = {"MetricName": "loss", "Value": 1.5, "Timestamp": 1.7e9, "Dimensions": []}
    services.publish_metrics("mine", [datum])
    _, body = ask(services, "monitoring", Action="ListMetrics", Version="2010-08-01")
    assert b"<MetricName>loss</MetricName>" in body


def query_latency(services: Services, stat: str) -> tuple[str, bytes]:
    query = "MetricDataQueries.member.1"
    metric = f"{query}.MetricStat.Metric"
    return ask(
        services,
        "monitoring",
        Action="GetMetricData",
        Version="2010-08-01",
        StartTime="2026-01-01T00:00:00Z",
        EndTime="2026-01-01T01:00:00Z",
        **{
            f"{query}.Id": "m",
            f"{query}.MetricStat.Period": "3600",
            f"{query}.MetricStat.Stat": stat,
            f"{metric}.Namespace": "mine",
            f"{metric}.MetricName": "latency",
        },
    )


def test_percentiles_of_metrics_are_computed(services: Services) -> None:
    time_s = 1767225700.0
    for least, most, count in ((10.0, 10.2, 99), (50.0, 50.0, 1)):
        total = (least + most) / 2 * count
        statistic = {"Sum": total, "Minimum": least, "Maximum": most, "SampleCount": count}
        datum = {"MetricName": "latency", "Timestamp": time_s, "StatisticValues": statistic}
        services.publish_metrics("mine", [{**datum, "Dimensions": []}])
    for stat, value in (("p99", b"10.1"), ("p99.9", b"50.0"), ("Maximum", b"50.0")):
        status, body = query_latency(services, stat)
        assert status == "200 OK"
        assert b"<Values><member>%b" % value in b"".join(body.split()), stat


def test_a_percentile_that_cannot_be_known_is_refused(services: Services) -> None:
    statistic = {"Sum": 100, "Minimum": 1, "Maximum": 50, "SampleCount": 10}
    datum = {"MetricName": "latency", "Timestamp": 1767225700.0, "StatisticValues": statistic}
    services.publish_metrics("mine", [{**datum, "Dimensions": []}])
    with pytest.raises(AwsError, match="percentiles need values"):
        query_latency(services, "p99")
    with pytest.raises(AwsError, match="does not emulate the statistic 'IQM'"):
        query_latency(services, "IQM")


TRUST = '{"Version": "2012-10-17", "Statement": []}'


def test_a_role_that_is_named_exists_and_can_still_be_made(services: Services) -> None:
    status, body = ask(services, "iam", Action="GetRole", RoleName="named")
    assert status == "200 OK"
    assert b"sagemaker.amazonaws.com" in body
    made = {"Action": "CreateRole", "RoleName": "named", "AssumeRolePolicyDocument": TRUST}
    assert ask(services, "iam", **made)[0] == "200 OK"
    assert ask(services, "iam", **made)[0].startswith("409")
    assert b"sagemaker" not in ask(services, "iam", Action="GetRole", RoleName="named")[1]


def test_a_role_that_was_deleted_stays_deleted(services: Services) -> None:
    ask(services, "iam", Action="GetRole", RoleName="gone")
    assert ask(services, "iam", Action="DeleteRole", RoleName="gone")[0] == "200 OK"
    assert ask(services, "iam", Action="GetRole", RoleName="gone")[0].startswith("404")


def test_a_policy_of_aws_can_be_attached_to_any_role(services: Services) -> None:
    arn = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
    attach = {"Action": "AttachRolePolicy", "RoleName": "any"}
    assert ask(services, "iam", PolicyArn=arn, **attach)[0] == "200 OK"
    listed = ask(services, "iam", Action="ListAttachedRolePolicies", RoleName="any")[1]
    assert arn.encode() in listed
    wrong = ask(services, "iam", PolicyArn="arn:aws:iam::aws:policy/AmazonSageMaker", **attach)
    assert wrong[0].startswith("404")


def test_the_name_of_the_server_holds_no_bucket(services: Services) -> None:
    bucket = Settings(account=ACCOUNT).default_bucket
    status, body = send(
        services,
        "s3",
        REQUEST_METHOD="GET",
        PATH_INFO=f"/{bucket}",
        HTTP_HOST="host.containers.internal:8765",  # as containers of Podman call it
    )
    assert status == "200 OK"
    assert f"<Name>{bucket}</Name>".encode() in body
