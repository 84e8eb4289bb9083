"""What was pushed and made here is deleted, and nothing else; moto plays S3 and ECR."""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from local_test.remote import inventory, remainders
from local_test.remote.access import Account
from local_test.remote.transfer import uploads

OURS = "0123456789abcdef"
MANIFEST = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with mock_aws():
        yield Account(boto3.Session(region_name="us-east-1"), "1" * 12, "aws", "arn")


def push(account: Account, repository: str, *tags: str, is_ours: bool = True) -> None:
    ecr = account.client("ecr")
    mark = {"Key": "byo-sagemaker", "Value": "image"}
    ecr.create_repository(repositoryName=repository, tags=[mark] if is_ours else [])
    for tag in tags:
        manifest = json.dumps({**MANIFEST, "annotations": {"of": tag}})
        ecr.put_image(repositoryName=repository, imageTag=tag, imageManifest=manifest)


def test_images_that_were_pushed_here_are_deleted_and_no_others(account: Account) -> None:
    many = [f"{number:016x}" for number in range(120)]
    push(account, "only-ours", *many)
    push(account, "shared", OURS, "v1")
    push(account, "empty")
    push(account, "of-someone-else", OURS, is_ours=False)
    found = remainders.list_images(account)
    assert {name: sorted(tags) for name, tags in found.items()} == {
        "only-ours": many,
        "shared": [OURS],
        "empty": [],
    }
    gone = {name: remainders.delete_images(account, name, tags) for name, tags in found.items()}
    assert gone == {"only-ours": True, "shared": False, "empty": True}
    assert remainders.list_images(account) == {}
    left = account.client("ecr").list_images(repositoryName="shared")["imageIds"]
    assert [entry["imageTag"] for entry in left] == ["v1"]


def test_the_bucket_is_deleted_if_it_was_made_here_and_is_empty(account: Account) -> None:
    s3 = account.client("s3")
    assert not remainders.delete_bucket(account)  # there is none
    uploads.make_bucket(account, print)
    s3.put_object(Bucket=account.bucket, Key="theirs", Body=b"1")
    s3.put_object(Bucket=account.bucket, Key="byo/data/1", Body=b"1")
    s3.create_multipart_upload(Bucket=account.bucket, Key="byo/data/2")
    s3.create_multipart_upload(Bucket=account.bucket, Key="theirs-too")
    assert inventory.delete_objects(account) == 1
    [upload] = s3.list_multipart_uploads(Bucket=account.bucket)["Uploads"]
    assert upload["Key"] == "theirs-too"
    assert not remainders.delete_bucket(account)
    s3.delete_object(Bucket=account.bucket, Key="theirs")
    assert remainders.delete_bucket(account)
    assert s3.list_buckets()["Buckets"] == []


def test_a_bucket_that_others_made_stays(account: Account) -> None:
    account.client("s3").create_bucket(Bucket=account.bucket)
    assert not remainders.delete_bucket(account)
