"""Endpoints of the local AWS: created, changed and deleted by the API, and invoked in every way."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.contract.aws.client import LocalAws, refuse, sum_metric
from tests.support import wait_for


def make_model(aws: LocalAws, name: str, **environment: str) -> None:
    """Create a model whose artifact contains its name."""
    packed = io.BytesIO()
    document = json.dumps({"name": name}).encode()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("model.json")
        entry.size = len(document)
        tar.addfile(entry, io.BytesIO(document))
    key = f"models/{name}/model.tar.gz"
    aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=packed.getvalue())
    container = {
        "Image": aws.image,
        "ModelDataUrl": f"s3://{aws.bucket}/{key}",
        "Environment": environment,
    }
    aws.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=aws.role, PrimaryContainer=container
    )


def make_config(aws: LocalAws, name: str, *variants: dict[str, Any], **members: Any) -> None:
    filled = [
        {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large", **variant}
        for variant in variants
    ]
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=filled, **members
    )


def wait_until_settled(aws: LocalAws, name: str) -> dict[str, Any]:
    described: dict[str, Any] = wait_for(
        lambda: aws.sagemaker.describe_endpoint(EndpointName=name),
        lambda answer: answer["EndpointStatus"] not in ("Creating", "Updating", "SystemUpdating"),
    )
    return described


def delete_endpoint(aws: LocalAws, name: str) -> None:
    aws.sagemaker.delete_endpoint(EndpointName=name)
    wait_for(
        lambda: [
            item["EndpointName"]
            for item in aws.sagemaker.list_endpoints(MaxResults=100)["Endpoints"]
        ],
        lambda names: name not in names,
    )


def invoke(aws: LocalAws, name: str, body: bytes = b"hello", **arguments: Any) -> dict[str, Any]:
    response = aws.runtime.invoke_endpoint(
        EndpointName=name, Body=body, ContentType="text/plain", **arguments
    )
    answer: dict[str, Any] = json.loads(response["Body"].read())
    return {**answer, "variant": response["InvokedProductionVariant"]}


@pytest.fixture(scope="module")
def endpoint(aws: LocalAws) -> Iterator[str]:
    make_model(aws, "served")
    make_config(aws, "served", {"VariantName": "one", "ModelName": "served"})
    aws.sagemaker.create_endpoint(EndpointName="served", EndpointConfigName="served")
    assert wait_until_settled(aws, "served")["EndpointStatus"] == "InService"
    yield "served"
    delete_endpoint(aws, "served")


def test_an_endpoint_answers_with_its_model(aws: LocalAws, endpoint: str) -> None:
    answer = invoke(aws, endpoint, CustomAttributes="trace=1")
    assert answer["model"] == {"name": "served"}
    assert (answer["echo"], answer["variant"], answer["attributes"]) == ("hello", "one", "trace=1")


def test_a_refusal_of_the_container_is_a_model_error(aws: LocalAws, endpoint: str) -> None:
    with pytest.raises(ClientError) as caught:
        aws.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"refuse")
    response = caught.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 415
    assert response["OriginalMessage"] == "no such type"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert (
        refuse(aws.runtime.invoke_endpoint, EndpointName="nowhere", Body=b"x")[0]
        == "ValidationError"
    )
    assert (
        refuse(aws.runtime.invoke_endpoint, EndpointName=endpoint, Body=b"x", TargetVariant="none")[
            0
        ]
        == "ValidationError"
    )


def test_a_stream_arrives_as_events(aws: LocalAws, endpoint: str) -> None:
    response = aws.runtime.invoke_endpoint_with_response_stream(
        EndpointName=endpoint, Body=b"stream me now"
    )
    assert response["ContentType"] == "text/plain"
    parts = [event["PayloadPart"]["Bytes"] for event in response["Body"]]
    assert b"".join(parts) == b"streammenow"
    assert len(parts) == 3


def test_32_clients_at_once_all_get_their_own_answer(aws: LocalAws, endpoint: str) -> None:
    wrong: list[object] = []

    def ask(number: int) -> None:
        for turn in range(5):
            body = f"{number}-{turn}"
            if invoke(aws, endpoint, body.encode())["echo"] != body:
                wrong.append(body)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_names_are_taken_once_and_states_are_respected(aws: LocalAws, endpoint: str) -> None:
    code, message = refuse(
        aws.sagemaker.create_endpoint, EndpointName=endpoint, EndpointConfigName="served"
    )
    assert (code, "Cannot create already existing endpoint" in message) == (
        "ValidationException",
        True,
    )
    code, message = refuse(
        aws.sagemaker.create_endpoint, EndpointName="new", EndpointConfigName="nowhere"
    )
    assert (code, "Could not find endpoint configuration" in message) == (
        "ValidationException",
        True,
    )


def test_an_update_switches_and_a_failing_one_rolls_back(aws: LocalAws) -> None:
    make_model(aws, "old")
    make_model(aws, "new", START_S="1")  # the update lasts long enough to be looked at
    make_model(aws, "broken", NEVER_HEALTHY="1")
    for name in ("old", "new", "broken"):
        make_config(aws, f"to-{name}", {"VariantName": "one", "ModelName": name})
    aws.sagemaker.create_endpoint(EndpointName="changing", EndpointConfigName="to-old")
    wait_until_settled(aws, "changing")

    aws.sagemaker.update_endpoint(EndpointName="changing", EndpointConfigName="to-new")
    code, message = refuse(
        aws.sagemaker.update_endpoint, EndpointName="changing", EndpointConfigName="to-old"
    )
    assert (code, "in-progress" in message) == ("ValidationException", True)
    for name in ("to-old", "to-new"):  # the endpoint comes from one and goes to the other
        code, message = refuse(aws.sagemaker.delete_endpoint_config, EndpointConfigName=name)
        assert (code, "Cannot delete" in message) == ("ValidationException", True)
    described = wait_until_settled(aws, "changing")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "to-new")
    assert invoke(aws, "changing")["model"] == {"name": "new"}

    aws.sagemaker.update_endpoint(EndpointName="changing", EndpointConfigName="to-broken")
    described = wait_until_settled(aws, "changing")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "to-new")
    assert "before it answered a ping" in described["FailureReason"]
    assert invoke(aws, "changing")["model"] == {"name": "new"}

    aws.sagemaker.create_endpoint(EndpointName="never", EndpointConfigName="to-broken")
    assert wait_until_settled(aws, "never")["EndpointStatus"] == "Failed"
    logs = aws.client("logs")
    streams = logs.describe_log_streams(logGroupName="/aws/sagemaker/Endpoints/never")["logStreams"]
    events = logs.get_log_events(
        logGroupName="/aws/sagemaker/Endpoints/never",
        logStreamName=streams[0]["logStreamName"],
        startFromHead=True,
    )["events"]
    assert [event["message"] for event in events] == ["I do not come up"]
    delete_endpoint(aws, "never")
    delete_endpoint(aws, "changing")


def test_weights_and_capacities_change_without_new_models(aws: LocalAws) -> None:
    make_model(aws, "a")
    make_model(aws, "b")
    variants = [
        {"VariantName": name, "ModelName": name, "InitialVariantWeight": 1} for name in ("a", "b")
    ]
    make_config(aws, "weighted", *variants)
    aws.sagemaker.create_endpoint(EndpointName="weighted", EndpointConfigName="weighted")
    wait_until_settled(aws, "weighted")
    assert {invoke(aws, "weighted")["model"]["name"] for _ in range(40)} == {"a", "b"}
    assert invoke(aws, "weighted", TargetVariant="b")["variant"] == "b"

    wishes = [
        {"VariantName": "a", "DesiredWeight": 0},
        {"VariantName": "b", "DesiredInstanceCount": 2},
    ]
    aws.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="weighted", DesiredWeightsAndCapacities=wishes
    )
    described = wait_until_settled(aws, "weighted")
    shown = {item["VariantName"]: item for item in described["ProductionVariants"]}
    assert (shown["a"]["CurrentWeight"], shown["b"]["CurrentInstanceCount"]) == (0, 2)
    assert {invoke(aws, "weighted")["model"]["name"] for _ in range(20)} == {"b"}
    delete_endpoint(aws, "weighted")


def listen(aws: LocalAws, name: str) -> str:
    """Create a queue of a topic, and of a rule for the events of an endpoint; return the topic."""
    sqs, sns, events = aws.client("sqs"), aws.client("sns"), aws.client("events")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn = queue["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    pattern = {"source": ["aws.sagemaker"], "detail": {"EndpointName": [name]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    return str(topic)


def receive(aws: LocalAws, name: str) -> list[dict[str, Any]]:
    """Take what has come to a queue."""
    url = aws.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    found = aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in found.get("Messages", [])]


def collect(aws: LocalAws, name: str, count: int) -> list[dict[str, Any]]:
    """Wait until a queue has got a number of messages."""
    got: list[dict[str, Any]] = []
    while len(got) < count:
        got += wait_for(lambda: receive(aws, name), bool)
    return got


def test_an_asynchronous_request_answers_in_s3(aws: LocalAws) -> None:
    make_model(aws, "later")
    output = {
        "S3OutputPath": f"s3://{aws.bucket}/async/out",
        "S3FailurePath": f"s3://{aws.bucket}/async/failed",
        "NotificationConfig": dict.fromkeys(("SuccessTopic", "ErrorTopic"), listen(aws, "later")),
    }
    variant = {"VariantName": "one", "ModelName": "later"}
    make_config(aws, "later", variant, AsyncInferenceConfig={"OutputConfig": output})
    aws.sagemaker.create_endpoint(EndpointName="later", EndpointConfigName="later")
    wait_until_settled(aws, "later")
    for key, body in (("good", b"asked"), ("bad", b"refuse")):
        aws.s3.put_object(Bucket=aws.bucket, Key=f"async/{key}", Body=body)
        receipt = aws.runtime.invoke_endpoint_async(
            EndpointName="later", InputLocation=f"s3://{aws.bucket}/async/{key}", InferenceId=key
        )
        assert receipt["ResponseMetadata"]["HTTPStatusCode"] == 202
        place = receipt["OutputLocation" if key == "good" else "FailureLocation"].removeprefix(
            f"s3://{aws.bucket}/"
        )
        wait_for(
            lambda place=place: aws.s3.list_objects_v2(Bucket=aws.bucket, Prefix=place)["KeyCount"],
            lambda count: count == 1,
        )
        stored = aws.s3.get_object(Bucket=aws.bucket, Key=place)["Body"].read()
        assert (b"asked" if key == "good" else b"no such type") in stored
    code, message = refuse(aws.runtime.invoke_endpoint, EndpointName="later", Body=b"x")
    assert (code, "use InvokeEndpointAsync" in message) == ("ValidationError", True)
    named = {"EndpointName": "later", "VariantName": "one"}
    wait_for(lambda: sum_metric(aws, "InvocationsProcessed", **named), lambda total: total == 2)
    counts = {"Invocation4XXErrors": 1, "InvocationFailures": 1, "Invocations": 0}
    assert {name: sum_metric(aws, name, **named) for name in counts} == counts
    with urllib.request.urlopen(f"{aws.url}/console/endpoint/later") as response:
        page = response.read().decode()
    shown = ('data-label="Requests">2<', 'data-label="4xx">1<', f"s3://{aws.bucket}/async/out")
    assert [text for text in shown if text not in page] == []
    delete_endpoint(aws, "later")
    received = collect(aws, "later", 5)
    results = [json.loads(item["Message"]) for item in received if "Message" in item]
    assert {item["inferenceId"]: item["invocationStatus"] for item in results} == {
        "good": "Completed",
        "bad": "Failed",
    }
    events = [item["detail"]["EndpointStatus"] for item in received if "detail" in item]
    assert events == ["CREATING", "IN_SERVICE", "DELETING"]


def test_only_an_approved_package_is_deployed(aws: LocalAws) -> None:
    make_model(aws, "packaged")
    aws.sagemaker.create_model_package_group(ModelPackageGroupName="digits")
    specification = {
        "Containers": [
            {"Image": aws.image, "ModelDataUrl": f"s3://{aws.bucket}/models/packaged/model.tar.gz"}
        ],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    arns = [
        aws.sagemaker.create_model_package(
            ModelPackageGroupName="digits", InferenceSpecification=specification
        )["ModelPackageArn"]
        for _ in range(2)
    ]
    assert [arn.rpartition("/")[2] for arn in arns] == ["1", "2"]
    assert (
        aws.sagemaker.describe_model_package(ModelPackageName=arns[1])["ModelApprovalStatus"]
        == "PendingManualApproval"
    )

    container = {"ModelPackageName": arns[1]}
    arguments = {
        "ModelName": "of-package",
        "ExecutionRoleArn": aws.role,
        "PrimaryContainer": container,
    }
    assert refuse(aws.sagemaker.create_model, **arguments)[0] == "ValidationException"
    aws.sagemaker.update_model_package(ModelPackageArn=arns[1], ModelApprovalStatus="Approved")
    listed = aws.sagemaker.list_model_packages(
        ModelPackageGroupName="digits", ModelApprovalStatus="Approved"
    )
    assert [item["ModelPackageVersion"] for item in listed["ModelPackageSummaryList"]] == [2]
    aws.sagemaker.create_model(**arguments)

    make_config(aws, "of-package", {"VariantName": "one", "ModelName": "of-package"})
    aws.sagemaker.create_endpoint(EndpointName="of-package", EndpointConfigName="of-package")
    wait_until_settled(aws, "of-package")
    assert invoke(aws, "of-package")["model"] == {"name": "packaged"}
    delete_endpoint(aws, "of-package")
    assert (
        refuse(aws.sagemaker.delete_model_package_group, ModelPackageGroupName="digits")[0]
        == "ConflictException"
    )
    for arn in arns:
        aws.sagemaker.delete_model_package(ModelPackageName=arn)
    aws.sagemaker.delete_model_package_group(ModelPackageGroupName="digits")


def test_a_batch_transform_writes_one_answer_for_each_object(aws: LocalAws) -> None:
    make_model(aws, "batch")
    aws.s3.put_object(Bucket=aws.bucket, Key="batch/in/a.csv", Body=b"1\n2\n3\n")
    aws.sagemaker.create_transform_job(
        TransformJobName="batch",
        ModelName="batch",
        TransformInput={
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{aws.bucket}/batch/in/"}
            },
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        TransformOutput={"S3OutputPath": f"s3://{aws.bucket}/batch/out", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        BatchStrategy="SingleRecord",
    )
    described = wait_for(
        lambda: aws.sagemaker.describe_transform_job(TransformJobName="batch"),
        lambda answer: answer["TransformJobStatus"] != "InProgress",
    )
    assert described["TransformJobStatus"] == "Completed", described.get("FailureReason")
    body = aws.s3.get_object(Bucket=aws.bucket, Key="batch/out/a.csv.out")["Body"].read()
    assert [json.loads(line)["echo"].strip() for line in body.splitlines()] == ["1", "2", "3"]


def test_target_tracking_adds_and_removes_real_servers(aws: LocalAws) -> None:
    make_model(aws, "scaled")
    make_config(aws, "scaled", {"VariantName": "one", "ModelName": "scaled"})
    aws.sagemaker.create_endpoint(EndpointName="scaled", EndpointConfigName="scaled")
    wait_until_settled(aws, "scaled")
    scaling = aws.client("application-autoscaling")
    resource = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/scaled/variant/one",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    code, _ = refuse(
        scaling.register_scalable_target, **{**resource, "ResourceId": "endpoint/no/variant/one"}
    )
    assert code == "ValidationException"
    scaling.register_scalable_target(**resource, MinCapacity=1, MaxCapacity=3)

    def put_policy(target: float) -> None:
        tracking = {
            "TargetValue": target,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
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

    def count_servers() -> int:
        variants = aws.sagemaker.describe_endpoint(EndpointName="scaled")["ProductionVariants"]
        return int(variants[0]["CurrentInstanceCount"])

    for _ in range(20):
        invoke(aws, "scaled")
    put_policy(5)
    wait_for(count_servers, lambda count: count == 3)
    assert len({invoke(aws, "scaled")["port"] for _ in range(9)}) == 3
    put_policy(1000)
    wait_for(count_servers, lambda count: count == 1)
    activities = scaling.describe_scaling_activities(**resource)["ScalingActivities"]
    assert [item["Description"] for item in activities] == [
        "Setting desired instance count to 1.",
        "Setting desired instance count to 3.",
    ]
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert [policy["PolicyName"] for policy in policies] == ["track"]
    scaling.deregister_scalable_target(**resource)
    assert not scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    wait_until_settled(aws, "scaled")

    named = {"EndpointName": "scaled", "VariantName": "one"}
    wait_for(lambda: sum_metric(aws, "Invocations", **named), lambda total: total == 29)
    delete_endpoint(aws, "scaled")
