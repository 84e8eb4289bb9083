"""The keys of a local AWS: what `env` prints signs every kind of request, and nothing else does."""

from __future__ import annotations

import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from tests.contract.aws.client import LocalAws, refuse


def open_client(
    aws: LocalAws, service: str, key: str, secret: str, token: str | None = None, **config: Any
) -> Any:
    return boto3.client(
        service,
        endpoint_url=aws.url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


def test_the_key_is_random_private_and_printed(aws: LocalAws, tmp_path: Path) -> None:
    file = aws.directory / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    exports = aws.read_exports()
    assert exports["AWS_ACCESS_KEY_ID"] == aws.key.access_key
    assert exports["AWS_SECRET_ACCESS_KEY"] == aws.key.secret_key
    assert len(exports["AWS_SECRET_ACCESS_KEY"]) == 40
    with LocalAws(tmp_path).running() as other:
        assert other.key.access_key != aws.key.access_key
        before = other.key.secret_key
        other.run("down")
        other.up()
        assert other.key.secret_key == before


@pytest.mark.parametrize("service", ["s3", "sagemaker", "sts", "iam", "logs", "cloudwatch", "ecr"])
def test_a_wrong_key_is_a_clear_refusal(aws: LocalAws, service: str) -> None:
    call = {
        "s3": "list_buckets",
        "sagemaker": "list_models",
        "sts": "get_caller_identity",
        "iam": "list_users",
        "logs": "describe_log_groups",
        "cloudwatch": "list_metrics",
        "ecr": "describe_repositories",
    }[service]
    hint = 'eval "$(python -m local_test env)"'
    exported = open_client(aws, service, "AKIAEXPORTED", "elsewhere")
    wrong = open_client(aws, service, aws.key.access_key, "wrong")
    for client in (exported, wrong):
        _, message = refuse(getattr(client, call))
        assert hint in message
    getattr(aws.client(service), call)()


def test_every_way_to_send_an_object_is_accepted(aws: LocalAws, tmp_path: Path) -> None:
    body = bytes(range(256)) * 40_000
    file = tmp_path / "file"
    file.write_bytes(body)
    for algorithm in ("CRC32", "SHA256"):
        key = f"keys/ü +&=/{algorithm}"
        aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=body, ChecksumAlgorithm=algorithm)
        assert aws.s3.get_object(Bucket=aws.bucket, Key=key)["Body"].read() == body
    with file.open("rb") as stream:
        aws.s3.put_object(Bucket=aws.bucket, Key="keys/stream", Body=stream, Metadata={"A": "b  c"})
    part = TransferConfig(multipart_threshold=5 * 1024**2, multipart_chunksize=5 * 1024**2)
    aws.s3.upload_file(str(file), aws.bucket, "keys/parts", Config=part)
    aws.s3.copy({"Bucket": aws.bucket, "Key": "keys/parts"}, aws.bucket, "keys/copy")
    assert aws.s3.get_object(Bucket=aws.bucket, Key="keys/copy")["Body"].read() == body
    unsigned = open_client(
        aws, "s3", aws.key.access_key, aws.key.secret_key, s3={"payload_signing_enabled": False}
    )
    unsigned.put_object(Bucket=aws.bucket, Key="keys/unsigned", Body=b"1")
    aws.s3.delete_objects(
        Bucket=aws.bucket, Delete={"Objects": [{"Key": "keys/copy"}, {"Key": "keys/unsigned"}]}
    )


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_address_works_as_it_is_only(aws: LocalAws, version: str) -> None:
    client = open_client(
        aws, "s3", aws.key.access_key, aws.key.secret_key, signature_version=version
    )
    place = {"Bucket": aws.bucket, "Key": f"signed/ü {version}.txt"}

    def send(url: str, method: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "text/csv"} if body else {}
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return bytes(answer.read())

    put = client.generate_presigned_url("put_object", Params={**place, "ContentType": "text/csv"})
    send(put, "PUT", b"1,2")
    get = client.generate_presigned_url(
        "get_object", Params={**place, "ResponseContentDisposition": 'attachment; filename="a b"'}
    )
    assert send(get, "GET") == b"1,2"
    for url, method in ((get.replace(version + ".txt", "other"), "GET"), (get, "DELETE")):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            send(url, method)
        refusal.value.close()
        assert refusal.value.code == 403


def test_keys_that_iam_and_sts_issue_are_accepted(aws: LocalAws) -> None:
    role = aws.client("sts").assume_role(
        RoleArn="arn:aws:iam::000000000000:role/sagemaker", RoleSessionName="session"
    )["Credentials"]
    client = open_client(
        aws, "s3", role["AccessKeyId"], role["SecretAccessKey"], role["SessionToken"]
    )
    client.list_objects_v2(Bucket=aws.bucket)
    aws.client("iam").create_user(UserName="keys")
    issued = aws.client("iam").create_access_key(UserName="keys")["AccessKey"]
    open_client(aws, "sagemaker", issued["AccessKeyId"], issued["SecretAccessKey"]).list_models()
    aws.client("iam").delete_access_key(UserName="keys", AccessKeyId=issued["AccessKeyId"])
    aws.client("iam").delete_user(UserName="keys")
