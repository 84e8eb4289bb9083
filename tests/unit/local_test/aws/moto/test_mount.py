"""moto in this process: whose answers reach a client, and what is added to them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest

from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.aws.moto.mount import Services

ACCOUNT = "000000000002"


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setenv("MOTO_DISABLE_GLOBAL_CORS", "true")
    store = Store(tmp_path / "state.sqlite")
    yield Services(store, tmp_path / "objects", Settings(account=ACCOUNT))
    store.close()


def ask(services: Services, service: str, **form: str) -> tuple[str, bytes]:
    body = urlencode(form).encode()
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
    }
    answers: list[str] = []
    parts = services(service, environ, lambda status, *_: answers.append(status))
    return answers[0], b"".join(parts)


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
