"""The calls of AWS's own walk-throughs in boto3, in order, each with its outcome.

A row is the client and method, its arguments, and what follows: nothing if it works, a part of the
answer as `path=value`, or the error's code and a word of its message. `BUCKET`, `IMAGE` and `ROLE`
stand for those of the local AWS. A row `wait` uses boto3's waiter of that name, and `poll` repeats
the call until its answer is the one given. `$path` stands for a part of the answer before.
"""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

ARN: Final = "arn:aws:sagemaker:us-east-1:000000000000"
BUCKET: Final = "sagemaker-us-east-1-000000000000"
IMAGE: Final = "000000000000.dkr.ecr.us-east-1.amazonaws.com/user:1"
ROLE: Final = "arn:aws:iam::000000000000:role/test"


class Call(NamedTuple):
    """A row of the table."""

    walk: str
    method: str
    """Such as `sagemaker.create_model`, or `sagemaker.wait:endpoint_in_service`."""
    arguments: dict[str, Any]
    answers: dict[str, Any]
    """Parts of the answer by their path; the last part may be a number."""
    error: str = ""
    """The code of the error that it must raise."""
    says: str = ""
    """A part of the error's message."""

    @property
    def name(self) -> str:
        """Name it for a report."""
        return f"{self.walk}: {self.method}({', '.join(map(str, self.arguments.values()))[:60]})"


CALLS: Final[list[Call]] = []
_walk = [""]


def walk(name: str) -> None:
    """Begin a walk-through."""
    _walk[0] = name


def ok(method: str, _answers: dict[str, Any] | None = None, **arguments: Any) -> None:
    """Add a call that works."""
    CALLS.append(Call(_walk[0], method, arguments, _answers or {}))


def no(error: str, says: str, method: str, **arguments: Any) -> None:
    """Add a call that is refused."""
    CALLS.append(Call(_walk[0], method, arguments, {}, error, says))


def channel(name: str, prefix: str, **changes: Any) -> dict[str, Any]:
    """Return an input channel."""
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://{BUCKET}/{prefix}",
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **changes}


def training(name: str, **changes: Any) -> dict[str, Any]:
    """Return a training job as the notebooks send it."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "validation:accuracy", "Regex": "validation_accuracy=([0-9.]+);"}
            ],
        },
        "RoleArn": ROLE,
        "InputDataConfig": [channel("train", "calls/train/", ContentType="text/csv")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/calls/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "HyperParameters": {"epochs": "2", "learning_rate": "0.03"},
        **changes,
    }


ARTIFACT: Final = f"s3://{BUCKET}/calls/output/calls-train/output/model.tar.gz"
CONTAINER: Final = {"Image": IMAGE, "ModelDataUrl": ARTIFACT}
VARIANT: Final = {
    "VariantName": "AllTraffic",
    "ModelName": "calls-model",
    "InitialInstanceCount": 1,
    "InstanceType": "ml.m5.large",
    "InitialVariantWeight": 1.0,
}
TRANSFORM: Final = {
    "TransformJobName": "calls-transform",
    "ModelName": "calls-model",
    "TransformInput": {
        "DataSource": {
            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/calls/train/"}
        },
        "ContentType": "text/csv",
        "SplitType": "Line",
    },
    "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/calls/transformed", "AssembleWith": "Line"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}
TAGS: Final = [{"Key": "team", "Value": "ml"}, {"Key": "stage", "Value": "dev"}]
INVALID, MISSING = "ValidationException", "Could not find"

walk("account")
ok("sts.get_caller_identity", {"Account": "000000000000"})
ok("iam.list_roles")
ok(
    "iam.create_role",
    {"Role.RoleName": "calls-role"},
    RoleName="calls-role",
    AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", '
    '"Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}]}',
)
ok("iam.get_role", {"Role.Arn": "arn:aws:iam::000000000000:role/calls-role"}, RoleName="calls-role")
ok(
    "iam.attach_role_policy",
    RoleName="calls-role",
    PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess",
)
ok(
    "iam.list_attached_role_policies",
    {"AttachedPolicies.0.PolicyName": "AmazonSageMakerFullAccess"},
    RoleName="calls-role",
)
ok("iam.get_role", {"Role.RoleName": "any-role"}, RoleName="any-role")  # each exists here
ok("sts.assume_role", RoleArn="arn:aws:iam::000000000000:role/calls-role", RoleSessionName="calls")

walk("data in S3")
ok("s3.list_buckets")
ok("s3.create_bucket", Bucket="calls-bucket")
ok("s3.head_bucket", Bucket="calls-bucket")
no("404", "Not Found", "s3.head_bucket", Bucket="calls-no-such-bucket")
for number, body in enumerate((b"1,2\n3,4\n", b"5,6\n")):
    ok("s3.put_object", Bucket=BUCKET, Key=f"calls/train/part-{number}.csv", Body=body)
ok("s3.put_object", Bucket=BUCKET, Key="calls/input.csv", Body=b"1,2\n", ContentType="text/csv")
ok(
    "s3.list_objects_v2",
    {"KeyCount": 2, "Contents.0.Key": "calls/train/part-0.csv"},
    Bucket=BUCKET,
    Prefix="calls/train/",
)
ok("s3.list_objects", {"Contents.1.Size": 4}, Bucket=BUCKET, Prefix="calls/train/")
ok("s3.head_object", {"ContentLength": 8}, Bucket=BUCKET, Key="calls/train/part-0.csv")
ok("s3.get_object", {"ContentType": "text/csv"}, Bucket=BUCKET, Key="calls/input.csv")
no("NoSuchKey", "does not exist", "s3.get_object", Bucket=BUCKET, Key="calls/none")
no("NoSuchBucket", "does not exist", "s3.list_objects_v2", Bucket="calls-no-such-bucket")
ok(
    "s3.copy_object",
    Bucket="calls-bucket",
    Key="copy.csv",
    CopySource={"Bucket": BUCKET, "Key": "calls/input.csv"},
)
ok("s3.delete_object", Bucket="calls-bucket", Key="copy.csv")
ok("s3.delete_bucket", Bucket="calls-bucket")
ok("s3.get_bucket_location", Bucket=BUCKET)
ok("s3.wait:object_exists", Bucket=BUCKET, Key="calls/input.csv")

walk("train")
ok(
    "sagemaker.create_training_job",
    {"TrainingJobArn": f"{ARN}:training-job/calls-train"},
    **training("calls-train", Tags=TAGS),
)
no("ResourceInUse", "already", "sagemaker.create_training_job", **training("calls-train"))
ok(
    "sagemaker.create_training_job",
    **training("calls-fails", HyperParameters={"failure": "no such column"}),
)
ok(
    "sagemaker.create_training_job",
    **training("calls-stops", HyperParameters={"epochs": "9000", "epoch_s": "0.1"}),
)
ok(
    "sagemaker.describe_training_job",
    {"TrainingJobName": "calls-stops"},
    TrainingJobName="calls-stops",
)
ok("sagemaker.stop_training_job", TrainingJobName="calls-stops")
for name in ("calls-train", "calls-stops"):
    ok("sagemaker.wait:training_job_completed_or_stopped", TrainingJobName=name)
no(
    "waiter",
    'matched expected path: "Failed"',
    "sagemaker.wait:training_job_completed_or_stopped",
    TrainingJobName="calls-fails",
)
ok(
    "sagemaker.describe_training_job",
    {
        "TrainingJobStatus": "Completed",
        "ModelArtifacts.S3ModelArtifacts": ARTIFACT,
        "SecondaryStatusTransitions.0.Status": "Starting",
        "FinalMetricDataList.0.MetricName": "validation:accuracy",
        "EnableNetworkIsolation": False,
    },
    TrainingJobName="calls-train",
)
ok(
    "sagemaker.describe_training_job",
    {"TrainingJobStatus": "Failed", "FailureReason": "no such column"},
    TrainingJobName="calls-fails",
)
ok(
    "sagemaker.describe_training_job",
    {"TrainingJobStatus": "Stopped", "SecondaryStatus": "Stopped"},
    TrainingJobName="calls-stops",
)
no(INVALID, "", "sagemaker.stop_training_job", TrainingJobName="calls-train")
no(INVALID, "not found", "sagemaker.describe_training_job", TrainingJobName="calls-none")
no(INVALID, "not found", "sagemaker.stop_training_job", TrainingJobName="calls-none")
ok(
    "sagemaker.list_training_jobs",
    {"TrainingJobSummaries.0.TrainingJobStatus": "Failed"},
    NameContains="calls-fails",
)
ok("sagemaker.list_training_jobs", StatusEquals="Completed", MaxResults=5, SortBy="Name")
ok("sagemaker.list_training_jobs", SortBy="CreationTime", SortOrder="Descending", MaxResults=1)
for field, value in (
    ("InputDataConfig", [channel("train", "calls/none/")]),
    ("ResourceConfig", {"InstanceType": "ml.x9.large", "InstanceCount": 1, "VolumeSizeInGB": 5}),
    ("ResourceConfig", {"InstanceType": "ml.m5.large", "InstanceCount": 0, "VolumeSizeInGB": 5}),
    ("StoppingCondition", {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 900}),
    ("RoleArn", "a-role"),
    ("HyperParameters", {"k": "v" * 3000}),
    ("InputDataConfig", [channel("train", "calls/train/"), channel("train", "calls/train/")]),
    ("OutputDataConfig", {"S3OutputPath": "calls/output"}),
):
    no(INVALID, "", "sagemaker.create_training_job", **training("calls-bad", **{field: value}))
no(INVALID, "", "sagemaker.create_training_job", **training("calls_bad"))
for identity, definition in (
    (
        "spot",
        {
            "EnableManagedSpotTraining": True,
            "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
        },
    ),
    ("environment", {"Environment": {"LEVEL": "debug"}}),
    ("isolated", {"EnableNetworkIsolation": True}),
    ("checkpoints", {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/calls/checkpoints"}}),
    ("pipe", {"InputDataConfig": [channel("train", "calls/train/", InputMode="FastFile")]}),
):
    ok("sagemaker.create_training_job", **training(f"calls-{identity}", **definition))
for identity in ("spot", "environment", "isolated", "checkpoints", "pipe"):
    ok("sagemaker.wait:training_job_completed_or_stopped", TrainingJobName=f"calls-{identity}")
ok(
    "sagemaker.describe_training_job",
    {"TrainingJobStatus": "Completed", "EnableManagedSpotTraining": True},
    TrainingJobName="calls-spot",
)
ok(
    "sagemaker.describe_training_job",
    {"Environment.LEVEL": "debug"},
    TrainingJobName="calls-environment",
)
ok(
    "sagemaker.describe_training_job",
    {"TrainingJobStatus": "Completed"},
    TrainingJobName="calls-isolated",
)
ok(
    "sagemaker.describe_training_job",
    {"CheckpointConfig.S3Uri": f"s3://{BUCKET}/calls/checkpoints"},
    TrainingJobName="calls-checkpoints",
)
ok("sagemaker.delete_training_job", TrainingJobName="calls-pipe")
no(INVALID, "not found", "sagemaker.describe_training_job", TrainingJobName="calls-pipe")

walk("logs and metrics")
GROUP: Final = "/aws/sagemaker/TrainingJobs"
ok("logs.describe_log_groups", {"logGroups.0.logGroupName": GROUP}, logGroupNamePrefix=GROUP)
ok(
    "logs.describe_log_streams",
    {"logStreams.1": None},
    logGroupName=GROUP,
    logStreamNamePrefix="calls-train/",
)
ok(
    "logs.get_log_events",
    {"events.0.message": "epoch=0; validation_accuracy=0.5000;"},
    logGroupName=GROUP,
    logStreamName="$logStreams.0.logStreamName",
    startFromHead=True,
)
ok(
    "logs.filter_log_events",
    {"events.1.message": "epoch=1; validation_accuracy=0.7500;"},
    logGroupName=GROUP,
    logStreamNamePrefix="calls-train/",
    filterPattern="validation_accuracy",
)
no(
    "ResourceNotFoundException",
    "does not exist",
    "logs.get_log_events",
    logGroupName=GROUP,
    logStreamName="calls-none/algo-1",
)
ok("cloudwatch.list_metrics", Namespace="/aws/sagemaker/TrainingJobs")
ok(
    "cloudwatch.put_metric_data",
    Namespace="calls",
    MetricData=[{"MetricName": "loss", "Value": 0.5}],
)
ok("cloudwatch.list_metrics", {"Metrics.0.MetricName": "loss"}, Namespace="calls")
ok(
    "cloudwatch.get_metric_statistics",
    Namespace="calls",
    MetricName="loss",
    StartTime=0,
    EndTime=2_000_000_000,
    Period=60_000_000,
    Statistics=["Average"],
)
no(
    "InvalidParameterCombination",
    "exceeds the limit of 1,440",
    "cloudwatch.get_metric_statistics",
    Namespace="calls",
    MetricName="loss",
    StartTime=0,
    EndTime=2_000_000_000,
    Period=60,
    Statistics=["Average"],
)
no(
    "InvalidParameterCombination",
    "use GetMetricData",
    "cloudwatch.get_metric_statistics",
    Namespace="calls",
    MetricName="loss",
    StartTime=1_900_000_000,
    EndTime=1_900_000_060,
    Period=60,
    ExtendedStatistics=["p99"],
)
LOSS: Final = {
    "Metric": {"Namespace": "calls", "MetricName": "loss"},
    "Period": 60,
    "Stat": "Average",
}
ok(
    "cloudwatch.get_metric_data",
    {"MetricDataResults.0.Values.0": 0.5, "MetricDataResults.0.Values.1": None},
    StartTime=0,
    EndTime=4_000_000_000,
    MetricDataQueries=[{"Id": "loss", "MetricStat": LOSS}],
)
no(
    "ValidationError",
    "metric math",
    "cloudwatch.get_metric_data",
    StartTime=0,
    EndTime=4_000_000_000,
    MetricDataQueries=[
        {"Id": "loss", "MetricStat": LOSS},
        {"Id": "twice", "Expression": "loss * 2"},
    ],
)
no(
    "ValidationError",
    "EvaluationPeriods",
    "cloudwatch.put_metric_alarm",
    AlarmName="calls-forever",
    Namespace="calls",
    MetricName="loss",
    Statistic="Average",
    Period=60,
    EvaluationPeriods=10**9,
    Threshold=1,
    ComparisonOperator="GreaterThanThreshold",
)
ok(
    "cloudwatch.put_metric_alarm",
    AlarmName="calls-errors",
    Namespace="AWS/SageMaker",
    MetricName="Invocation5XXErrors",
    Statistic="Sum",
    Period=60,
    EvaluationPeriods=1,
    Threshold=1,
    ComparisonOperator="GreaterThanThreshold",
)
ok(
    "cloudwatch.describe_alarms",
    {"MetricAlarms.0.AlarmName": "calls-errors"},
    AlarmNames=["calls-errors"],
)
ok("cloudwatch.set_alarm_state", AlarmName="calls-errors", StateValue="ALARM", StateReason="a test")
ok("cloudwatch.delete_alarms", AlarmNames=["calls-errors"])

walk("model")
ok(
    "sagemaker.create_model",
    {"ModelArn": f"{ARN}:model/calls-model"},
    ModelName="calls-model",
    PrimaryContainer=CONTAINER,
    ExecutionRoleArn=ROLE,
    Tags=TAGS,
)
no(
    INVALID,
    "already exist",
    "sagemaker.create_model",
    ModelName="calls-model",
    PrimaryContainer=CONTAINER,
    ExecutionRoleArn=ROLE,
)
ok("sagemaker.create_model", ModelName="calls-list", Containers=[CONTAINER], ExecutionRoleArn=ROLE)
ok(
    "sagemaker.describe_model",
    {"PrimaryContainer.ModelDataUrl": ARTIFACT, "ExecutionRoleArn": ROLE},
    ModelName="calls-model",
)
no(INVALID, MISSING, "sagemaker.describe_model", ModelName="calls-none")
no(
    INVALID,
    "",
    "sagemaker.create_model",
    ModelName="calls-bad",
    PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/none.tar.gz"},
    ExecutionRoleArn=ROLE,
)
no(INVALID, "", "sagemaker.create_model", ModelName="calls-bad", ExecutionRoleArn=ROLE)
no(
    INVALID,
    "",
    "sagemaker.create_model",
    ModelName="calls bad",
    PrimaryContainer=CONTAINER,
    ExecutionRoleArn=ROLE,
)
ok("sagemaker.list_models", {"Models.0.ModelName": "calls-list"}, NameContains="calls-list")
ok("sagemaker.list_models", MaxResults=1, SortBy="CreationTime")
ok("sagemaker.delete_model", ModelName="calls-list")
no(INVALID, MISSING, "sagemaker.delete_model", ModelName="calls-list")

walk("endpoint")
ok(
    "sagemaker.create_endpoint_config",
    EndpointConfigName="calls-config",
    ProductionVariants=[VARIANT],
    Tags=TAGS,
)
no(
    INVALID,
    "already exist",
    "sagemaker.create_endpoint_config",
    EndpointConfigName="calls-config",
    ProductionVariants=[VARIANT],
)
no(
    INVALID,
    MISSING,
    "sagemaker.create_endpoint_config",
    EndpointConfigName="calls-bad",
    ProductionVariants=[{**VARIANT, "ModelName": "calls-none"}],
)
ok(
    "sagemaker.describe_endpoint_config",
    {"ProductionVariants.0.InitialVariantWeight": 1.0},
    EndpointConfigName="calls-config",
)
no(INVALID, MISSING, "sagemaker.describe_endpoint_config", EndpointConfigName="calls-none")
ok(
    "sagemaker.list_endpoint_configs",
    {"EndpointConfigs.0.EndpointConfigName": "calls-config"},
    NameContains="calls-config",
)
no(
    INVALID,
    MISSING,
    "sagemaker.create_endpoint",
    EndpointName="calls",
    EndpointConfigName="calls-none",
)
ok(
    "sagemaker.create_endpoint",
    {"EndpointArn": f"{ARN}:endpoint/calls"},
    EndpointName="calls",
    EndpointConfigName="calls-config",
)
no(
    INVALID,
    "already exist",
    "sagemaker.create_endpoint",
    EndpointName="calls",
    EndpointConfigName="calls-config",
)
ok("sagemaker.wait:endpoint_in_service", EndpointName="calls")
ok(
    "sagemaker.describe_endpoint",
    {"EndpointStatus": "InService", "ProductionVariants.0.CurrentInstanceCount": 1},
    EndpointName="calls",
)
ok(
    "sagemaker.list_endpoints",
    {"Endpoints.0.EndpointName": "calls"},
    NameContains="calls",
    StatusEquals="InService",
)
ok(
    "runtime.invoke_endpoint",
    {"InvokedProductionVariant": "AllTraffic", "ContentType": "application/json"},
    EndpointName="calls",
    Body=b"1,2",
    ContentType="text/csv",
)
ok(
    "runtime.invoke_endpoint",
    EndpointName="calls",
    Body=b"1,2",
    ContentType="text/csv",
    Accept="application/json",
)
ok(
    "runtime.invoke_endpoint",
    EndpointName="calls",
    Body=b"1,2",
    TargetVariant="AllTraffic",
    InferenceId="calls-1",
)
ok("runtime.invoke_endpoint", EndpointName="calls", Body=b"1,2", CustomAttributes="trace=7")
no("ValidationError", "", "runtime.invoke_endpoint", EndpointName="calls-none", Body=b"1,2")
no(
    "ValidationError",
    "",
    "runtime.invoke_endpoint",
    EndpointName="calls",
    Body=b"1,2",
    TargetVariant="Canary",
)
no(
    "ValidationError",
    "",
    "runtime.invoke_endpoint",
    EndpointName="calls",
    Body=b"1,2",
    TargetModel="a.tar.gz",
)
no("ModelError", "", "runtime.invoke_endpoint", EndpointName="calls", Body=b"refuse")
no(
    "ValidationError",
    "",
    "runtime.invoke_endpoint_async",
    EndpointName="calls",
    InputLocation=f"s3://{BUCKET}/calls/input.csv",
)
ok(
    "sagemaker.update_endpoint_weights_and_capacities",
    EndpointName="calls",
    DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredWeight": 2.0}],
)
ok("sagemaker.wait:endpoint_in_service", EndpointName="calls")
ok("sagemaker.describe_endpoint", {"ProductionVariants.0.CurrentWeight": 2.0}, EndpointName="calls")
ok(
    "sagemaker.create_endpoint_config",
    EndpointConfigName="calls-two",
    ProductionVariants=[VARIANT, {**VARIANT, "VariantName": "Canary", "InitialVariantWeight": 0.1}],
)
no(
    INVALID,
    MISSING,
    "sagemaker.update_endpoint",
    EndpointName="calls",
    EndpointConfigName="calls-none",
)
CANARY: Final = {
    "Type": "CANARY",
    "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 60},
    "WaitIntervalInSeconds": 0,
}
no(
    INVALID,
    "expected 1 to 50 percent",
    "sagemaker.update_endpoint",
    EndpointName="calls",
    EndpointConfigName="calls-two",
    DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": CANARY}},
)
ok("sagemaker.update_endpoint", EndpointName="calls", EndpointConfigName="calls-two")
ok("sagemaker.wait:endpoint_in_service", EndpointName="calls")
ok(
    "sagemaker.describe_endpoint",
    {"ProductionVariants.1.VariantName": "Canary", "EndpointConfigName": "calls-two"},
    EndpointName="calls",
)
ok(
    "runtime.invoke_endpoint",
    {"InvokedProductionVariant": "Canary"},
    EndpointName="calls",
    Body=b"1,2",
    TargetVariant="Canary",
)
ok("sagemaker.delete_endpoint_config", EndpointConfigName="calls-config")
no(INVALID, MISSING, "sagemaker.delete_endpoint_config", EndpointConfigName="calls-config")

walk("autoscaling")
SCALING: Final = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/calls/variant/Canary"}
DIMENSION: Final = "sagemaker:variant:DesiredInstanceCount"
ok(
    "autoscaling.register_scalable_target",
    **SCALING,
    ScalableDimension=DIMENSION,
    MinCapacity=1,
    MaxCapacity=2,
)
ok(
    "autoscaling.describe_scalable_targets",
    {"ScalableTargets.0.MaxCapacity": 2},
    ServiceNamespace="sagemaker",
    ResourceIds=[SCALING["ResourceId"]],
)
ok(
    "autoscaling.put_scaling_policy",
    **SCALING,
    ScalableDimension=DIMENSION,
    PolicyName="calls-policy",
    PolicyType="TargetTrackingScaling",
    TargetTrackingScalingPolicyConfiguration={
        "TargetValue": 70.0,
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
        },
        "ScaleInCooldown": 300,
        "ScaleOutCooldown": 60,
    },
)
ok(
    "autoscaling.describe_scaling_policies",
    {"ScalingPolicies.0.PolicyName": "calls-policy"},
    ServiceNamespace="sagemaker",
    ResourceId=SCALING["ResourceId"],
)
ok(
    "autoscaling.describe_scaling_activities",
    ServiceNamespace="sagemaker",
    ResourceId=SCALING["ResourceId"],
)
ok(
    "autoscaling.delete_scaling_policy",
    **SCALING,
    ScalableDimension=DIMENSION,
    PolicyName="calls-policy",
)
ok("autoscaling.deregister_scalable_target", **SCALING, ScalableDimension=DIMENSION)
no(
    "ObjectNotFoundException",
    "",
    "autoscaling.deregister_scalable_target",
    **SCALING,
    ScalableDimension=DIMENSION,
)
no(
    INVALID,
    "",
    "autoscaling.register_scalable_target",
    ServiceNamespace="sagemaker",
    ResourceId="endpoint/none/variant/x",
    ScalableDimension=DIMENSION,
    MinCapacity=1,
    MaxCapacity=2,
)

walk("inference components")
COMPONENT: Final = {"InferenceComponentName": "calls-component"}
SPECIFICATION: Final = {
    "ModelName": "calls-model",
    "StartupParameters": {"ContainerStartupHealthCheckTimeoutInSeconds": 600},
    "ComputeResourceRequirements": {
        "NumberOfCpuCoresRequired": 1.0,
        "NumberOfAcceleratorDevicesRequired": 1.0,
        "MinMemoryRequiredInMb": 1024,
    },
}
SHARED_VARIANT: Final = {
    "VariantName": "AllTraffic",
    "InstanceType": "ml.g5.2xlarge",
    "InitialInstanceCount": 1,
    "ModelDataDownloadTimeoutInSeconds": 3600,
    "ContainerStartupHealthCheckTimeoutInSeconds": 3600,
    "ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": 2},
    "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
}
no(
    INVALID,
    "set ExecutionRoleArn",
    "sagemaker.create_endpoint_config",
    EndpointConfigName="calls-shared",
    ProductionVariants=[SHARED_VARIANT],
)
ok(
    "sagemaker.create_endpoint_config",
    EndpointConfigName="calls-shared",
    ExecutionRoleArn=ROLE,
    ProductionVariants=[SHARED_VARIANT],
)
ok("sagemaker.create_endpoint", EndpointName="calls-shared", EndpointConfigName="calls-shared")
ok("sagemaker.wait:endpoint_in_service", EndpointName="calls-shared")
no(
    INVALID,
    "variants with a ModelName",
    "sagemaker.create_inference_component",
    **COMPONENT,
    EndpointName="calls",
    Specification=SPECIFICATION,
)
no(
    INVALID,
    "BaseInferenceComponentName: refused here",
    "sagemaker.create_inference_component",
    **COMPONENT,
    EndpointName="calls-shared",
    Specification={
        "BaseInferenceComponentName": "calls-base",
        "Container": {"ArtifactUrl": f"s3://{BUCKET}/adapter.tar.gz"},
    },
)
ok(
    "sagemaker.create_inference_component",
    {"InferenceComponentArn": f"{ARN}:inference-component/calls-component"},
    **COMPONENT,
    EndpointName="calls-shared",
    VariantName="AllTraffic",
    Specification=SPECIFICATION,
    RuntimeConfig={"CopyCount": 1},
    Tags=TAGS,
)
ok(
    "poll:sagemaker.describe_inference_component",
    {"InferenceComponentStatus": "InService", "RuntimeConfig.CurrentCopyCount": 1},
    **COMPONENT,
)
ok(
    "sagemaker.list_inference_components",
    {"InferenceComponents.0.InferenceComponentName": "calls-component"},
    EndpointNameEquals="calls-shared",
    StatusEquals="InService",
)
ok(
    "runtime.invoke_endpoint",
    EndpointName="calls-shared",
    InferenceComponentName="calls-component",
    ContentType="text/csv",
    Body=b"1,2",
)
no(
    "ValidationError",
    "Inference Component Name header is required",
    "runtime.invoke_endpoint",
    EndpointName="calls-shared",
    Body=b"1,2",
)
no(
    INVALID,
    "Cannot delete endpoint with inference component associated",
    "sagemaker.delete_endpoint",
    EndpointName="calls-shared",
)
ok(
    "sagemaker.update_inference_component_runtime_config",
    **COMPONENT,
    DesiredRuntimeConfig={"CopyCount": 0},
)
ok(
    "poll:sagemaker.describe_inference_component",
    {"InferenceComponentStatus": "InService", "RuntimeConfig.CurrentCopyCount": 0},
    **COMPONENT,
)
no(
    "ValidationError",
    "no capacity to process this request",
    "runtime.invoke_endpoint",
    EndpointName="calls-shared",
    InferenceComponentName="calls-component",
    Body=b"1,2",
)
ok("sagemaker.delete_inference_component", **COMPONENT)
ok(
    "poll:sagemaker.list_inference_components",
    {"InferenceComponents": []},
    EndpointNameEquals="calls-shared",
)
no(INVALID, MISSING, "sagemaker.describe_inference_component", **COMPONENT)
ok("sagemaker.delete_endpoint", EndpointName="calls-shared")
ok("sagemaker.delete_endpoint_config", EndpointConfigName="calls-shared")

walk("batch transform")
ok(
    "sagemaker.create_transform_job",
    {"TransformJobArn": f"{ARN}:transform-job/calls-transform"},
    **TRANSFORM,
)
no("ResourceInUse", "", "sagemaker.create_transform_job", **TRANSFORM)
no(
    INVALID,
    MISSING,
    "sagemaker.create_transform_job",
    **{**TRANSFORM, "TransformJobName": "calls-bad", "ModelName": "calls-none"},
)
ok("sagemaker.wait:transform_job_completed_or_stopped", TransformJobName="calls-transform")
ok(
    "sagemaker.describe_transform_job",
    {"TransformJobStatus": "Completed", "TransformInput.SplitType": "Line"},
    TransformJobName="calls-transform",
)
ok("s3.head_object", Bucket=BUCKET, Key="calls/transformed/part-0.csv.out")
ok(
    "sagemaker.list_transform_jobs",
    {"TransformJobSummaries.0.TransformJobStatus": "Completed"},
    NameContains="calls-transform",
)
no(INVALID, "", "sagemaker.describe_transform_job", TransformJobName="calls-none")
no(INVALID, "", "sagemaker.stop_transform_job", TransformJobName="calls-none")

walk("asynchronous inference")
ok(
    "sagemaker.create_endpoint_config",
    EndpointConfigName="calls-async",
    ProductionVariants=[VARIANT],
    AsyncInferenceConfig={
        "OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/calls/async"},
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4},
    },
)
ok("sagemaker.create_endpoint", EndpointName="calls-async", EndpointConfigName="calls-async")
ok("sagemaker.wait:endpoint_in_service", EndpointName="calls-async")
ok(
    "sagemaker.describe_endpoint",
    {"AsyncInferenceConfig.ClientConfig.MaxConcurrentInvocationsPerInstance": 4},
    EndpointName="calls-async",
)
ok(
    "runtime.invoke_endpoint_async",
    EndpointName="calls-async",
    InputLocation=f"s3://{BUCKET}/calls/input.csv",
    ContentType="text/csv",
    InferenceId="calls-2",
)
no("ValidationError", "", "runtime.invoke_endpoint", EndpointName="calls-async", Body=b"1,2")
no(
    "ValidationError",
    "",
    "runtime.invoke_endpoint_async",
    EndpointName="calls-async",
    InputLocation="calls/input.csv",
)
ok("sagemaker.delete_endpoint", EndpointName="calls-async")

walk("processing")
PROCESSING: Final = {
    "ProcessingJobName": "calls-processing",
    "RoleArn": ROLE,
    "AppSpecification": {"ImageUri": IMAGE},
    "ProcessingResources": {
        "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}
    },
    "ProcessingOutputConfig": {
        "Outputs": [
            {
                "OutputName": "out",
                "S3Output": {
                    "S3Uri": f"s3://{BUCKET}/calls/processed",
                    "LocalPath": "/opt/ml/processing/output",
                    "S3UploadMode": "EndOfJob",
                },
            }
        ]
    },
    "ProcessingInputs": [
        {
            "InputName": "data",
            "S3Input": {
                "S3Uri": f"s3://{BUCKET}/calls/train/",
                "LocalPath": "/opt/ml/processing/input",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }
    ],
}
ok(
    "sagemaker.create_processing_job",
    {"ProcessingJobArn": f"{ARN}:processing-job/calls-processing"},
    **PROCESSING,
)
no("ResourceInUse", "", "sagemaker.create_processing_job", **PROCESSING)
ok("sagemaker.wait:processing_job_completed_or_stopped", ProcessingJobName="calls-processing")
ok(
    "sagemaker.describe_processing_job",
    {"ProcessingJobStatus": "Completed", "AppSpecification.ImageUri": IMAGE},
    ProcessingJobName="calls-processing",
)
ok(
    "sagemaker.list_processing_jobs",
    {"ProcessingJobSummaries.0.ProcessingJobName": "calls-processing"},
    NameContains="calls-processing",
)
no(INVALID, "", "sagemaker.describe_processing_job", ProcessingJobName="calls-none")
no(INVALID, "", "sagemaker.stop_processing_job", ProcessingJobName="calls-none")
ok("sagemaker.delete_processing_job", ProcessingJobName="calls-processing")

walk("tuning")
DEFINITION: Final = {
    name: value
    for name, value in training("x").items()
    if name not in ("TrainingJobName", "HyperParameters")
}
TUNING: Final = {
    "HyperParameterTuningJobName": "calls-tuning",
    "HyperParameterTuningJobConfig": {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {
            "Type": "Maximize",
            "MetricName": "validation:accuracy",
        },
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {
            "ContinuousParameterRanges": [
                {
                    "Name": "learning_rate",
                    "MinValue": "0.01",
                    "MaxValue": "0.1",
                    "ScalingType": "Logarithmic",
                }
            ]
        },
    },
    "TrainingJobDefinition": {**DEFINITION, "StaticHyperParameters": {"epochs": "1"}},
}
ok("sagemaker.create_hyper_parameter_tuning_job", **TUNING)
no("ResourceInUse", "", "sagemaker.create_hyper_parameter_tuning_job", **TUNING)
ok(
    "sagemaker.describe_hyper_parameter_tuning_job",
    {"HyperParameterTuningJobConfig.Strategy": "Random"},
    HyperParameterTuningJobName="calls-tuning",
)
ok(
    "poll:sagemaker.describe_hyper_parameter_tuning_job",
    {"HyperParameterTuningJobStatus": "Completed", "TrainingJobStatusCounters.Completed": 2},
    HyperParameterTuningJobName="calls-tuning",
)
ok(
    "sagemaker.list_training_jobs_for_hyper_parameter_tuning_job",
    {"TrainingJobSummaries.1.TrainingJobStatus": "Completed"},
    HyperParameterTuningJobName="calls-tuning",
    SortBy="FinalObjectiveMetricValue",
    SortOrder="Descending",
)
ok(
    "sagemaker.list_hyper_parameter_tuning_jobs",
    {"HyperParameterTuningJobSummaries.0.Strategy": "Random"},
    NameContains="calls-tuning",
)
no(
    "ResourceNotFound",
    "",
    "sagemaker.describe_hyper_parameter_tuning_job",
    HyperParameterTuningJobName="calls-none",
)
no(
    "ResourceNotFound",
    "",
    "sagemaker.stop_hyper_parameter_tuning_job",
    HyperParameterTuningJobName="calls-none",
)
ok("sagemaker.delete_hyper_parameter_tuning_job", HyperParameterTuningJobName="calls-tuning")

walk("registry")
PACKAGE: Final = {
    "ModelPackageGroupName": "calls-group",
    "ModelPackageDescription": "a model of the table of calls",
    "InferenceSpecification": {
        "Containers": [CONTAINER],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["application/json"],
    },
    "ModelApprovalStatus": "PendingManualApproval",
}
ok(
    "sagemaker.create_model_package_group",
    {"ModelPackageGroupArn": f"{ARN}:model-package-group/calls-group"},
    ModelPackageGroupName="calls-group",
    ModelPackageGroupDescription="for the table",
)
no(
    INVALID,
    "already exist",
    "sagemaker.create_model_package_group",
    ModelPackageGroupName="calls-group",
)
ok(
    "sagemaker.describe_model_package_group",
    {"ModelPackageGroupStatus": "Completed"},
    ModelPackageGroupName="calls-group",
)
ok(
    "sagemaker.list_model_package_groups",
    {"ModelPackageGroupSummaryList.0.ModelPackageGroupName": "calls-group"},
    NameContains="calls-group",
)
VERSION: Final = f"{ARN}:model-package/calls-group/1"
ok("sagemaker.create_model_package", {"ModelPackageArn": VERSION}, **PACKAGE)
ok(
    "sagemaker.create_model_package",
    {"ModelPackageArn": f"{ARN}:model-package/calls-group/2"},
    **PACKAGE,
)
no(
    INVALID,
    "",
    "sagemaker.create_model_package",
    **{**PACKAGE, "ModelPackageGroupName": "calls-none"},
)
ok(
    "sagemaker.describe_model_package",
    {"ModelPackageVersion": 1, "ModelApprovalStatus": "PendingManualApproval"},
    ModelPackageName=VERSION,
)
ok(
    "sagemaker.update_model_package",
    ModelPackageArn=VERSION,
    ModelApprovalStatus="Approved",
    ApprovalDescription="accurate enough",
)
ok(
    "sagemaker.describe_model_package",
    {"ModelApprovalStatus": "Approved"},
    ModelPackageName=VERSION,
)
ok(
    "sagemaker.list_model_packages",
    {"ModelPackageSummaryList.0.ModelPackageVersion": 1},
    ModelPackageGroupName="calls-group",
    ModelApprovalStatus="Approved",
)
ok("sagemaker.batch_describe_model_package", ModelPackageArnList=[VERSION])
ok(
    "sagemaker.create_model",
    ModelName="calls-registered",
    Containers=[{"ModelPackageName": VERSION}],
    ExecutionRoleArn=ROLE,
)
ok("sagemaker.describe_model", {"ModelName": "calls-registered"}, ModelName="calls-registered")
no(
    INVALID,
    "",
    "sagemaker.describe_model_package",
    ModelPackageName=f"{ARN}:model-package/calls-group/9",
)
no(
    INVALID,
    "",
    "sagemaker.create_model",
    ModelName="calls-bad",
    Containers=[{"ModelPackageName": f"{ARN}:model-package/calls-group/9"}],
    ExecutionRoleArn=ROLE,
)
no(
    "ConflictException",
    "",
    "sagemaker.delete_model_package_group",
    ModelPackageGroupName="calls-group",
)
ok("sagemaker.delete_model", ModelName="calls-registered")
for version in (1, 2):
    ok(
        "sagemaker.delete_model_package",
        ModelPackageName=f"{ARN}:model-package/calls-group/{version}",
    )
ok("sagemaker.delete_model_package_group", ModelPackageGroupName="calls-group")

walk("tags and search")
JOB: Final = f"{ARN}:training-job/calls-train"
ok("sagemaker.list_tags", {"Tags.0.Key": "team"}, ResourceArn=JOB)
ok("sagemaker.add_tags", ResourceArn=JOB, Tags=[{"Key": "owner", "Value": "me"}])
ok("sagemaker.list_tags", {"Tags.2.Value": "me"}, ResourceArn=JOB)
ok("sagemaker.delete_tags", ResourceArn=JOB, TagKeys=["owner", "stage"])
ok("sagemaker.list_tags", {"Tags": [{"Key": "team", "Value": "ml"}]}, ResourceArn=JOB)
no(INVALID, "", "sagemaker.list_tags", ResourceArn=f"{ARN}:training-job/calls-none")
no(INVALID, "", "sagemaker.add_tags", ResourceArn="calls", Tags=TAGS)
ok(
    "sagemaker.search",
    {"Results.0.TrainingJob.TrainingJobName": "calls-train"},
    Resource="TrainingJob",
    SearchExpression={
        "Filters": [{"Name": "TrainingJobName", "Operator": "Equals", "Value": "calls-train"}]
    },
)
ok(
    "sagemaker.search",
    Resource="TrainingJob",
    MaxResults=3,
    SortBy="CreationTime",
    SortOrder="Descending",
)
no(INVALID, "", "sagemaker.search", Resource="Nothing")

walk("experiments")
ok(
    "sagemaker.create_experiment",
    {"ExperimentArn": f"{ARN}:experiment/calls"},
    ExperimentName="calls",
    Description="runs",
)
no(INVALID, "", "sagemaker.create_experiment", ExperimentName="calls")
ok("sagemaker.describe_experiment", {"Description": "runs"}, ExperimentName="calls")
ok("sagemaker.update_experiment", ExperimentName="calls", Description="all runs")
ok("sagemaker.list_experiments", MaxResults=5)
ok("sagemaker.create_trial", TrialName="calls-trial", ExperimentName="calls")
ok("sagemaker.describe_trial", {"ExperimentName": "calls"}, TrialName="calls-trial")
ok("sagemaker.list_trials", {"TrialSummaries.0.TrialName": "calls-trial"}, ExperimentName="calls")
ok(
    "sagemaker.create_trial_component",
    TrialComponentName="calls-run",
    Parameters={"rate": {"NumberValue": 0.1}},
)
ok(
    "sagemaker.update_trial_component",
    TrialComponentName="calls-run",
    Status={"PrimaryStatus": "Completed"},
)
ok(
    "sagemaker.describe_trial_component",
    {"Status.PrimaryStatus": "Completed", "Parameters.rate.NumberValue": 0.1},
    TrialComponentName="calls-run",
)
ok("sagemaker.associate_trial_component", TrialComponentName="calls-run", TrialName="calls-trial")
ok(
    "metrics.batch_put_metrics",
    TrialComponentName="calls-run",
    MetricData=[
        {"MetricName": "loss", "Value": value, "Step": step, "Timestamp": int(time.time())}
        for step, value in ((5, 0.5), (6, 0.25))
    ],
)
ok(
    "metrics.batch_put_metrics",
    {"Errors.0.Code": "VALIDATION_ERROR", "Errors.0.MetricIndex": 0},
    TrialComponentName="calls-run",
    MetricData=[{"MetricName": "loss", "Value": 1.0, "Timestamp": 0}],
)
no(
    "ResourceNotFound",
    "TrialComponent",
    "metrics.batch_put_metrics",
    TrialComponentName="calls-none",
    MetricData=[{"MetricName": "loss", "Value": 1.0, "Timestamp": 0}],
)
ok(
    "metrics.batch_get_metrics",
    {"MetricQueryResults.0.XAxisValues.1": 6, "MetricQueryResults.0.MetricValues.1": 0.25},
    MetricQueries=[
        {
            "MetricName": "loss",
            "ResourceArn": f"{ARN}:experiment-trial-component/calls-run",
            "MetricStat": "Min",
            "Period": "IterationNumber",
            "XAxisType": "IterationNumber",
        }
    ],
)
ok(
    "sagemaker.describe_trial_component",
    {"Metrics.0.MetricName": "loss", "Metrics.0.Count": 2, "Metrics.0.Last": 0.25},
    TrialComponentName="calls-run",
)
ok(
    "sagemaker.search",
    {"Results.0.TrialComponent.Parents.0.ExperimentName": "calls"},
    Resource="ExperimentTrialComponent",
    SearchExpression={
        "Filters": [{"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": "calls"}]
    },
)
ok(
    "sagemaker.list_trial_components",
    {"TrialComponentSummaries.0.TrialComponentName": "calls-run"},
    TrialName="calls-trial",
)
no(INVALID, "", "sagemaker.delete_experiment", ExperimentName="calls")
ok(
    "sagemaker.disassociate_trial_component",
    TrialComponentName="calls-run",
    TrialName="calls-trial",
)
ok("sagemaker.delete_trial_component", TrialComponentName="calls-run")
ok("sagemaker.delete_trial", TrialName="calls-trial")
ok("sagemaker.delete_experiment", ExperimentName="calls")
no("ResourceNotFound", "", "sagemaker.describe_experiment", ExperimentName="calls")

walk("lineage")
ok(
    "sagemaker.create_artifact",
    ArtifactName="calls-data",
    ArtifactType="DataSet",
    Source={"SourceUri": f"s3://{BUCKET}/calls/train/"},
)
ok(
    "sagemaker.create_context",
    {"ContextArn": f"{ARN}:context/calls-context"},
    ContextName="calls-context",
    ContextType="Endpoint",
    Source={"SourceUri": f"{ARN}:endpoint/calls"},
)
ok(
    "sagemaker.create_action",
    {"ActionArn": f"{ARN}:action/calls-action"},
    ActionName="calls-action",
    ActionType="Approval",
    Source={"SourceUri": VERSION},
)
ok(
    "sagemaker.add_association",
    SourceArn=f"{ARN}:action/calls-action",
    DestinationArn=f"{ARN}:context/calls-context",
    AssociationType="AssociatedWith",
)
ok(
    "sagemaker.list_associations",
    {"AssociationSummaries.0.AssociationType": "AssociatedWith"},
    SourceArn=f"{ARN}:action/calls-action",
)
ok("sagemaker.list_artifacts", SourceUri=f"s3://{BUCKET}/calls/train/")
ok("sagemaker.describe_action", {"ActionType": "Approval"}, ActionName="calls-action")
ok("sagemaker.describe_context", {"ContextType": "Endpoint"}, ContextName="calls-context")
ok(
    "sagemaker.delete_association",
    SourceArn=f"{ARN}:action/calls-action",
    DestinationArn=f"{ARN}:context/calls-context",
)
ok("sagemaker.delete_action", ActionName="calls-action")
ok("sagemaker.delete_context", ContextName="calls-context")

walk("pipelines")
STEPS: Final = (
    '{"Version": "2020-12-01", "Parameters": [{"Name": "Why", "Type": "String", "DefaultValue": '
    '"a test"}], "Steps": [{"Name": "Stop", "Type": "Fail", '
    '"Arguments": {"ErrorMessage": "it ends"}}]}'
)
ok(
    "sagemaker.create_pipeline",
    {"PipelineArn": f"{ARN}:pipeline/calls"},
    PipelineName="calls",
    PipelineDefinition=STEPS,
    ClientRequestToken="c" * 32,
    RoleArn=ROLE,
)
no(
    INVALID,
    "",
    "sagemaker.create_pipeline",
    PipelineName="calls-bad",
    PipelineDefinition="{",
    ClientRequestToken="d" * 32,
    RoleArn=ROLE,
)
ok("sagemaker.describe_pipeline", {"PipelineStatus": "Active"}, PipelineName="calls")
ok("sagemaker.update_pipeline", PipelineName="calls", PipelineDisplayName="Calls")
ok(
    "sagemaker.list_pipelines",
    {"PipelineSummaries.0.PipelineName": "calls"},
    PipelineNamePrefix="calls",
)
ok(
    "sagemaker.start_pipeline_execution",
    PipelineName="calls",
    ClientRequestToken="e" * 32,
    PipelineParameters=[{"Name": "Why", "Value": "because"}],
)
ok(
    "poll:sagemaker.list_pipeline_executions",
    {"PipelineExecutionSummaries.0.PipelineExecutionStatus": "Failed"},
    PipelineName="calls",
)
no(
    "ResourceNotFound",
    "",
    "sagemaker.start_pipeline_execution",
    PipelineName="calls-none",
    ClientRequestToken="f" * 32,
)
ok("sagemaker.delete_pipeline", PipelineName="calls", ClientRequestToken="g" * 32)
no("ResourceNotFound", "", "sagemaker.describe_pipeline", PipelineName="calls")

walk("model cards")
ok("sagemaker.create_model_card", ModelCardName="calls-card", Content="{}", ModelCardStatus="Draft")
ok(
    "sagemaker.describe_model_card",
    {"ModelCardStatus": "Draft", "ModelCardVersion": 1},
    ModelCardName="calls-card",
)
ok("sagemaker.update_model_card", ModelCardName="calls-card", ModelCardStatus="Approved")
ok("sagemaker.list_model_cards", NameContains="calls-card")
ok("sagemaker.list_model_card_versions", ModelCardName="calls-card")
ok("sagemaker.delete_model_card", ModelCardName="calls-card")
no("ResourceNotFound", "", "sagemaker.describe_model_card", ModelCardName="calls-card")

walk("what is not there")
for method, arguments in (
    (
        "create_auto_ml_job_v2",
        {
            "AutoMLJobName": "calls",
            "AutoMLJobInputDataConfig": [],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/a"},
            "AutoMLProblemTypeConfig": {
                "TextClassificationJobConfig": {"ContentColumn": "a", "TargetLabelColumn": "b"}
            },
            "RoleArn": ROLE,
        },
    ),
    ("create_labeling_job", None),
    ("list_labeling_jobs", {}),
    ("list_workteams", {}),
    ("list_hubs", {}),
    ("list_spaces", {}),
    ("list_apps", {}),
    ("list_edge_packaging_jobs", {}),
    ("list_mlflow_tracking_servers", {}),
    ("list_optimization_jobs", {}),
    ("list_inference_recommendations_jobs", {}),
):
    if arguments is not None:
        no("UnknownOperationException", "", f"sagemaker.{method}", **arguments)

walk("clean up")
ok("sagemaker.delete_endpoint", EndpointName="calls")
ok("sagemaker.wait:endpoint_deleted", EndpointName="calls")
no(INVALID, MISSING, "sagemaker.describe_endpoint", EndpointName="calls")
no(INVALID, MISSING, "sagemaker.delete_endpoint", EndpointName="calls")
for name in ("calls-two", "calls-async"):
    ok("sagemaker.delete_endpoint_config", EndpointConfigName=name)
ok("sagemaker.delete_model", ModelName="calls-model")
for name in ("calls-train", "calls-fails"):
    ok("sagemaker.delete_training_job", TrainingJobName=name)
ok("s3.delete_objects", Bucket=BUCKET, Delete={"Objects": [{"Key": "calls/input.csv"}]})
ok(
    "iam.detach_role_policy",
    RoleName="calls-role",
    PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess",
)
ok("iam.delete_role", RoleName="calls-role")
