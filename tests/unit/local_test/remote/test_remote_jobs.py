"""What is copied from the account's bucket; moto plays S3."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from container.errors import UserError
from local_test.remote import remote_jobs
from local_test.remote.access import Account


def test_objects_of_one_place_are_refused_and_older_files_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As `a/1` and `A/1` are where the file system ignores cases."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    (tmp_path / "1").write_bytes(b"old")
    with mock_aws():
        account = Account(boto3.Session(region_name="us-east-1"), "1" * 12, "aws", "arn")
        s3 = account.client("s3")
        s3.create_bucket(Bucket=account.bucket)
        for key in ("out/1", "out/a/1"):
            s3.put_object(Bucket=account.bucket, Key=key, Body=key.encode())
        paths = remote_jobs.download(account, "out/", f"file://{tmp_path}/")
        assert sorted(path.read_text() for path in paths) == ["out/1", "out/a/1"]
        s3.put_object(Bucket=account.bucket, Key="out/a//1", Body=b"another")
        with pytest.raises(UserError, match=r"another object is there.*rename one of the two"):
            remote_jobs.download(account, "out/", f"file://{tmp_path}/")
    assert (tmp_path / "a/1").read_bytes() != (tmp_path / "1").read_bytes()
