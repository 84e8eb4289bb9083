"""Models of several containers and other kinds of variants, by unmodified boto3."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local_test.runners.launcher import has_namespaces
from tests.contract.aws.client import LocalAws, refuse, sum_metric
from tests.contract.aws.test_endpoints import (
    delete_endpoint,
    make_config,
    make_model,
    wait_until_settled,
)
from tests.support import wait_for


@pytest.fixture(scope="module")
def containers(aws: LocalAws) -> list[dict[str, Any]]:
    """Two containers, each with a model of its own name."""
    for name in ("prepares", "predicts"):
        make_model(aws, name)
    return [
        {
            "Image": aws.image,
            "ContainerHostname": name,
            "ModelDataUrl": f"s3://{aws.bucket}/models/{name}/model.tar.gz",
        }
        for name in ("prepares", "predicts")
    ]


def ask(aws: LocalAws, name: str, body: bytes = b"hello", **arguments: Any) -> dict[str, Any]:
    response = aws.runtime.invoke_endpoint(
        EndpointName=name, Body=body, ContentType="text/plain", **arguments
    )
    answer: dict[str, Any] = json.loads(response["Body"].read())
    return answer


def test_a_pipeline_answers_requests_and_transforms(
    aws: LocalAws, containers: list[dict[str, Any]]
) -> None:
    aws.sagemaker.create_model(ModelName="chain", ExecutionRoleArn=aws.role, Containers=containers)
    assert aws.sagemaker.describe_model(ModelName="chain")["Containers"] == containers
    make_config(aws, "chain", {"VariantName": "one", "ModelName": "chain"})
    aws.sagemaker.create_endpoint(EndpointName="chain", EndpointConfigName="chain")
    assert wait_until_settled(aws, "chain")["EndpointStatus"] == "InService"

    last = ask(aws, "chain")
    first = json.loads(last["echo"])
    assert (first["echo"], first["model"]["name"]) == ("hello", "prepares")
    assert last["model"]["name"] == "predicts"
    assert first["port"] != last["port"]
    error = aws.runtime.exceptions.ModelError
    with pytest.raises(error, match=r"client error \(415\) from prepares with message"):
        ask(aws, "chain", b"refuse")
    assert (
        "leave it out"
        in refuse(
            aws.runtime.invoke_endpoint,
            EndpointName="chain",
            Body=b"x",
            TargetContainerHostname="prepares",
        )[1]
    )
    streams = aws.client("logs").describe_log_streams(
        logGroupName="/aws/sagemaker/Endpoints/chain"
    )["logStreams"]
    ends = {stream["logStreamName"].rpartition("/")[2] for stream in streams}
    assert {"prepares", "predicts"} <= ends
    delete_endpoint(aws, "chain")

    aws.s3.put_object(Bucket=aws.bucket, Key="chain/in/a.txt", Body=b"row")
    aws.sagemaker.create_transform_job(
        TransformJobName="chain",
        ModelName="chain",
        TransformInput={
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{aws.bucket}/chain/in/"}
            },
            "ContentType": "text/plain",
        },
        TransformOutput={"S3OutputPath": f"s3://{aws.bucket}/chain/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    job = wait_for(
        lambda: aws.sagemaker.describe_transform_job(TransformJobName="chain"),
        lambda found: found["TransformJobStatus"] not in ("InProgress", "Stopping"),
    )
    assert job["TransformJobStatus"] == "Completed", job["FailureReason"]
    stored = aws.s3.get_object(Bucket=aws.bucket, Key="chain/out/a.txt.out")["Body"].read()
    assert json.loads(json.loads(stored)["echo"])["echo"] == "row"


def test_a_request_names_the_container_of_a_direct_endpoint(
    aws: LocalAws, containers: list[dict[str, Any]]
) -> None:
    aws.sagemaker.create_model(
        ModelName="direct",
        ExecutionRoleArn=aws.role,
        Containers=containers,
        InferenceExecutionConfig={"Mode": "Direct"},
    )
    variant = {"VariantName": "one", "ModelName": "direct"}
    asynchronous = {"OutputConfig": {"S3OutputPath": f"s3://{aws.bucket}/out"}}
    with pytest.raises(aws.sagemaker.exceptions.ClientError, match="cannot name a container"):
        make_config(aws, "direct", variant, AsyncInferenceConfig=asynchronous)
    make_config(aws, "direct", variant)
    aws.sagemaker.create_endpoint(EndpointName="direct", EndpointConfigName="direct")
    assert wait_until_settled(aws, "direct")["EndpointStatus"] == "InService"

    for name in ("predicts", "prepares"):
        answer = ask(aws, "direct", TargetContainerHostname=name)
        assert (answer["echo"], answer["model"]["name"]) == ("hello", name)
    code, message = refuse(aws.runtime.invoke_endpoint, EndpointName="direct", Body=b"x")
    assert (code, "choose one of prepares, predicts" in message) == ("ValidationError", True)
    delete_endpoint(aws, "direct")


@pytest.mark.skipif(not has_namespaces(), reason="without namespaces no root is read-only")
def test_a_serverless_endpoint_throttles_and_is_updated(aws: LocalAws) -> None:
    make_model(aws, "on-demand")
    config = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
    variant = {"VariantName": "one", "ModelName": "on-demand", "ServerlessConfig": config}
    arguments = {"EndpointConfigName": "on-demand", "ProductionVariants": [variant]}
    code, message = refuse(
        aws.sagemaker.create_endpoint_config,
        EndpointConfigName="on-demand",
        ProductionVariants=[{**variant, "InstanceType": "ml.m5.large"}],
    )
    assert (code, "has no InstanceType" in message) == ("ValidationException", True)
    aws.sagemaker.create_endpoint_config(**arguments)
    aws.sagemaker.create_endpoint(EndpointName="on-demand", EndpointConfigName="on-demand")
    (described,) = wait_until_settled(aws, "on-demand")["ProductionVariants"]
    assert (described["CurrentServerlessConfig"], described["CurrentInstanceCount"]) == (config, 0)
    assert ask(aws, "on-demand")["model"] == {"name": "on-demand"}

    def sleep(_: int) -> str:
        try:
            aws.runtime.invoke_endpoint(EndpointName="on-demand", Body=b"sleep")
        except aws.runtime.exceptions.ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(sleep, range(8))) == {"", "ThrottlingException"}
    desired = {"VariantName": "one", "ServerlessUpdateConfig": {"MaxConcurrency": 8}}
    aws.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="on-demand", DesiredWeightsAndCapacities=[desired]
    )
    (described,) = wait_until_settled(aws, "on-demand")["ProductionVariants"]
    assert described["CurrentServerlessConfig"]["MaxConcurrency"] == 8
    response = aws.runtime.invoke_endpoint(EndpointName="on-demand", Body=b"x")
    assert "x-local-test-cold-start-seconds" not in response["ResponseMetadata"]["HTTPHeaders"]
    with ThreadPoolExecutor(3) as pool:  # two of them start environments
        assert list(pool.map(sleep, range(3))) == [""] * 3
    delete_endpoint(aws, "on-demand")


def test_a_shadow_variant_is_described_and_metered(aws: LocalAws) -> None:
    for name in ("production", "candidate"):
        make_model(aws, name)
    shadow = {
        "VariantName": "candidate",
        "ModelName": "candidate",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
        "InitialVariantWeight": 1.0,
    }
    production = {"VariantName": "production", "ModelName": "production"}
    make_config(aws, "shadowed", production, ShadowProductionVariants=[shadow])
    aws.sagemaker.create_endpoint(EndpointName="shadowed", EndpointConfigName="shadowed")
    described = wait_until_settled(aws, "shadowed")
    (found,) = described["ShadowProductionVariants"]
    assert (found["VariantName"], found["CurrentInstanceCount"]) == ("candidate", 1)
    assert found["DeployedImages"][0]["SpecifiedImage"] == aws.image

    for _ in range(3):
        assert ask(aws, "shadowed")["model"] == {"name": "production"}
    named = {"EndpointName": "shadowed", "VariantName": "candidate"}
    wait_for(lambda: sum_metric(aws, "Invocations", **named), lambda total: total == 3)
    delete_endpoint(aws, "shadowed")
