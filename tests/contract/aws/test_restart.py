"""The local AWS is killed, stopped and started again: nothing is lost or left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.aws.client import LocalAws, refuse, training_request, wait_for_status
from tests.contract.aws.test_components import (
    NEEDS,
    make_endpoint,
    wait_for_component,
)
from tests.contract.aws.test_endpoints import (
    delete_endpoint,
    invoke,
    make_config,
    make_model,
    wait_until_settled,
)


@pytest.fixture
def own_aws(tmp_path: Path) -> Iterator[LocalAws]:
    with LocalAws(tmp_path / "state").running() as local:
        local.s3.put_object(Bucket=local.bucket, Key="data/a.csv", Body=b"1,2\n")
        yield local


def list_captured(aws: LocalAws) -> list[str]:
    """List the inference IDs of everything that was captured, sorted."""
    found = aws.s3.list_objects_v2(Bucket=aws.bucket, Prefix="captured/").get("Contents", [])
    bodies = [
        aws.s3.get_object(Bucket=aws.bucket, Key=item["Key"])["Body"].read() for item in found
    ]
    lines = [json.loads(line) for body in bodies for line in body.splitlines()]
    return sorted(line["eventMetadata"]["inferenceId"] for line in lines)


def test_down_keeps_data_refuses_running_jobs_and_purge_deletes(own_aws: LocalAws) -> None:
    aws = own_aws
    aws.s3.put_object(Bucket=aws.bucket, Key="deleted", Body=b"x")
    aws.s3.put_object(Bucket=aws.bucket, Key="both", Body=b"first", Metadata={"kind": "old"})
    aws.s3.put_object(
        Bucket=aws.bucket,
        Key="both",
        Body=b"second",
        Metadata={"kind": "new"},
        ContentType="text/csv",
    )
    aws.s3.delete_objects(Bucket=aws.bucket, Delete={"Objects": [{"Key": "deleted"}]})
    aws.s3.create_bucket(Bucket="another")
    aws.s3.copy_object(Bucket="another", Key="copy", CopySource=f"{aws.bucket}/both")
    request = training_request(aws, "long", HyperParameters={"epochs": "1000", "epoch_s": "0.1"})
    aws.sagemaker.create_training_job(**request)
    wait_for_status(aws, "long", secondary="Training")
    make_model(aws, "slow", START_S="1")
    make_endpoint(aws, "shared")
    component = {"EndpointName": "shared", "Specification": {"ModelName": "slow", **NEEDS}}
    aws.sagemaker.create_inference_component(InferenceComponentName="slow", **component)

    refused = aws.run("down", check=False)
    assert refused.returncode == 2
    assert "1 job(s) running: long" in refused.stderr
    assert aws.run("purge", "--yes", check=False).returncode == 2
    aws.run("down", "--force")
    assert aws.run("status", check=False).returncode == 1
    assert not aws.list_programs()

    aws.up()
    assert wait_for_status(aws, "long")["TrainingJobStatus"] == "Stopped"
    assert wait_for_component(aws, "slow")["InferenceComponentStatus"] == "InService"
    kept = aws.s3.get_object(Bucket="another", Key="copy")
    assert (kept["Body"].read(), kept["Metadata"], kept["ContentType"]) == (
        b"second",
        {"kind": "new"},
        "text/csv",
    )
    assert refuse(aws.s3.get_object, Bucket=aws.bucket, Key="deleted")[0] == "NoSuchKey"
    assert "up: http://127.0.0.1:" in aws.run("status").stdout

    aws.run("down")
    aws.run("purge", "--yes")
    assert not aws.directory.exists()


def test_two_local_aws_of_one_machine_do_not_meet(own_aws: LocalAws, tmp_path: Path) -> None:
    with LocalAws(tmp_path / "other").running() as other:
        own_aws.s3.create_bucket(Bucket="mine")
        names = [bucket["Name"] for bucket in other.s3.list_buckets()["Buckets"]]
        assert "mine" not in names
        assert other.url != own_aws.url


def test_env_points_a_client_that_knows_nothing_at_it(own_aws: LocalAws) -> None:
    script = 'eval "$(python -m local_test env)"; python -c "{}"'.format(
        "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    )
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environ = {
        "PATH": path,
        "LOCAL_AWS_DIRECTORY": str(own_aws.directory),
        "HOME": str(own_aws.directory),
    }
    done = subprocess.run(
        ["bash", "-c", script], check=True, capture_output=True, text=True, env=environ
    )
    assert done.stdout.split()[-1] == "000000000000"


def test_what_an_endpoint_captures_outlives_its_updates_a_kill_a_stop_and_its_deletion(
    own_aws: LocalAws,
) -> None:
    aws = own_aws
    make_model(aws, "m")
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{aws.bucket}/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    for name in ("one", "two"):
        variant = {"VariantName": name, "ModelName": "m"}
        make_config(aws, name, variant, DataCaptureConfig=capture)
    aws.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="one")
    wait_until_settled(aws, "e")

    invoke(aws, "e", InferenceId="1 created")
    aws.sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="two")
    wait_until_settled(aws, "e")
    invoke(aws, "e", InferenceId="2 updated")
    os.kill(aws.pid, signal.SIGKILL)
    aws.up()
    wait_until_settled(aws, "e")
    invoke(aws, "e", InferenceId="3 killed")
    aws.run("down")
    aws.up()
    wait_until_settled(aws, "e")
    invoke(aws, "e", InferenceId="4 stopped")
    delete_endpoint(aws, "e")

    assert list_captured(aws) == ["1 created", "2 updated", "3 killed", "4 stopped"]
