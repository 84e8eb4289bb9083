"""The local AWS with the Docker runner: walk-throughs in our image, S3, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.contract.aws import walkthrough
from tests.contract.aws.client import LocalAws
from tests.contract.aws.test_clients import check_reading_s3
from tests.support import wait_until

pytestmark = pytest.mark.timeout(1500)  # the SDKs' environments are made once, of 180 packages
Digits = dict[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]


@pytest.fixture(scope="module")
def docker_aws(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    local = LocalAws(tmp_path_factory.mktemp("docker-aws"))
    local.image = f"000000000000.dkr.ecr.us-east-1.amazonaws.com/{image}"
    with local.running(program=None):
        local.s3.put_object(
            Bucket=local.bucket, Key="data/a.csv", Body=b"validation_accuracy=0.875;\n"
        )
        yield local


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    return walkthrough.write_digits(tmp_path_factory.mktemp("digits-csv"), digits)


@pytest.fixture(scope="module")
def walk(docker_aws: LocalAws, data: Path) -> Iterator[subprocess.Popen[str]]:
    options = ("--image", docker_aws.image)
    with walkthrough.walking(docker_aws, data, *options, walks=["boto3"]) as processes:
        yield processes["boto3"]


def test_the_walk_through_of_boto3_passes_in_containers(walk: subprocess.Popen[str]) -> None:
    walkthrough.check(walkthrough.finish(walk))


@pytest.mark.slow  # they send the requests of boto3, which run in containers above
def test_the_walk_throughs_of_the_sdks_pass_in_containers(docker_aws: LocalAws, data: Path) -> None:
    options = ("--image", docker_aws.image)
    with walkthrough.walking(docker_aws, data, *options, walks=["sdk-v2", "sdk-v3"]) as processes:
        for process in processes.values():
            walkthrough.check(walkthrough.finish(process))


def test_a_container_reads_s3_unless_it_is_shut_off(docker_aws: LocalAws) -> None:
    check_reading_s3(docker_aws, "python")


def test_no_container_outlives_a_killed_local_aws(
    docker_aws: LocalAws, walk: subprocess.Popen[str]
) -> None:
    aws, client = docker_aws, docker.from_env()
    walk.wait(500)

    def list_ours() -> list[str]:
        found = client.containers.list(
            all=True, filters={"label": "byo.local-test"}, ignore_removed=True
        )
        return [item.name for item in found if str(aws.directory) in str(item.attrs["Mounts"])]

    container = {"Image": aws.image, "ModelDataUrl": find_artifact(aws)}
    aws.sagemaker.create_model(
        ModelName="kept", ExecutionRoleArn=aws.role, PrimaryContainer=container
    )
    variant = {
        "VariantName": "one",
        "ModelName": "kept",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    aws.sagemaker.create_endpoint_config(EndpointConfigName="kept", ProductionVariants=[variant])
    aws.sagemaker.create_endpoint(EndpointName="kept", EndpointConfigName="kept")
    wait_until(
        lambda: (
            aws.sagemaker.describe_endpoint(EndpointName="kept")["EndpointStatus"] == "InService"
        )
    )
    [before] = list_ours()

    os.kill(aws.pid, signal.SIGKILL)
    aws.up()
    wait_until(lambda: len(now := list_ours()) == 1 and now != [before])
    wait_until(
        lambda: (
            aws.sagemaker.describe_endpoint(EndpointName="kept")["EndpointStatus"] == "InService"
        )
    )

    aws.sagemaker.delete_endpoint(EndpointName="kept")
    wait_until(lambda: not list_ours())
    client.close()


def find_artifact(aws: LocalAws) -> str:
    """Return the artifact of any completed training job."""
    [job] = aws.sagemaker.list_training_jobs(StatusEquals="Completed", MaxResults=1)[
        "TrainingJobSummaries"
    ]
    described = aws.sagemaker.describe_training_job(TrainingJobName=job["TrainingJobName"])
    return str(described["ModelArtifacts"]["S3ModelArtifacts"])
