"""Requests of S3 that botocore's model forbids are refused before moto sees them."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from local_test.aws.moto import s3_model
from local_test.aws.moto.turns import Target, find_source
from local_test.aws.protocol.messages import AwsError

BUCKET, OBJECT = "/b", "/b/k"
WORDS = """accelerate acl cors encryption lifecycle logging notification object-lock
    ownershipControls publicAccessBlock replication requestPayment tagging versioning website
    inventory&id=i analytics&id=a metrics&id=m intelligent-tiering&id=t"""
DOCUMENTS = [
    ("POST", BUCKET, "delete"),
    ("POST", OBJECT, "uploadId=u"),
    ("POST", OBJECT, "restore"),
    ("POST", OBJECT, "select&select-type=2"),
    ("PUT", OBJECT, "tagging"),
    ("PUT", OBJECT, "acl"),
    ("PUT", OBJECT, "retention"),
    ("PUT", OBJECT, "legal-hold"),
    *(("PUT", BUCKET, word) for word in WORDS.split()),
]
MALFORMED = [
    b"",
    b"<",
    b"text",
    b"<a><b></a>",
    b"<a/>",
    b"\xff\xfe<a/>",
    b"<a>" * 100_000,
    b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
]


def check(
    method: str, path: str, query: str = "", body: bytes = b"", **headers: str
) -> dict[str, Any]:
    environ = {
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }
    bucket, _, key = path.lstrip("/").partition("/")
    source = find_source(headers.get("x_amz_copy_source", ""))
    found = parse_qs(query, keep_blank_values=True)
    s3_model.check(Target(method, bucket, key, found, source=source), environ)
    return environ


def refuse(*arguments: Any, **headers: Any) -> tuple[str, int]:
    with pytest.raises(AwsError) as caught:
        check(*arguments, **headers)
    return caught.value.code, caught.value.status


@pytest.mark.parametrize(("method", "path", "query"), DOCUMENTS)
def test_a_body_that_is_not_the_document_is_malformed(method: str, path: str, query: str) -> None:
    for body in MALFORMED:
        assert refuse(method, path, query, body) == ("MalformedXML", 400), body[:50]


DELETE = b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">%s</Delete>'
COMPLETE = b"<CompleteMultipartUpload><Part>%s</Part></CompleteMultipartUpload>"


@pytest.mark.parametrize(
    ("body", "is_good"),
    [
        (DELETE % b"<Object><Key>a</Key></Object><Object><Key>b</Key></Object>", True),
        (DELETE % b"<Quiet>true</Quiet><Object><Key>a</Key></Object>", True),
        (DELETE % b"<Quiet>perhaps</Quiet><Object><Key>a</Key></Object>", False),
        (DELETE % b"<Object></Object>", False),
        (DELETE % b"<Object><Key><a/></Key></Object>", False),
        (DELETE % b"", False),
        (DELETE % b"<Unknown/>", False),
    ],
)
def test_members_are_checked(body: bytes, *, is_good: bool) -> None:
    if is_good:
        assert check("POST", BUCKET, "delete", body)["wsgi.input"].read() == body
    else:
        assert refuse("POST", BUCKET, "delete", body)[0] == "MalformedXML"


def test_numbers_in_a_document_are_checked() -> None:
    good = COMPLETE % b"<ETag>e</ETag><PartNumber>1</PartNumber>"
    check("POST", OBJECT, "uploadId=u", good)
    assert refuse("POST", OBJECT, "uploadId=u", good.replace(b">1<", b">one<"))[0] == "MalformedXML"


@pytest.mark.parametrize(
    ("method", "path", "query", "headers"),
    [
        ("GET", BUCKET, "max-keys=abc", {}),
        ("GET", BUCKET, "list-type=2&max-keys=-1", {}),
        ("GET", BUCKET, "versions&max-keys=" + "9" * 5000, {}),
        ("GET", BUCKET, "encoding-type=other", {}),
        ("GET", OBJECT, "partNumber=a", {}),
        ("PUT", OBJECT, "partNumber=a&uploadId=u", {}),
        ("PUT", OBJECT, "", {"x_amz_storage_class": "NONE"}),
        ("PUT", OBJECT, "", {"x_amz_acl": "everybody"}),
        ("PUT", OBJECT, "", {"x_amz_object_lock_retain_until_date": "tomorrow"}),
        ("PUT", OBJECT, "", {"x_amz_copy_source": "no-key"}),
        ("PUT", OBJECT, "", {"x_amz_copy_source": "%"}),
        ("PUT", OBJECT, "", {"x_amz_copy_source": ""}),
    ],
)
def test_arguments_are_checked(method: str, path: str, query: str, headers: dict[str, str]) -> None:
    assert refuse(method, path, query, **headers) == ("InvalidArgument", 400)


@pytest.mark.parametrize("text", ["{", "[]", "", "<a/>", "[" * 100_000])
def test_a_policy_is_json(text: str) -> None:
    assert refuse("PUT", BUCKET, "policy", text.encode())[0] == "MalformedPolicy"


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"Statement": None}, "Statement"),
        ({"Statement": []}, "Statement"),
        ({"Statement": ["x"]}, "Statement"),
        ({"Action": None}, "Action"),
        ({"Effect": None}, "Effect"),
        ({"Principal": None}, "Principal"),
        ({"Resource": None}, "Resource"),
        ({"Action": None, "NotAction": "s3:GetObject"}, ""),
        ({}, ""),
    ],
)
def test_a_policy_has_statements_that_are_complete(change: dict[str, Any], missing: str) -> None:
    whole = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*", **change}
    statement = {name: value for name, value in whole.items() if value is not None}
    policy = change if "Statement" in change else {"Statement": statement}
    body = json.dumps(policy).encode()
    if not missing:
        check("PUT", BUCKET, "policy", body)
        return
    with pytest.raises(AwsError, match=f"Missing required field {missing}"):
        check("PUT", BUCKET, "policy", body)


@pytest.mark.parametrize("text", ["x", "bytes=a-b", "bytes=5-1", "bytes=-", "bytes=0-1,3-4"])
def test_a_range_that_is_none_is_ignored(text: str) -> None:
    assert "HTTP_RANGE" not in check("GET", OBJECT, range=text)
    assert "HTTP_RANGE" in check("GET", OBJECT, range="bytes=-5")
    assert "HTTP_IF_MODIFIED_SINCE" not in check("GET", OBJECT, if_modified_since="never")


def test_what_the_clients_send_passes() -> None:
    check("PUT", OBJECT, body=b"anything", content_type="text/csv")
    check("PUT", BUCKET)
    check("PUT", BUCKET, "acl", x_amz_acl="private")
    check("GET", "/")
    check("PATCH", OBJECT)
    policy = (
        b'{"Statement": {"Effect": "Deny", "NotPrincipal": "*", "Action": "*", "Resource": "*"}}'
    )
    check("PUT", BUCKET, "policy", policy)
