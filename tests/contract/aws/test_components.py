"""Inference components of the local AWS, by unmodified boto3 (IC-1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.aws.client import LocalAws, refuse
from tests.contract.aws.test_endpoints import delete_endpoint, make_model, wait_until_settled
from tests.support import wait_for

NEEDS = {"ComputeResourceRequirements": {"MinMemoryRequiredInMb": 256}}
SCALING = {"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": 2}
NO_CAPACITY = "Inference Component has no capacity to process this request."


def make_endpoint(aws: LocalAws, name: str) -> None:
    """Create an endpoint for inference components, as AWS's guide does."""
    variant = {
        "VariantName": "AllTraffic",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
        "ManagedInstanceScaling": SCALING,
        "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
    }
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=name, ExecutionRoleArn=aws.role, ProductionVariants=[variant]
    )
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    assert wait_until_settled(aws, name)["EndpointStatus"] == "InService"


def make_component(
    aws: LocalAws, name: str, endpoint: str, copies: int = 1, **specification: Any
) -> dict[str, Any]:
    """Create a component; return its description once it has settled."""
    aws.sagemaker.create_inference_component(
        InferenceComponentName=name,
        EndpointName=endpoint,
        VariantName="AllTraffic",
        Specification={**NEEDS, **specification},
        RuntimeConfig={"CopyCount": copies},
        Tags=[{"Key": "of", "Value": name}],
    )
    return wait_for_component(aws, name)


def wait_for_component(aws: LocalAws, name: str) -> dict[str, Any]:
    described: dict[str, Any] = wait_for(
        lambda: aws.sagemaker.describe_inference_component(InferenceComponentName=name),
        lambda answer: answer["InferenceComponentStatus"] not in ("Creating", "Updating"),
    )
    return described


def delete_component(aws: LocalAws, name: str) -> None:
    aws.sagemaker.delete_inference_component(InferenceComponentName=name)
    wait_for(lambda: list_names(aws, NameContains=name), lambda names: name not in names)


def list_names(aws: LocalAws, **filters: Any) -> list[str]:
    listed = aws.sagemaker.list_inference_components(**filters)
    return [item["InferenceComponentName"] for item in listed["InferenceComponents"]]


def scale(aws: LocalAws, name: str, copies: int) -> dict[str, Any]:
    aws.sagemaker.update_inference_component_runtime_config(
        InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": copies}
    )
    described = wait_for_component(aws, name)
    assert described["RuntimeConfig"] == {"DesiredCopyCount": copies, "CurrentCopyCount": copies}
    return described


def ask(aws: LocalAws, endpoint: str, name: str, body: bytes = b"hello") -> dict[str, Any]:
    response = aws.runtime.invoke_endpoint(
        EndpointName=endpoint, InferenceComponentName=name, Body=body, ContentType="text/plain"
    )
    assert response["InvokedProductionVariant"] == "AllTraffic"
    answer: dict[str, Any] = json.loads(response["Body"].read())
    return answer


@pytest.fixture(scope="module")
def endpoint(aws: LocalAws) -> Iterator[str]:
    for name in ("small", "large"):
        make_model(aws, name)
    make_endpoint(aws, "shared")
    yield "shared"
    delete_endpoint(aws, "shared")


def test_two_models_share_an_endpoint(aws: LocalAws, endpoint: str) -> None:
    invocation = {"EndpointName": endpoint, "Body": b"x"}
    assert "none yet" in refuse(aws.runtime.invoke_endpoint, **invocation)[1]
    described = make_component(aws, "a-small", endpoint, ModelName="small")
    assert described["InferenceComponentStatus"] == "InService"
    assert described["RuntimeConfig"] == {"DesiredCopyCount": 1, "CurrentCopyCount": 1}
    assert described["Specification"]["ModelName"] == "small"
    archive = f"s3://{aws.bucket}/models/large/model.tar.gz"
    container = {"Image": aws.image, "ArtifactUrl": archive, "Environment": {"A": "1"}}
    described = make_component(aws, "b-large", endpoint, Container=container)
    shown = described["Specification"]["Container"]
    assert (shown["ArtifactUrl"], shown["DeployedImage"]["SpecifiedImage"]) == (archive, aws.image)

    for component, name in (("a-small", "small"), ("b-large", "large")):
        assert ask(aws, endpoint, component)["model"] == {"name": name}
    code, message = refuse(aws.runtime.invoke_endpoint, **invocation)
    assert (code, message.endswith("a-small, b-large.")) == ("ValidationError", True)
    assert message.startswith("Inference Component Name header is required")
    stream = aws.runtime.invoke_endpoint_with_response_stream(
        EndpointName=endpoint, InferenceComponentName="a-small", Body=b"stream of words"
    )["Body"]
    assert b"".join(event["PayloadPart"]["Bytes"] for event in stream) == b"streamofwords"
    with pytest.raises(aws.runtime.exceptions.ModelError) as caught:
        ask(aws, endpoint, "b-large", b"fail")
    group = "/aws/sagemaker/InferenceComponents/b-large"
    assert caught.value.response["LogStreamArn"].endswith(group)
    streams = aws.client("logs").describe_log_streams(logGroupName=group)["logStreams"]
    assert streams[0]["logStreamName"].startswith("AllTraffic/")

    arn = described["InferenceComponentArn"]
    assert aws.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "of", "Value": "b-large"}]
    assert list_names(aws, EndpointNameEquals=endpoint) == ["b-large", "a-small"]
    assert list_names(aws, NameContains="small", VariantNameEquals="AllTraffic") == ["a-small"]
    pages = aws.sagemaker.get_paginator("list_inference_components").paginate(
        SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 1}
    )
    names = [page["InferenceComponents"][0]["InferenceComponentName"] for page in pages]
    assert names == ["a-small", "b-large"]

    code, message = refuse(aws.sagemaker.delete_endpoint, EndpointName=endpoint)
    assert code == "ValidationException"
    assert message.startswith("Cannot delete endpoint with inference component associated.")
    for name in ("a-small", "b-large"):
        delete_component(aws, name)
    missing = {"InferenceComponentName": "a-small"}
    code, message = refuse(aws.sagemaker.describe_inference_component, **missing)
    assert (code, "Could not find inference component" in message) == ("ValidationException", True)


def test_copies_come_and_go_down_to_none(aws: LocalAws, endpoint: str) -> None:
    make_component(aws, "copied", endpoint, 2, ModelName="small")
    (variant,) = aws.sagemaker.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["ManagedInstanceScaling"]) == (1, SCALING)
    assert len({ask(aws, endpoint, "copied")["port"] for _ in range(4)}) == 2
    scale(aws, "copied", 0)
    invocation = {"EndpointName": endpoint, "InferenceComponentName": "copied", "Body": b"x"}
    for call in (aws.runtime.invoke_endpoint, aws.runtime.invoke_endpoint_with_response_stream):
        code, message = refuse(call, **invocation)
        assert (code, message.startswith(NO_CAPACITY)) == ("ValidationError", True)
    (variant,) = aws.sagemaker.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 0
    scale(aws, "copied", 1)
    assert ask(aws, endpoint, "copied")["model"] == {"name": "small"}
    delete_component(aws, "copied")


def test_an_update_replaces_the_copies_or_leaves_them(aws: LocalAws, endpoint: str) -> None:
    make_component(aws, "changing", endpoint, ModelName="small")
    changed = {"InferenceComponentName": "changing"}
    aws.sagemaker.update_inference_component(
        **changed, Specification={"ModelName": "large"}, RuntimeConfig={"CopyCount": 2}
    )
    described = wait_for_component(aws, "changing")
    assert described["RuntimeConfig"]["CurrentCopyCount"] == 2
    assert described["Specification"] == {"ModelName": "large", **NEEDS}
    assert ask(aws, endpoint, "changing")["model"] == {"name": "large"}

    broken = {"Image": aws.image, "Environment": {"NEVER_HEALTHY": "1"}}
    aws.sagemaker.update_inference_component(**changed, Specification={"Container": broken})
    described = wait_for_component(aws, "changing")
    assert described["InferenceComponentStatus"] == "InService"
    assert "before it answered a ping" in described["FailureReason"]
    assert described["Specification"]["ModelName"] == "large"
    assert ask(aws, endpoint, "changing")["model"] == {"name": "large"}

    failed = make_component(aws, "broken", endpoint, Container=broken)
    assert failed["InferenceComponentStatus"] == "Failed"
    assert "InferenceComponents/broken" in failed["FailureReason"]
    for name in ("broken", "changing"):
        delete_component(aws, name)


def test_copies_follow_the_load(aws: LocalAws, endpoint: str) -> None:
    make_component(aws, "scaled", endpoint, ModelName="small")
    scaling = aws.client("application-autoscaling")
    resource = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "inference-component/scaled",
        "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
    }
    code, message = refuse(
        scaling.register_scalable_target,
        **{**resource, "ResourceId": "inference-component/none"},
        MinCapacity=0,
        MaxCapacity=2,
    )
    assert (code, "does not exist" in message) == ("ValidationException", True)
    scaling.register_scalable_target(**resource, MinCapacity=0, MaxCapacity=2)
    for _ in range(4):
        ask(aws, endpoint, "scaled")
    tracking = {
        "TargetValue": 2.0,
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerInferenceComponentInvocationsPerCopy"
        },
        "ScaleOutCooldown": 0,
        "ScaleInCooldown": 0,
    }
    scaling.put_scaling_policy(
        PolicyName="track",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=tracking,
        **resource,
    )
    wait_for(lambda: count_copies(aws, "scaled"), lambda count: count == 2)
    activities = scaling.describe_scaling_activities(**resource)["ScalingActivities"]
    assert [item["Description"] for item in activities] == ["Setting desired copy count to 2."]
    scaling.deregister_scalable_target(**resource)
    wait_for_component(aws, "scaled")
    delete_component(aws, "scaled")


def count_copies(aws: LocalAws, name: str) -> int:
    described = aws.sagemaker.describe_inference_component(InferenceComponentName=name)
    return int(described["RuntimeConfig"]["CurrentCopyCount"])
