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

from local_test.runners.launcher import has_namespaces
from tests.contract.aws.client import LocalAws, refuse, training_request, wait_for_status
from tests.contract.aws.test_components import (
    NEEDS,
    ask,
    make_component,
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
from tests.contract.aws.test_rollouts import make_canary, put_alarm, wait_for_stage
from tests.support import wait_for

COPIES = {"copied": 2, "changed": 1, "none": 0}


@pytest.fixture
def own_aws(tmp_path: Path) -> Iterator[LocalAws]:
    with LocalAws(tmp_path / "state").running() as local:
        local.s3.put_object(Bucket=local.bucket, Key="data/a.csv", Body=b"1,2\n")
        yield local


def list_programs(aws: LocalAws) -> list[int]:
    """List the processes that run as containers of this local AWS, by the path in their command."""
    pattern = f"{aws.directory}/(components|endpoints|jobs)"
    found = subprocess.run(["pgrep", "-f", pattern], check=False, capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def list_captured(aws: LocalAws) -> list[str]:
    """List the inference IDs of everything that was captured, sorted."""
    found = aws.s3.list_objects_v2(Bucket=aws.bucket, Prefix="captured/").get("Contents", [])
    bodies = [
        aws.s3.get_object(Bucket=aws.bucket, Key=item["Key"])["Body"].read() for item in found
    ]
    lines = [json.loads(line) for body in bodies for line in body.splitlines()]
    return sorted(line["eventMetadata"]["inferenceId"] for line in lines)


def list_streams(aws: LocalAws, job: str) -> list[str]:
    group = "/aws/sagemaker/TrainingJobs"
    if not aws.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return []
    found = aws.client("logs").describe_log_streams(
        logGroupName=group, logStreamNamePrefix=f"{job}/"
    )["logStreams"]
    return [stream["logStreamName"] for stream in found]


def begin_canary(aws: LocalAws, name: str, config: str) -> None:
    """Create an alarm and an endpoint, and wait until a canary has a share of its traffic."""
    put_alarm(aws, "kept", config)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    wait_until_settled(aws, name)
    make_model(aws, "canary")
    make_config(aws, "canary", {"VariantName": "one", "ModelName": "canary"})
    aws.sagemaker.update_endpoint(
        EndpointName=name, EndpointConfigName="canary", DeploymentConfig=make_canary(wait_s=3600)
    )
    wait_for_stage(aws, name, "canary capacity")


def check_return(aws: LocalAws, name: str, config: str) -> None:
    """Check that the alarm is there, and the old version of the endpoint."""
    (alarm,) = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert (alarm["AlarmName"], alarm["TreatMissingData"]) == ("kept", "notBreaching")
    described = wait_until_settled(aws, name)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", config)
    assert "local AWS ended before endpoint configuration canary" in described["FailureReason"]
    assert "PendingDeploymentSummary" not in described
    assert {invoke(aws, name)["model"]["name"] for _ in range(9)} == {config}


def make_components(aws: LocalAws) -> None:
    """Create an endpoint with inference components of one model."""
    make_endpoint(aws, "shared")
    for name, count in COPIES.items():
        make_component(aws, name, "shared", count, ModelName="kept")


def check_components(aws: LocalAws) -> None:
    """Check that inference components are back, one of them after the end of its update."""
    wait_until_settled(aws, "shared")
    for name, count in COPIES.items():
        described = wait_for_component(aws, name)
        assert described["InferenceComponentStatus"] == "InService"
        assert described["RuntimeConfig"]["CurrentCopyCount"] == count
    assert ask(aws, "shared", "copied")["model"] == {"name": "kept"}
    assert ask(aws, "shared", "changed")["model"] == {"name": "next"}


def test_after_a_kill_jobs_have_failed_or_run_again_and_endpoints_answer(own_aws: LocalAws) -> None:
    aws = own_aws
    make_model(aws, "kept")
    make_model(aws, "next", START_S="3")  # the update lasts until the kill
    for name in ("kept", "next"):
        make_config(aws, name, {"VariantName": "one", "ModelName": name})
    aws.sagemaker.create_endpoint(EndpointName="kept", EndpointConfigName="kept")
    containers = [{"Image": aws.image, "Environment": {"NUMBER": number}} for number in "12"]
    aws.sagemaker.create_model(ModelName="chain", ExecutionRoleArn=aws.role, Containers=containers)
    make_config(aws, "chain", {"VariantName": "one", "ModelName": "chain"})
    aws.sagemaker.create_endpoint(EndpointName="chain", EndpointConfigName="chain")
    if has_namespaces():  # a serverless container has a read-only root
        config = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
        variant = {"VariantName": "one", "ModelName": "kept", "ServerlessConfig": config}
        aws.sagemaker.create_endpoint_config(
            EndpointConfigName="zero", ProductionVariants=[variant]
        )
        aws.sagemaker.create_endpoint(EndpointName="zero", EndpointConfigName="zero")
        wait_until_settled(aws, "zero")
    for name in ("kept", "chain"):
        wait_until_settled(aws, name)
    make_components(aws)
    begin_canary(aws, "guarded", "kept")
    long = {"epochs": "1000", "epoch_s": "0.1"}
    aws.sagemaker.create_training_job(**training_request(aws, "lost", HyperParameters=long))
    retried = training_request(
        aws,
        "retried",
        HyperParameters={"epochs": "8", "epoch_s": "0.5"},
        RetryStrategy={"MaximumRetryAttempts": 1},
    )
    aws.sagemaker.create_training_job(**retried)
    for name in ("lost", "retried"):
        wait_for_status(aws, name, secondary="Training")
    wait_for(lambda: list_streams(aws, "lost"), bool)
    before = set(list_programs(aws))
    aws.sagemaker.update_endpoint(EndpointName="kept", EndpointConfigName="next")
    aws.sagemaker.update_inference_component(
        InferenceComponentName="changed", Specification={"ModelName": "next"}
    )
    wait_for(lambda: set(list_programs(aws)) - before, bool)
    assert aws.sagemaker.describe_endpoint(EndpointName="kept")["EndpointStatus"] == "Updating"

    aws.sagemaker.delete_model(ModelName="kept")

    os.kill(aws.pid, signal.SIGKILL)
    wait_for(lambda: list_programs(aws), lambda left: not left)

    aws.up()
    lost = wait_for_status(aws, "lost")
    assert (lost["TrainingJobStatus"], lost["FailureReason"].split(":")[0]) == (
        "Failed",
        "InternalServerError",
    )
    described = wait_until_settled(aws, "kept")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "next")
    assert invoke(aws, "kept")["model"] == {"name": "next"}
    check_return(aws, "guarded", "kept")
    if has_namespaces():
        assert wait_until_settled(aws, "zero")["EndpointStatus"] == "InService"
        assert invoke(aws, "zero")["model"] == {"name": "kept"}
    assert wait_until_settled(aws, "chain")["EndpointStatus"] == "InService"
    assert json.loads(invoke(aws, "chain", b"again")["echo"])["echo"] == "again"
    check_components(aws)
    again = wait_for_status(aws, "retried")
    assert again["TrainingJobStatus"] == "Completed"
    assert "Restarting" in [item["Status"] for item in again["SecondaryStatusTransitions"]]
    assert aws.s3.get_object(Bucket=aws.bucket, Key="data/a.csv")["Body"].read() == b"1,2\n"
    assert len(list_streams(aws, "lost")) == 1


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
    assert not list_programs(aws)

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
