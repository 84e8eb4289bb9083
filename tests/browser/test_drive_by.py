"""A web page of another site in a real browser, against the local AWS: it gets nothing done.

The page tries a form, navigation, fetch, and a name of its own that points to this machine.
"""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.chromium import CHROMIUM, Browser
from tests.contract.aws.client import LocalAws

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="the browser ring needs chromium on PATH")

EVIL = "evil.example"  # the browser resolves it to this machine, as an attacker's DNS server does
CREDENTIAL = "k/20260101/us-east-1/{}/aws4_request"
SIGNED = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260101T000000Z&X-Amz-Expires=9999999999"
    "&X-Amz-SignedHeaders=host&X-Amz-Signature=s&X-Amz-Credential=" + CREDENTIAL
)
PAGE = "<title>ran</title><script>document.title = 'ran in ' + location.origin</script>"


class Page(http.server.BaseHTTPRequestHandler):
    """The other site: one page, of which the tests make everything else."""

    def do_GET(self) -> None:
        """Answer every address alike."""
        body = b"<!doctype html><title>evil</title><body></body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{EVIL}:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("drive-by-aws")).running() as local:
        yield local


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    rules = f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"
    with Browser(tmp_path_factory.mktemp("profile"), rules) as found:
        yield found


@pytest.fixture
def visit(aws: LocalAws, browser: Browser, site: str) -> Iterator[Browser]:
    """Show the other site's page; afterwards, only the user's own object must be there."""
    aws.s3.put_object(
        Bucket=aws.bucket, Key="own.html", Body=PAGE.encode(), ContentType="text/html"
    )
    browser.open(site, 1280)
    yield browser
    listed = aws.s3.list_objects_v2(Bucket=aws.bucket)["Contents"]
    assert [item["Key"] for item in listed] == ["own.html"]
    assert aws.s3.get_object(Bucket=aws.bucket, Key="own.html")["Body"].read() == PAGE.encode()
    assert aws.sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    assert [user["UserName"] for user in aws.client("iam").list_users()["Users"]] == []


FORMS = {
    "upload": ("/{bucket}?AWSAccessKeyId=k", "multipart/form-data", {"key": "evil.html"}),
    "overwrite": ("/{bucket}?AWSAccessKeyId=k", "multipart/form-data", {"key": "own.html"}),
    "unsigned": ("/{bucket}", "multipart/form-data", {"key": "evil.html", "AWSAccessKeyId": "k"}),
    "delete": (
        "/{bucket}?delete&AWSAccessKeyId=k",
        "text/plain",
        {"<Delete><Object><Key>own.html</Key></Object><!--": "--></Delete>"},
    ),
    "query": (
        "/?" + SIGNED.format("iam"),
        "application/x-www-form-urlencoded",
        {"Action": "CreateUser", "UserName": "evil", "Version": "2010-05-08"},
    ),
    "invoke": ("/console/invoke/e", "text/plain", {"a": "b"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_refused(aws: LocalAws, visit: Browser, form: str) -> None:
    path, encoding, fields = FORMS[form]
    action = aws.url + path.replace("{bucket}", aws.bucket)
    script = """
        const [action, enctype, fields, page] = %s;
        const form = Object.assign(document.createElement("form"),
            { method: "POST", action, enctype });
        for (const [name, value] of Object.entries(fields))
            form.append(Object.assign(document.createElement("input"), { name, value }));
        if (enctype.startsWith("multipart")) {
            const file = Object.assign(document.createElement("input"),
                { type: "file", name: "file" });
            const chosen = new DataTransfer();
            chosen.items.add(new File([page], "a.html", { type: "text/html" }));
            file.files = chosen.files;
            form.append(file);
        }
        document.body.append(form);
        form.submit();"""
    visit.evaluate(script % json.dumps([action, encoding, fields, PAGE]))
    visit.wait(f"location.origin === '{aws.url}' && document.readyState === 'complete'")
    assert "web page of another site" in visit.evaluate("document.documentElement.textContent")


@pytest.mark.parametrize(
    "path",
    [
        "/{bucket}/own.html?AWSAccessKeyId=k&Signature=s&Expires=9999999999",
        "/?Action=CreateUser&UserName=evil&Version=2010-05-08&" + SIGNED.format("iam"),
    ],
)
def test_navigation_reads_and_does_nothing(aws: LocalAws, visit: Browser, path: str) -> None:
    address = aws.url + path.replace("{bucket}", aws.bucket)
    visit.evaluate(f"location = {json.dumps(address)}")
    visit.wait(f"location.origin === '{aws.url}' && document.readyState === 'complete'")
    assert "web page of another site" in visit.evaluate("document.documentElement.textContent")
    assert "ran" not in visit.evaluate("document.title")


def test_an_object_that_the_user_opens_cannot_run(aws: LocalAws, browser: Browser) -> None:
    aws.s3.put_object(
        Bucket=aws.bucket, Key="own.html", Body=PAGE.encode(), ContentType="text/html"
    )
    address = aws.client("s3").generate_presigned_url(
        "get_object", Params={"Bucket": aws.bucket, "Key": "own.html"}
    )
    browser.open(address, 1280)
    assert browser.evaluate("document.title") == "ran"
    assert browser.evaluate("origin") == "null"


@pytest.mark.parametrize("mode", ["cors", "no-cors"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path", ["/{bucket}/own.html?AWSAccessKeyId=k&Signature=s", "/{bucket}?delete&AWSAccessKeyId=k"]
)
def test_fetch_reads_and_does_nothing(
    aws: LocalAws, visit: Browser, path: str, method: str, mode: str
) -> None:
    address = aws.url + path.replace("{bucket}", aws.bucket)
    body = "<Delete><Object><Key>own.html</Key></Object></Delete>"
    request = {"method": method, "mode": mode, **({"body": body} if method == "POST" else {})}
    answer = visit.evaluate(
        f"fetch({json.dumps(address)}, {json.dumps(request)})"
        ".then((response) => response.text(), () => 'blocked')"
    )
    assert answer in ("blocked", "")


def test_a_signed_fetch_is_blocked_by_its_preflight(aws: LocalAws, visit: Browser) -> None:
    headers = {
        "X-Amz-Target": "SageMaker.CreateTrainingJob",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={CREDENTIAL.format('sagemaker')}",
    }
    request = {"method": "POST", "headers": headers, "body": "{}"}
    answer = visit.evaluate(
        f"fetch({json.dumps(aws.url)}, {json.dumps(request)}).then(() => 'sent', () => 'blocked')"
    )
    assert answer == "blocked"


def test_a_name_that_points_here_is_not_answered(aws: LocalAws, visit: Browser) -> None:
    port = urlsplit(aws.url).port
    visit.open(f"http://{EVIL}:{port}/console", 1280)
    assert "does not answer to the host name" in visit.evaluate("document.body.innerText")
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={CREDENTIAL.format('s3')}"}
    for method, path in (("GET", f"/{aws.bucket}/own.html"), ("PUT", f"/{aws.bucket}/evil.html")):
        request = {"method": method, "headers": signed}
        status = visit.evaluate(
            f"fetch('{path}', {json.dumps(request)}).then((response) => response.status)"
        )
        assert status == 403
