"""Many clients at the same keys of S3: every request is answered, and nothing is mixed up."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from tests.contract.aws.client import LocalAws

CLIENTS = 6
ROUNDS = 12
MISSING = ("NoSuchKey", "404", "NoSuchUpload")


def work(number: int, actions: list[Callable[[], Any]]) -> None:
    """Do actions in a random order; an object may be missing, as others delete it."""
    chooser = random.Random(number)  # noqa: S311 - an order of actions
    for _ in range(ROUNDS):
        try:
            chooser.choice(actions)()
        except ClientError as error:
            if error.response["Error"]["Code"] not in MISSING:
                raise


def test_one_key_takes_many_writers_and_readers(aws: LocalAws) -> None:
    place = {"Bucket": aws.bucket, "Key": "concurrency/same"}
    copy = {"Bucket": aws.bucket, "Key": "concurrency/copy"}
    sent: set[str] = set()

    def put() -> None:
        body = os.urandom(random.choice((10, 30_000)))  # noqa: S311 - sizes
        sent.add(hashlib.md5(body, usedforsecurity=False).hexdigest())
        aws.s3.put_object(**place, Body=body)

    def get() -> None:
        answer = aws.s3.get_object(**place)
        body = answer["Body"].read()
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        assert answer["ETag"] == f'"{digest}"'
        assert digest in sent

    def upload() -> None:
        body = os.urandom(1000)
        start = {**place, "UploadId": aws.s3.create_multipart_upload(**place)["UploadId"]}
        tag = aws.s3.upload_part(**start, PartNumber=1, Body=body)["ETag"]
        parts = [{"PartNumber": 1, "ETag": tag}]
        aws.s3.complete_multipart_upload(**start, MultipartUpload={"Parts": parts})

    def list_all() -> None:
        aws.s3.list_objects_v2(Bucket=aws.bucket, Prefix="concurrency/")
        aws.s3.list_object_versions(Bucket=aws.bucket, Prefix="concurrency/")
        aws.s3.list_multipart_uploads(Bucket=aws.bucket)

    def delete() -> None:
        aws.s3.delete_object(**place)
        aws.s3.delete_objects(
            Bucket=aws.bucket, Delete={"Objects": [{"Key": place["Key"]}, {"Key": copy["Key"]}]}
        )

    def copy_it() -> None:
        aws.s3.copy_object(**copy, CopySource=place)
        aws.s3.copy_object(**place, CopySource=copy)

    actions: list[Callable[[], Any]] = [put, put, put, get, get, list_all, delete, copy_it]

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda number: work(number, actions), range(CLIENTS)))
    upload()
    served = aws.s3.get_object(**place)["Body"].read()
    assert len(served) == 1000


def test_a_bucket_is_deleted_or_takes_an_object_but_not_both(aws: LocalAws) -> None:
    def create() -> None:
        aws.s3.create_bucket(Bucket="short-lived")

    def put() -> None:
        aws.s3.put_object(Bucket="short-lived", Key="k", Body=b"x")

    def delete() -> None:
        aws.s3.delete_bucket(Bucket="short-lived")

    def attempt(action: Callable[[], None]) -> str:
        try:
            action()
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            assert status < 500
            return str(error.response["Error"]["Code"])
        return ""

    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            create()
            outcomes = list(pool.map(attempt, (put, delete)))
            assert outcomes in (["", "BucketNotEmpty"], ["NoSuchBucket", ""])
            if not outcomes[0]:
                assert aws.s3.get_object(Bucket="short-lived", Key="k")["Body"].read() == b"x"
                aws.s3.delete_object(Bucket="short-lived", Key="k")
                delete()
