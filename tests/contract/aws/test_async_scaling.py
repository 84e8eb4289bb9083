"""AWS's walk-through "Autoscale an asynchronous endpoint": to no instance and back, by boto3."""

from __future__ import annotations

from pathlib import Path

from botocore.exceptions import ClientError

from tests.contract.aws.client import LocalAws, refuse
from tests.contract.aws.test_endpoints import (
    delete_endpoint,
    make_config,
    make_model,
    wait_until_settled,
)
from tests.support import wait_for

NAME = "queued"
RESOURCE = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": f"endpoint/{NAME}/variant/one",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
DIMENSIONS = [{"Name": "EndpointName", "Value": NAME}]


def make_configs(aws: LocalAws, *names: str) -> None:
    make_model(aws, NAME)
    output = {"S3OutputPath": f"s3://{aws.bucket}/queued/out"}
    variant = {"VariantName": "one", "ModelName": NAME}
    for name in names:
        make_config(aws, name, variant, AsyncInferenceConfig={"OutputConfig": output})


def count_instances(aws: LocalAws) -> int:
    variants = wait_until_settled(aws, NAME)["ProductionVariants"]
    return int(variants[0]["CurrentInstanceCount"])


def put_policies(aws: LocalAws) -> str:
    """Register the variant, let it scale with its backlog, and from zero; return the last's ARN."""
    scaling = aws.client("application-autoscaling")
    scaling.register_scalable_target(**RESOURCE, MinCapacity=0, MaxCapacity=2)
    metric = {
        "MetricName": "ApproximateBacklogSizePerInstance",
        "Namespace": "AWS/SageMaker",
        "Dimensions": DIMENSIONS,
        "Statistic": "Average",
    }
    tracking = {"PolicyName": "track", "PolicyType": "TargetTrackingScaling", **RESOURCE}
    configuration = {"TargetValue": 5.0, "CustomizedMetricSpecification": metric}
    code, message = refuse(
        scaling.put_scaling_policy,
        **tracking,
        TargetTrackingScalingPolicyConfiguration={
            **configuration,
            "CustomizedMetricSpecification": {**metric, "Statistic": "Sum"},
        },
    )
    assert (code, '"Statistic": "Average"' in message) == ("ValidationException", True)
    scaling.put_scaling_policy(**tracking, TargetTrackingScalingPolicyConfiguration=configuration)
    policy = scaling.put_scaling_policy(
        PolicyName="from-zero",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": 300,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
        **RESOURCE,
    )
    return str(policy["PolicyARN"])


def put_alarm(aws: LocalAws, policy: str) -> None:
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName="waiting",
        MetricName="HasBacklogWithoutCapacity",
        Namespace="AWS/SageMaker",
        Statistic="Average",
        EvaluationPeriods=1,
        DatapointsToAlarm=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="missing",
        Dimensions=DIMENSIONS,
        Period=10,
        AlarmActions=[policy],
    )


def is_answered(aws: LocalAws) -> bool:
    try:
        aws.s3.head_object(Bucket=aws.bucket, Key="queued/out/first.out")
    except ClientError:
        return False
    return True


def test_an_endpoint_scales_to_zero_and_a_waiting_request_brings_it_back(tmp_path: Path) -> None:
    with LocalAws(tmp_path).running() as aws:
        make_configs(aws, NAME)
        aws.sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
        wait_until_settled(aws, NAME)
        policy = put_policies(aws)
        wait_for(lambda: count_instances(aws), lambda count: count == 0)

        aws.runtime.invoke_endpoint_async(EndpointName=NAME, InferenceId="first", Body=b"hello")
        aws.interrupt("kill")
        assert count_instances(aws) == 0
        assert not is_answered(aws)
        put_alarm(aws, policy)
        wait_for(lambda: is_answered(aws), bool)
        assert count_instances(aws) == 1
        scaling = aws.client("application-autoscaling")
        activities = scaling.describe_scaling_activities(**RESOURCE)["ScalingActivities"]
        assert [item["Cause"].split(" at ")[0] for item in activities] == [
            "monitor alarm waiting in state ALARM triggered policy from-zero",
            "a load of 0 in the last minute",
        ]


def test_an_endpoint_without_an_instance_is_updated(aws: LocalAws) -> None:
    make_configs(aws, NAME, "retains", "begins")
    aws.sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
    wait_until_settled(aws, NAME)
    none = {"VariantName": "one", "DesiredInstanceCount": 0}
    aws.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=NAME, DesiredWeightsAndCapacities=[none]
    )
    assert count_instances(aws) == 0
    aws.runtime.invoke_endpoint_async(EndpointName=NAME, InferenceId="first", Body=b"hello")
    half = {"Type": "CAPACITY_PERCENT", "Value": 50}
    rolling = {"MaximumBatchSize": half, "WaitIntervalInSeconds": 0}
    aws.sagemaker.update_endpoint(
        EndpointName=NAME,
        EndpointConfigName="retains",
        RetainAllVariantProperties=True,
        DeploymentConfig={"RollingUpdatePolicy": rolling},
    )
    assert count_instances(aws) == 0
    assert not is_answered(aws)
    routing = {"Type": "CANARY", "CanarySize": half, "WaitIntervalInSeconds": 0}
    aws.sagemaker.update_endpoint(
        EndpointName=NAME,
        EndpointConfigName="begins",
        DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
    )
    assert count_instances(aws) == 1
    assert wait_until_settled(aws, NAME)["EndpointConfigName"] == "begins"
    wait_for(lambda: is_answered(aws), bool)
    delete_endpoint(aws, NAME)
