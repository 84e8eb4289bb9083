"""The local AWS's HTTP server as a WSGI application: who is asked, and who is turned away."""

from __future__ import annotations

import datetime as dt
import io
import json
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.process import claims, http_server, signatures
from local_test.aws.process.http_server import Application

Ask = Callable[..., tuple[int, dict[str, str], bytes]]


NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)  # the clock stands still
TIME = NOW.strftime("%Y%m%dT%H%M%SZ")
DAY = TIME[:8]
OLD = f"{DAY}T000000Z"  # of the same day
SECRET = "of the test"  # noqa: S105 - of no use elsewhere


def sign(service: str, region: str = "us-east-1", key: str = "k") -> str:
    """Return an Authorization header, whose signature `ask` makes."""
    return (
        f"AWS4-HMAC-SHA256 Credential={key}/{DAY}/{region}/{service}/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=SIGN"
    )


class PlayedMoto:
    """Answers with the name of the service that was asked; has issued one key."""

    def __call__(self, service: str, _: dict[str, Any], start: Any) -> Iterable[bytes]:
        """Answer."""
        start("200 OK", [])
        return [service.encode()]

    def find_secret(self, access_key: str) -> str | None:
        """Find it."""
        return SECRET if access_key == "issued" else None


@pytest.fixture
def ask(account: Account, monkeypatch: pytest.MonkeyPatch) -> Ask:
    monkeypatch.setattr(signatures, "time", SimpleNamespace(time=NOW.timestamp))
    application = Application(account, PlayedMoto(), {"k": SECRET})  # type: ignore[arg-type]

    def send(
        path: str = "/", body: bytes = b"{}", method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        answers: list[tuple[str, list[tuple[str, str]]]] = []
        path, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "HTTP_HOST": "127.0.0.1:80",
            "CONTENT_TYPE": headers.pop("content_type", ""),
            **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
        }
        if "HTTP_AUTHORIZATION" in environ:
            environ.setdefault("HTTP_X_AMZ_DATE", TIME)
        claim = claims.read(environ)
        if claim is not None and claim.signature == "SIGN":
            made = signatures.sign(environ, claim, SECRET)
            for name in ("HTTP_AUTHORIZATION", "QUERY_STRING"):
                environ[name] = environ.get(name, "").replace("SIGN", made)
        parts = application(environ, lambda status, found: answers.append((status, found)))
        return int(answers[0][0].split()[0]), dict(answers[0][1]), b"".join(parts)

    return send


OLD_QUERY = "AWSAccessKeyId=k&Expires=9999999999&Signature=SIGN"


def test_a_signed_request_reaches_its_service(ask: Ask) -> None:
    headers = {"authorization": sign("sagemaker"), "x_amz_target": "SageMaker.ListModels"}
    status, _, body = ask(**headers)
    assert (status, json.loads(body)) == (200, {"Models": []})
    assert ask(authorization=sign("ecr"))[2] == b"ecr"


@pytest.mark.parametrize(
    "headers", [{"authorization": "AWS k:SIGN"}, {"authorization": sign("s3")}]
)
def test_old_and_new_signatures_reach_s3(ask: Ask, headers: dict[str, str]) -> None:
    assert ask("/bucket/key", method="PUT", **headers)[2] == b"s3"


def test_a_signature_in_the_address_reaches_s3(ask: Ask) -> None:
    credential = f"k%2F{DAY}%2Fus-east-1%2Fs3%2Faws4_request"
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={OLD}"
        "&X-Amz-SignedHeaders=host&X-Amz-Expires={}&X-Amz-Signature=SIGN"
    )
    assert ask(f"/bucket/key?{query.format(2 * 24 * 3600)}", method="GET")[2] == b"s3"
    assert b"Request has expired" in ask(f"/bucket/key?{query.format(1)}", method="GET")[2]
    assert ask(f"/bucket/key?{OLD_QUERY}", method="GET")[2] == b"s3"


def test_only_the_logs_of_sagemaker_are_ours(ask: Ask) -> None:
    headers = {"authorization": sign("logs"), "x_amz_target": "Logs_20140328.DescribeLogGroups"}
    assert ask(body=b'{"logGroupNamePrefix": "/mine"}', **headers)[2] == b"logs"
    status, _, body = ask(body=b'{"logGroupNamePrefix": "/aws/sagemaker/"}', **headers)
    assert (status, json.loads(body)) == (200, {"logGroups": []})


def test_an_operation_that_is_not_emulated_is_named(ask: Ask) -> None:
    headers = {"authorization": sign("sagemaker"), "x_amz_target": "SageMaker.CreateAutoMLJob"}
    status, _, body = ask(**headers)
    assert status == 400
    assert "does not emulate CreateAutoMLJob" in json.loads(body)["message"]
    headers["x_amz_target"] = "SageMaker.CreateNothing"
    assert ask(**headers)[0] == 404


def test_a_request_without_a_signature_is_for_the_console_or_nobody(ask: Ask) -> None:
    status, headers, _ = ask("/", method="GET")
    assert (status, headers["Location"]) == (302, "/console")
    status, _, body = ask("/endpoints/e/invocations")
    assert status == 403
    assert b"<Code>MissingAuthenticationTokenException</Code>" in body


def test_another_region_and_another_host_name_are_turned_away(ask: Ask) -> None:
    headers = {
        "authorization": sign("sagemaker", "eu-west-1"),
        "x_amz_target": "SageMaker.ListModels",
    }
    status, _, body = ask(**headers)
    assert status == 403
    assert "This local AWS is in us-east-1." in json.loads(body)["message"]
    assert ask(method="GET", host="evil.example:80")[0] == 403
    assert ask(method="GET", host="[::1]:80")[0] == 302
    assert ask(method="GET", host="localhost")[0] == 302


def test_a_bug_is_logged_under_the_id_that_the_client_gets(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        message = "a bug"
        raise ZeroDivisionError(message)

    monkeypatch.setattr(http_server.pages, "answer", fail)
    status, _, body = ask("/console/\nforged", method="GET")
    assert status == 500
    request_id = json.loads(body)["Message"].rpartition(" ")[2]
    log = capsys.readouterr().err
    assert f"request {request_id}: 'GET /console/\\nforged'\n" in log
    assert "ZeroDivisionError: a bug" in log


FOREIGN = {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}


@pytest.mark.parametrize(
    ("path", "headers", "error"),
    [
        ("/bucket/key", {"authorization": sign("s3")}, b"<Error><Code>AccessDenied</Code>"),
        ("/bucket?AWSAccessKeyId=k", {}, b"<Error><Code>AccessDenied</Code>"),
        ("/", {"authorization": sign("iam")}, b"<ErrorResponse><Error><Type>Sender</Type>"),
        (
            "/",
            {"authorization": sign("sagemaker"), "x_amz_target": "SageMaker.ListModels"},
            b'"__type": "AccessDeniedException"',
        ),
        ("/endpoints/e/invocations", {"authorization": sign("sagemaker")}, b'"Message"'),
        ("/console/invoke/e", {"x_local_console": "1"}, b'"Message"'),
        ("/moto-api/reset", {"authorization": sign("s3")}, b"<Error><Code>AccessDenied</Code>"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_page_of_another_site_is_refused_by_every_service(
    ask: Ask, path: str, headers: dict[str, str], error: bytes, method: str
) -> None:
    status, _, body = ask(path, method=method, **headers, **FOREIGN)
    assert status == 403
    assert error in body
    assert b"a web page of another site (Origin: https://evil.example)" in body


def test_a_link_leads_to_the_console_and_to_no_object(ask: Ask) -> None:
    link = {
        "sec_fetch_site": "cross-site",
        "sec_fetch_mode": "navigate",
        "sec_fetch_dest": "document",
    }
    assert ask("/console", method="GET", **link)[0] == 200
    assert ask("/bucket/key?AWSAccessKeyId=k", method="GET", **link)[0] == 403


def test_an_answer_runs_nothing_in_a_browser(ask: Ask) -> None:
    found = ask("/bucket/key", method="GET", authorization=sign("s3"))
    refused = ask("/bucket/key", method="GET")
    for _, headers, _ in (found, refused):
        assert headers["Content-Security-Policy"] == "sandbox"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    console = ask("/console", method="GET")[1]
    assert "default-src 'self'" in console["Content-Security-Policy"]
    assert console["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("query", ["", f"?{OLD_QUERY}"])
def test_the_upload_of_a_form_is_refused(ask: Ask, query: str) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\nk\r\n--x--\r\n'
    status, _, body = ask(f"/bucket{query}", form, content_type="multipart/form-data; boundary=x")
    assert status == 501
    assert b"does not emulate uploads by a browser's form" in body
    assert ask(f"/bucket?delete&{OLD_QUERY}")[2] == b"s3"


def test_a_long_authorization_costs_no_time(ask: Ask) -> None:
    started = time.perf_counter()
    for text in ("a", "Credential=", "/", "Credential=a/20260101/", "1/"):
        assert ask(authorization=text * (250_000 // len(text)))[0] == 403
    assert time.perf_counter() - started < 20  # quadratic work takes a minute


@pytest.mark.parametrize(
    ("service", "headers", "codes"),
    [
        ("s3", {}, [b"InvalidAccessKeyId", b"SignatureDoesNotMatch"]),
        ("iam", {}, [b"InvalidClientTokenId", b"SignatureDoesNotMatch"]),
        (
            "sagemaker",
            {"x_amz_target": "SageMaker.ListModels"},
            [b"UnrecognizedClientException", b"InvalidSignatureException"],
        ),
    ],
)
def test_a_wrong_key_is_refused_as_the_service_does(
    ask: Ask, service: str, headers: dict[str, str], codes: list[bytes]
) -> None:
    unknown = ask(authorization=sign(service, key="other"), **headers)
    wrong = ask(authorization=sign(service).replace("SIGN", "0" * 64), **headers)
    for (status, _, body), code in zip((unknown, wrong), codes, strict=True):
        assert status == 403
        assert code in body
        assert b"python -m local_test env" in body
    assert ask(authorization=sign(service, key="issued"), **headers)[0] == 200


def test_an_operation_without_effect_says_so(ask: Ask) -> None:
    target = "SageMaker.CreateNotebookInstance"
    instance = {
        "NotebookInstanceName": "n",
        "InstanceType": "ml.t2.medium",
        "RoleArn": "arn:aws:iam::000000000000:role/r",
    }
    body = json.dumps(instance).encode()
    headers = {"authorization": sign("sagemaker"), "x_amz_target": target}
    status, answered, _ = ask(body=body, **headers)
    assert (status, answered["X-Local-Test-Tier"]) == (200, "recorded")
    status, answered, content = ask(body=b"{}", **headers)
    assert (status, "notebookInstanceName" in content.decode()) == (400, True)
