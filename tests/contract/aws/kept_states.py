"""What a local AWS have acknowledged, and how to read it before and after an end."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import boto3

from tests.contract.aws.client import LocalAws
from tests.contract.aws.test_endpoints import make_config, make_model, wait_until_settled
from tests.contract.aws.test_rollouts import put_alarm


@dataclass(frozen=True)
class State:
    """One kind of what is acknowledged."""

    make: Callable[[LocalAws], object]
    read: Callable[[LocalAws], Any]
    """Returns the same before and after a restart."""

    def begin(self, aws: LocalAws) -> Any:
        """Make it, and return what must be read after the restart."""
        self.make(aws)
        return self.read(aws)


def make_records(aws: LocalAws) -> None:
    make_model(aws, "recorded")
    aws.sagemaker.add_tags(
        ResourceArn=aws.sagemaker.describe_model(ModelName="recorded")["ModelArn"],
        Tags=[{"Key": "a", "Value": "b"}],
    )
    variant = {"VariantName": "one", "ModelName": "recorded", "InstanceType": "ml.m5.large"}
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName="recorded", ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
    )
    aws.sagemaker.create_model_package_group(ModelPackageGroupName="recorded")
    container = {"Image": aws.image, "ModelDataUrl": f"s3://{aws.bucket}/models/recorded"}
    inference = {"Containers": [container]}
    inference |= {"SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]}
    aws.sagemaker.create_model_package(
        ModelPackageGroupName="recorded",
        InferenceSpecification=inference,
        ModelApprovalStatus="Approved",
    )
    aws.sagemaker.create_experiment(ExperimentName="recorded")
    document = json.dumps({"Version": "2020-12-01", "Steps": []})
    aws.sagemaker.create_pipeline(
        PipelineName="recorded",
        PipelineDefinition=document,
        RoleArn=aws.role,
        ClientRequestToken="t" * 32,
    )


def read_records(aws: LocalAws) -> Any:
    model = aws.sagemaker.describe_model(ModelName="recorded")
    packages = aws.sagemaker.list_model_packages(ModelPackageGroupName="recorded")
    answers = (
        model,
        aws.sagemaker.list_tags(ResourceArn=model["ModelArn"]),
        aws.sagemaker.describe_endpoint_config(EndpointConfigName="recorded"),
        *packages["ModelPackageSummaryList"],
        aws.sagemaker.describe_experiment(ExperimentName="recorded"),
        aws.sagemaker.describe_pipeline(PipelineName="recorded"),
    )
    return [strip(answer) for answer in answers]


def strip(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def make_objects(aws: LocalAws) -> None:
    aws.s3.create_bucket(Bucket="settings")
    aws.s3.put_object(Bucket="settings", Key="k", Body=b"x", Metadata={"a": "b"}, Tagging="c=d")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    statement["Resource"] = "arn:aws:s3:::settings/*"
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    aws.s3.put_bucket_policy(Bucket="settings", Policy=json.dumps(policy))
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    aws.s3.put_bucket_cors(Bucket="settings", CORSConfiguration={"CORSRules": [rule]})


def read_objects(aws: LocalAws) -> Any:
    found = aws.s3.get_object(Bucket="settings", Key="k")
    return (
        found["Body"].read(),
        found["Metadata"],
        aws.s3.get_object_tagging(Bucket="settings", Key="k")["TagSet"],
        aws.s3.get_bucket_policy(Bucket="settings")["Policy"],
        aws.s3.get_bucket_cors(Bucket="settings")["CORSRules"],
    )


def make_topic(aws: LocalAws) -> None:
    queue = f"arn:aws:sqs:us-east-1:{'0' * 12}:of-topic"
    aws.client("sqs").create_queue(QueueName="of-topic")
    topic = aws.client("sns").create_topic(Name="kept")["TopicArn"]
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    aws.client("sns").publish(TopicArn=topic, Message="hello")


def read_topic(aws: LocalAws) -> Any:
    subscriptions = aws.client("sns").list_subscriptions()["Subscriptions"]
    url = aws.client("sqs").get_queue_url(QueueName="of-topic")["QueueUrl"]
    counted = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    count = counted["Attributes"]["ApproximateNumberOfMessages"]
    return [item["Endpoint"] for item in subscriptions if "of-topic" in item["Endpoint"]], count


def make_queue(aws: LocalAws) -> None:
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName="kept", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
    for body in ("deleted", "waits"):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def read_queue(aws: LocalAws) -> Any:
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName="kept")["QueueUrl"]
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    return [message["Body"] for message in messages]


def make_rule(aws: LocalAws) -> None:
    events = aws.client("events")
    events.put_rule(Name="kept", EventPattern=json.dumps({"source": ["mine"]}))
    target = {"Id": "one", "Arn": f"arn:aws:sqs:us-east-1:{'0' * 12}:of-topic"}
    events.put_targets(Rule="kept", Targets=[target])


def read_rule(aws: LocalAws) -> Any:
    events = aws.client("events")
    described = strip(events.describe_rule(Name="kept"))
    return described, events.list_targets_by_rule(Rule="kept")["Targets"]


def make_function(aws: LocalAws) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("kept.py", "def handle(event, context): return 1")
    aws.client("lambda").create_function(
        FunctionName="kept",
        Runtime="python3.11",
        Handler="kept.handle",
        Role=aws.role,
        Code={"ZipFile": packed.getvalue()},
    )


def read_function(aws: LocalAws) -> Any:
    return aws.client("lambda").get_function(FunctionName="kept")["Configuration"]["CodeSha256"]


def ask(aws: LocalAws, service: str) -> Any:
    """Return a client that does not check answers, as moto's need not fit the model."""
    return boto3.client(
        service,
        endpoint_url=aws.url,
        region_name="us-east-1",
        aws_access_key_id=aws.key.access_key,
        aws_secret_access_key=aws.key.secret_key,
    )


def make_user(aws: LocalAws) -> None:
    iam = ask(aws, "iam")
    iam.create_user(UserName="kept")
    iam.create_access_key(UserName="kept")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    iam.create_role(RoleName="kept", AssumeRolePolicyDocument=trust)
    iam.get_role(RoleName="named-only")
    iam.delete_role(RoleName="named-only")


def read_user(aws: LocalAws) -> Any:
    iam = ask(aws, "iam")
    keys = iam.list_access_keys(UserName="kept")["AccessKeyMetadata"]
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    return [key["AccessKeyId"] for key in keys], "kept" in roles, "named-only" in roles


def make_others(aws: LocalAws) -> None:
    ask(aws, "ecr").create_repository(repositoryName="kept")
    ask(aws, "secretsmanager").create_secret(Name="kept", SecretString="x")
    ask(aws, "ssm").put_parameter(Name="kept", Value="x", Type="String")
    ask(aws, "dynamodb").create_table(
        TableName="kept",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    ask(aws, "dynamodb").put_item(TableName="kept", Item={"k": {"S": "1"}})
    ask(aws, "logs").create_log_group(logGroupName="kept")


def read_others(aws: LocalAws) -> Any:
    return (
        ask(aws, "ecr").describe_repositories(repositoryNames=["kept"])["repositories"],
        ask(aws, "secretsmanager").get_secret_value(SecretId="kept")["SecretString"],
        ask(aws, "ssm").get_parameter(Name="kept")["Parameter"]["Value"],
        ask(aws, "dynamodb").get_item(TableName="kept", Key={"k": {"S": "1"}})["Item"],
        ask(aws, "logs").describe_log_groups(logGroupNamePrefix="kept")["logGroups"],
    )


def make_recorded(aws: LocalAws) -> None:
    aws.sagemaker.create_notebook_instance(
        NotebookInstanceName="kept", InstanceType="ml.t3.medium", RoleArn=aws.role
    )


def read_recorded(aws: LocalAws) -> Any:
    return strip(aws.sagemaker.describe_notebook_instance(NotebookInstanceName="kept"))


def make_alarm(aws: LocalAws) -> None:
    put_alarm(aws, "recorded", "recorded")


def read_alarm(aws: LocalAws) -> Any:
    found = aws.client("cloudwatch").describe_alarms(AlarmNames=["recorded"])
    (alarm,) = found["MetricAlarms"]
    return {name: value for name, value in alarm.items() if "State" not in name}


def make_scaling(aws: LocalAws) -> None:
    make_model(aws, "scaled")
    make_config(aws, "scaled", {"VariantName": "one", "ModelName": "scaled"})
    aws.sagemaker.create_endpoint(EndpointName="scaled", EndpointConfigName="scaled")
    wait_until_settled(aws, "scaled")
    resource = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/scaled/variant/one",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling = aws.client("application-autoscaling")
    scaling.register_scalable_target(**resource, MinCapacity=1, MaxCapacity=2)
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    tracking = {"TargetValue": 1000.0, "PredefinedMetricSpecification": metric}
    scaling.put_scaling_policy(
        PolicyName="track",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=tracking,
        **resource,
    )


def read_scaling(aws: LocalAws) -> Any:
    scaling = aws.client("application-autoscaling")
    return (
        scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"],
        scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"],
    )


STATES: Final[Mapping[str, State]] = {
    "records": State(make_records, read_records),
    "scaling": State(make_scaling, read_scaling),
    "alarm": State(make_alarm, read_alarm),
    "objects": State(make_objects, read_objects),
    "topic": State(make_topic, read_topic),
    "queue": State(make_queue, read_queue),
    "rule": State(make_rule, read_rule),
    "function": State(make_function, read_function),
    "user": State(make_user, read_user),
    "others": State(make_others, read_others),
    "recorded": State(make_recorded, read_recorded),
}


def lose(aws: LocalAws) -> list[str]:
    """Make what a restart loses; return what its report must name."""
    key = ask(aws, "kms").create_key()["KeyMetadata"]["KeyId"]
    datum = {"MetricName": "loss", "Value": 1.0}
    ask(aws, "cloudwatch").put_metric_data(Namespace="mine", MetricData=[datum])
    aws.s3.create_bucket(Bucket="versions")
    aws.s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    return [f"keys {key}", "metrics of mine", "only the latest came back: versions"]
