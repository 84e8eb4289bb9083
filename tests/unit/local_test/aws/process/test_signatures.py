"""Signatures that botocore makes are accepted, and any change of the request is not."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from botocore.auth import (
    HmacV1Auth,
    HmacV1QueryAuth,
    S3SigV4Auth,
    S3SigV4QueryAuth,
    SigV4Auth,
    SigV4QueryAuth,
)
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_test.aws.process import claims, signatures
from local_test.aws.protocol.messages import AwsError

KEY = Credentials("AKID", "secret/+of=the test")
ORIGIN = "http://127.0.0.1:8000"
SIGNERS = {
    "version 4": SigV4Auth(KEY, "sagemaker", "us-east-1"),
    "version 4, presigned": SigV4QueryAuth(KEY, "sts", "us-east-1", expires=60),
    "S3": S3SigV4Auth(KEY, "s3", "eu-west-1"),
    "S3, presigned": S3SigV4QueryAuth(KEY, "s3", "eu-west-1", expires=60),
    "version 2": HmacV1Auth(KEY),
    "version 2, presigned": HmacV1QueryAuth(KEY, expires=60),
}
PATHS = ["/", "/bucket/a%20key/%C3%BC%2B.txt", "/bucket/a/../b//c", "/endpoints/e/invocations"]


def sign(
    signer: Any, path: str, body: bytes = b"", query: str = "", **headers: str
) -> dict[str, Any]:
    """Return the WSGI request that botocore signs."""
    method = "PUT" if body else "GET"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = ORIGIN + path + (f"?{query}" if query else "")
    request = AWSRequest(method, url, headers=named, data=body, auth_path=path)
    signer.add_auth(request)
    address = request.url.removeprefix(ORIGIN)
    sent, _, query = address.partition("?")
    found = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()
    }
    if "HTTP_CONTENT_TYPE" in found:
        found["CONTENT_TYPE"] = found.pop("HTTP_CONTENT_TYPE")
    return {
        "REQUEST_METHOD": method,
        "REQUEST_URI": address,
        "PATH_INFO": unquote_to_bytes(sent).decode("latin-1"),
        "QUERY_STRING": query,
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_ACCEPT_ENCODING": "identity",
        "wsgi.input": io.BytesIO(body),
        **found,
    }


def check(environ: dict[str, Any], secret: str | None = KEY.secret_key) -> str | None:
    """Return the code of the refusal."""
    claim = claims.read(environ)
    assert claim is not None
    try:
        signatures.check(environ, claim, secret)
    except AwsError as error:
        return error.code
    return None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", SIGNERS)
def test_what_botocore_signs_is_accepted_and_nothing_else(name: str, path: str) -> None:
    headers = {"Content_Type": "text/csv"} if "presigned" not in name else {}
    query = "list-type=2&prefix=a%2Fb%20c&delete&empty="
    body = b"1,2" if "4, presigned" not in name and "S3, presigned" not in name else b""
    environ = sign(SIGNERS[name], path, body, query, **headers)

    assert check(environ) is None
    assert environ["wsgi.input"].read() == body
    environ["wsgi.input"].seek(0)
    refusals = ("SignatureDoesNotMatch", "InvalidSignatureException")
    assert check(environ, "other") in refusals
    assert check(environ, None) in (
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    )
    assert check({**environ, "REQUEST_METHOD": "DELETE"}) in refusals
    assert check({**environ, "REQUEST_URI": "/other"}) in refusals


@pytest.mark.parametrize("name", ["version 4", "version 4, presigned", "S3"])
def test_another_body_is_refused(name: str) -> None:
    environ = sign(SIGNERS[name], "/bucket/key", b"" if "presigned" in name else b"1,2")
    assert check({**environ, "wsgi.input": io.BytesIO(b"1,3")}) is not None


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("UNSIGNED-PAYLOAD", None),
        ("", "InvalidRequest"),
        ("0" * 64, "XAmzContentSHA256Mismatch"),
        ("any word", "InvalidRequest"),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "NotImplemented"),
    ],
)
def test_a_body_that_is_not_hashed_is_accepted_as_s3_does(word: str, code: str | None) -> None:
    class Signer(S3SigV4Auth):  # type: ignore[misc] # botocore has no types
        def payload(self, _: AWSRequest) -> str:
            return word or "-"

    environ = sign(Signer(KEY, "s3", "us-east-1"), "/bucket/key", b"hello")
    assert check(environ) == code


@pytest.mark.parametrize("service", ["sagemaker", "iam"])
def test_other_services_hash_every_body(service: str) -> None:
    class Signer(SigV4Auth):  # type: ignore[misc] # botocore has no types
        def payload(self, _: AWSRequest) -> str:
            return "UNSIGNED-PAYLOAD"

    word = {"X_Amz_Content_SHA256": "UNSIGNED-PAYLOAD"}
    environ = sign(Signer(KEY, service, "us-east-1"), "/", b"hello", **word)
    assert check(environ) == "InvalidRequest"


TOO_FAR = 15 * 60 + 5


@pytest.mark.parametrize("shift", [-TOO_FAR, TOO_FAR, -60, 60])
@pytest.mark.parametrize("name", ["version 4", "S3", "version 2"])
def test_a_clock_that_is_wrong_is_named(
    name: str, shift: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = sign(SIGNERS[name], "/bucket/key")
    moved = signatures.time.time() + shift
    monkeypatch.setattr(signatures.time, "time", lambda: moved)
    wanted = "InvalidSignatureException" if name == "version 4" else "RequestTimeTooSkewed"
    assert check(environ) == (wanted if abs(shift) == TOO_FAR else None)


@pytest.mark.parametrize("name", ["version 4, presigned", "S3, presigned"])
def test_an_address_is_not_valid_before_it_was_signed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = sign(SIGNERS[name], "/bucket/key")
    moved = signatures.time.time() - TOO_FAR
    monkeypatch.setattr(signatures.time, "time", lambda: moved)
    assert check(environ) == "AccessDenied"


@pytest.mark.parametrize("seconds", [0, 7 * 24 * 3600 + 1])
def test_an_address_is_valid_for_a_week_at_most(seconds: int) -> None:
    signer = S3SigV4QueryAuth(KEY, "s3", "eu-west-1", expires=seconds)
    assert check(sign(signer, "/bucket/key")) in (
        "AuthorizationQueryParametersError",
        "AccessDenied",
    )


def test_headers_that_decide_something_must_be_signed() -> None:
    environ = sign(SIGNERS["S3"], "/bucket/key", b"1")
    assert check({**environ, "HTTP_X_AMZ_ACL": "public-read"}) == "AccessDenied"
    presigned = sign(SIGNERS["S3, presigned"], "/bucket/key")
    assert check({**presigned, "HTTP_X_AMZ_COPY_SOURCE": "b/other"}) == "AccessDenied"
    environ["HTTP_AUTHORIZATION"] = environ["HTTP_AUTHORIZATION"].replace("=host;", "=")
    assert check(environ) == "AccessDenied"


@pytest.mark.parametrize("name", [name for name in SIGNERS if "presigned" in name])
def test_an_address_expires(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = sign(SIGNERS[name], "/bucket/key")
    assert check(environ) is None
    later = signatures.time.time() + 61
    monkeypatch.setattr(signatures.time, "time", lambda: later)
    assert check(environ) == "AccessDenied"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/other",
        "AWS4-HMAC-SHA256 " + "Credential=" * 10_000,
        "Bearer x",
    ],
)
def test_what_is_not_a_signature_is_none(authorization: str) -> None:
    environ = {"HTTP_AUTHORIZATION": authorization, "HTTP_X_AMZ_DATE": "20260101T000000Z"}
    assert claims.read(environ) is None


@pytest.mark.parametrize("end", ["9" * 20, "9" * 5000, "2020 00:00:00 +" + "9" * 20])
def test_a_date_beyond_the_calendar_is_no_date(end: str) -> None:
    found = claims.read({"HTTP_AUTHORIZATION": "AWS k:x", "HTTP_DATE": f"Mon, 01 Jan {end}"})
    assert found is not None
    assert found.signed_s == 0
