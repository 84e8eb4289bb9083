"""A local AWS on a disk that is full: what was acknowledged stays, what is refused never was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.contract.aws.client import LocalAws, refuse
from tests.support import ROOT

MB = 1_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 6 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path) -> None:
    """Take the last byte of a disk."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (4096, 1):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break


def run_as_root(test: str) -> None:
    """Run a test of this file in a namespace where this user may mount."""
    command = [sys.executable, "-m", "pytest", "-q", f"{__file__}::{test}"]
    subprocess.run(["unshare", "-Urm", *command], cwd=ROOT, check=True)


if os.getuid() != 0:

    def test_in_a_namespace() -> None:
        run_as_root("test_a_full_disk_loses_and_invents_nothing")

else:

    def test_a_full_disk_loses_and_invents_nothing(small_disk: Path) -> None:
        aws = LocalAws(small_disk / "state")
        with aws.running():
            kept = fill_with_objects(aws)
            check_refusals(aws, kept, small_disk)
            os.kill(aws.pid, signal.SIGKILL)
            fill(small_disk)
            up = aws.run("up")
            assert "warning: read-only until there is room: cannot write to" in up.stderr
            aws.up()
            check_objects(aws, kept)
            assert refuse(aws.s3.put_object, Bucket=aws.bucket, Key="k", Body=b"x" * MB)[0] == (
                "InsufficientStorage"
            )
            (small_disk / "filler").unlink()
            fill(small_disk)
            for key in ("k0", "k1", "k2"):
                aws.s3.delete_object(Bucket=aws.bucket, Key=key)
                del kept[key]
            aws.s3.put_object(Bucket=aws.bucket, Key="after", Body=b"x" * MB)
            kept["after"] = b"x" * MB
            check_objects(aws, kept)
            assert "warning" not in aws.run("status").stdout
            aws.run("down")
            aws.up()
            check_objects(aws, kept)


def fill_with_objects(aws: LocalAws) -> dict[str, bytes]:
    """Put objects until one is refused, and return those that were acknowledged."""
    kept: dict[str, bytes] = {}
    while True:
        key = f"k{len(kept)}"
        body = os.urandom(MB)
        try:
            aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=body)
        except ClientError as error:
            refusal = error.response
            break
        kept[key] = body
    assert refusal["ResponseMetadata"]["HTTPStatusCode"] == 507
    assert "delete objects of S3" in refusal["Error"]["Message"]
    return kept


def create_models(aws: LocalAws) -> set[str]:
    """Create models until one is refused, and return those that were acknowledged."""
    names: set[str] = set()
    container = {"Image": aws.image, "Environment": {f"v{n}": "x" * 1000 for n in range(50)}}
    while True:
        name = f"m{len(names)}"
        try:
            aws.sagemaker.create_model(
                ModelName=name, PrimaryContainer=container, ExecutionRoleArn=aws.role
            )
        except ClientError as error:
            refusal = error.response["Error"]["Code"]
            break
        names.add(name)
    assert refusal == "InsufficientStorage"
    return names


def check_refusals(aws: LocalAws, kept: dict[str, bytes], disk: Path) -> None:
    """Check that every kind of change is refused, and leaves everything as it was."""
    place = {"Bucket": aws.bucket, "Key": "k0"}
    wanted = "InsufficientStorage"
    assert refuse(aws.s3.put_object, **place, Body=bytes(2 * MB))[0] == wanted
    source = f"{aws.bucket}/k1"
    for bucket, key in ((aws.bucket, "copy"), (aws.bucket, "k0")):
        assert refuse(aws.s3.copy_object, Bucket=bucket, Key=key, CopySource=source)[0] == wanted
    upload = aws.s3.create_multipart_upload(**place)["UploadId"]
    part = {**place, "UploadId": upload}
    tag = aws.s3.upload_part(**part, PartNumber=1, Body=bytes(2 * MB))["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    assert refuse(aws.s3.complete_multipart_upload, **part, MultipartUpload=parts)[0] == wanted
    fill(disk)
    models = create_models(aws)
    pages = aws.sagemaker.get_paginator("list_models").paginate()
    assert {item["ModelName"] for page in pages for item in page["Models"]} == models
    assert re.search("warning: .*cannot write to", aws.run("status").stdout)
    check_objects(aws, kept)
    (disk / "filler").unlink()
    aws.s3.delete_objects(
        Bucket=aws.bucket, Delete={"Objects": [{"Key": key} for key in ("k3", "k4")]}
    )
    for key in ("k3", "k4"):
        del kept[key]
    aws.s3.complete_multipart_upload(**part, MultipartUpload=parts)  # the upload was still there
    kept["k0"] = bytes(2 * MB)
    check_objects(aws, kept)


def check_objects(aws: LocalAws, kept: dict[str, bytes]) -> None:
    """Check that exactly these objects exist."""
    listed = aws.s3.list_objects_v2(Bucket=aws.bucket)["Contents"]
    assert {item["Key"]: item["Size"] for item in listed} == {
        key: len(body) for key, body in kept.items()
    }
    for key, body in kept.items():
        assert aws.s3.get_object(Bucket=aws.bucket, Key=key)["Body"].read() == body
