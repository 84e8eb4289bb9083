"""More calls of AWS's walk-throughs, in the form of `calls`, which they follow.

They are those of other services beside SageMaker, of pipelines' executions, of special endpoints,
and of what a local machine cannot do.
"""

from __future__ import annotations

from typing import Any, Final

from tests.contract.aws.calls import (
    ARN,
    ARTIFACT,
    BUCKET,
    CONTAINER,
    DIMENSION,
    GROUP,
    INVALID,
    MISSING,
    ROLE,
    STEPS,
    VARIANT,
    no,
    ok,
    training,
    walk,
)

UNKNOWN: Final = "UnknownOperationException"
ONE: Final = {"Type": "INSTANCE_COUNT", "Value": 1}

walk("services beside SageMaker")
ok(
    "ecr.create_repository",
    {"repository.repositoryUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/calls"},
    repositoryName="calls",
)
ok("ecr.describe_repositories", repositoryNames=["calls"])
ok("ecr.get_authorization_token")
no("RepositoryAlreadyExistsException", "", "ecr.create_repository", repositoryName="calls")
ok("ecr.delete_repository", repositoryName="calls")
ok("sns.create_topic", {"TopicArn": "arn:aws:sns:us-east-1:000000000000:calls"}, Name="calls")
ok("sqs.create_queue", QueueName="calls")
ok("events.put_rule", Name="calls", EventPattern='{"source": ["aws.sagemaker"]}')
ok("events.list_rules", {"Rules.0.Name": "calls"}, NamePrefix="calls")
ok("events.delete_rule", Name="calls")
ok("sns.delete_topic", TopicArn="arn:aws:sns:us-east-1:000000000000:calls")
ok("kms.create_key", Description="for volumes")
ok("ec2.describe_subnets")
ok("ec2.describe_security_groups")
ok("lambda.list_functions")
ok("secretsmanager.list_secrets")
no("ParameterNotFound", "", "ssm.get_parameter", Name="calls-none")
ok("cloudwatch.put_dashboard", DashboardName="calls", DashboardBody='{"widgets": []}')
ok("iam.create_role", RoleName="calls-inline", AssumeRolePolicyDocument="{}")
ok(
    "iam.put_role_policy",
    RoleName="calls-inline",
    PolicyName="s3",
    PolicyDocument='{"Version": "2012-10-17", "Statement": '
    '[{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}',
)
ok("iam.list_role_policies", {"PolicyNames": ["s3"]}, RoleName="calls-inline")
ok("iam.delete_role_policy", RoleName="calls-inline", PolicyName="s3")
ok("iam.delete_role", RoleName="calls-inline")
ok("s3.put_object", Bucket=BUCKET, Key="calls/tagged", Body=b"x", Tagging="team=ml")
ok("s3.get_object_tagging", {"TagSet.0.Value": "ml"}, Bucket=BUCKET, Key="calls/tagged")
ok("s3.create_multipart_upload", {"Key": "calls/parts"}, Bucket=BUCKET, Key="calls/parts")
ok("s3.list_multipart_uploads", {"Uploads.0.Key": "calls/parts"}, Bucket=BUCKET)

walk("warm pools and updates of jobs")
WARM: Final = {
    "InstanceType": "ml.m5.large",
    "InstanceCount": 1,
    "VolumeSizeInGB": 5,
    "KeepAlivePeriodInSeconds": 600,
}
ok("sagemaker.create_training_job", **training("calls-warm", ResourceConfig=WARM))
ok("sagemaker.wait:training_job_completed_or_stopped", TrainingJobName="calls-warm")
ok(
    "sagemaker.describe_training_job",
    {"WarmPoolStatus.Status": "Available"},
    TrainingJobName="calls-warm",
)
ok(
    "sagemaker.update_training_job",
    {"TrainingJobArn": f"{ARN}:training-job/calls-warm"},
    TrainingJobName="calls-warm",
    ResourceConfig={"KeepAlivePeriodInSeconds": 0},
)
ok("sagemaker.list_training_jobs", WarmPoolStatusEquals="Available", NameContains="calls")

walk("queries")
ok(
    "logs.start_query",
    logGroupName=GROUP,
    startTime=0,
    endTime=2_000_000_000,
    queryString='fields @message | filter @logStream like "calls-warm" | sort @timestamp | limit 1',
)
ok(
    "logs.get_query_results",
    {"status": "Complete", "results.0.0.value": "epoch=0; validation_accuracy=0.5000;"},
    queryId="$queryId",
)
ok("logs.describe_queries", {"queries.0.status": "Complete"}, logGroupName=GROUP)
no("ResourceNotFoundException", "", "logs.get_query_results", queryId="sagemaker-none")
no(
    "MalformedQueryException",
    "",
    "logs.start_query",
    logGroupName=GROUP,
    startTime=0,
    endTime=1,
    queryString="stats count(*) by bin(5m)",
)
ok(
    "metrics.batch_get_metrics",
    {"MetricQueryResults.0.MetricValues.1": 0.75},
    MetricQueries=[
        {
            "MetricName": "validation:accuracy",
            "ResourceArn": f"{ARN}:training-job/calls-warm",
            "MetricStat": "Last",
            "Period": "IterationNumber",
            "XAxisType": "IterationNumber",
        }
    ],
)
SCALED: Final = [
    {"Name": "EndpointName", "Value": "calls-none"},
    {"Name": "VariantName", "Value": "AllTraffic"},
]
ok(
    "cloudwatch.get_metric_data",
    {"MetricDataResults.0.Label": "ModelLatency p99"},
    StartTime=0,
    EndTime=2_000_000_000,
    MetricDataQueries=[
        {
            "Id": "slowest",
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/SageMaker",
                    "MetricName": "ModelLatency",
                    "Dimensions": SCALED,
                },
                "Period": 60_000_000,
                "Stat": "p99",
            },
        }
    ],
)

walk("special endpoints")
ok("sagemaker.create_model", ModelName="around", PrimaryContainer=CONTAINER, ExecutionRoleArn=ROLE)
ok(
    "sagemaker.create_model",
    {"ModelArn": f"{ARN}:model/around-chain"},
    ModelName="around-chain",
    Containers=[{**CONTAINER, "ContainerHostname": name} for name in ("first", "second")],
    InferenceExecutionConfig={"Mode": "Direct"},
    ExecutionRoleArn=ROLE,
)
no(
    INVALID,
    "ContainerHostname must be unique",
    "sagemaker.create_model",
    ModelName="around-bad",
    Containers=[{**CONTAINER, "ContainerHostname": "same"}] * 2,
    ExecutionRoleArn=ROLE,
)
ok(
    "sagemaker.create_model",
    ModelName="around-many",
    PrimaryContainer={
        **CONTAINER,
        "Mode": "MultiModel",
        "ModelDataUrl": f"s3://{BUCKET}/calls/models/",
    },
    ExecutionRoleArn=ROLE,
)
ok(
    "sagemaker.create_model",
    ModelName="around-files",
    PrimaryContainer={
        "Image": CONTAINER["Image"],
        "ModelDataSource": {
            "S3DataSource": {
                "S3Uri": f"s3://{BUCKET}/calls/train/",
                "S3DataType": "S3Prefix",
                "CompressionType": "None",
            }
        },
    },
    ExecutionRoleArn=ROLE,
)


def config(name: str, *variants: Any, **members: Any) -> dict[str, Any]:
    return {"EndpointConfigName": name, "ProductionVariants": list(variants), **members}


SERVERLESS: Final = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
AROUND: Final = {**VARIANT, "ModelName": "around"}
ON_DEMAND: Final = {"VariantName": "v", "ModelName": "around", "ServerlessConfig": SERVERLESS}
ok("sagemaker.create_endpoint_config", **config("around-serverless", ON_DEMAND))
ok(
    "sagemaker.describe_endpoint_config",
    {"ProductionVariants.0.ServerlessConfig.MemorySizeInMB": 2048},
    EndpointConfigName="around-serverless",
)
for member, value, reason in (
    ("InstanceType", "ml.m5.large", "a serverless variant has no InstanceType"),
    ("ServerlessConfig", {**SERVERLESS, "MemorySizeInMB": 1500}, "multiple of 1024"),
    ("ServerlessConfig", {**SERVERLESS, "ProvisionedConcurrency": 6}, "at most MaxConcurrency"),
):
    bad = config("around-bad", {**ON_DEMAND, member: value})
    no(INVALID, reason, "sagemaker.create_endpoint_config", **bad)
ok(
    "sagemaker.create_endpoint_config",
    **config(
        "around-shadow", AROUND, ShadowProductionVariants=[{**AROUND, "VariantName": "Shadow"}]
    ),
)
no(
    INVALID,
    "one production and one shadow variant",
    "sagemaker.create_endpoint_config",
    **config(
        "around-bad",
        AROUND,
        {**AROUND, "VariantName": "B"},
        ShadowProductionVariants=[{**AROUND, "VariantName": "Shadow"}],
    ),
)
CAPTURE: Final = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": f"s3://{BUCKET}/calls/captured",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
}
ok("sagemaker.create_endpoint_config", **config("around", AROUND, DataCaptureConfig=CAPTURE))
ok("sagemaker.create_endpoint", EndpointName="around", EndpointConfigName="around")
ok("sagemaker.wait:endpoint_in_service", EndpointName="around")
ok(
    "sagemaker.describe_endpoint",
    {"DataCaptureConfig.CaptureStatus": "Started"},
    EndpointName="around",
)
ok(
    "runtime.invoke_endpoint_with_response_stream",
    {"InvokedProductionVariant": "AllTraffic"},
    EndpointName="around",
    Body=b"stream of parts",
)
ok(
    "sagemaker.update_endpoint",
    EndpointName="around",
    EndpointConfigName="around-shadow",
    RetainAllVariantProperties=True,
    ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}],
)
ok("sagemaker.wait:endpoint_in_service", EndpointName="around")
ok(
    "sagemaker.describe_endpoint",
    {"ShadowProductionVariants.0.VariantName": "Shadow"},
    EndpointName="around",
)
ok("sagemaker.update_endpoint", EndpointName="around", EndpointConfigName="around-serverless")
ok("sagemaker.wait:endpoint_in_service", EndpointName="around")
ok(
    "runtime.invoke_endpoint",
    {"InvokedProductionVariant": "v"},
    EndpointName="around",
    Body=b"1,2",
)
no(
    INVALID,
    "Variant v is serverless",
    "sagemaker.update_endpoint_weights_and_capacities",
    EndpointName="around",
    DesiredWeightsAndCapacities=[{"VariantName": "v", "DesiredInstanceCount": 2}],
)
ok("sagemaker.delete_endpoint", EndpointName="around")
ok("sagemaker.wait:endpoint_deleted", EndpointName="around")
for name in ("around", "around-shadow", "around-serverless"):
    ok("sagemaker.delete_endpoint_config", EndpointConfigName=name)
for name in ("around", "around-chain", "around-many", "around-files"):
    ok("sagemaker.delete_model", ModelName=name)
no(INVALID, MISSING, "sagemaker.delete_model", ModelName="around")

walk("executions of pipelines")
TOKEN: Final = "h" * 32
EXECUTION: Final = "$PipelineExecutionArn"
ok(
    "sagemaker.create_pipeline",
    PipelineName="around",
    PipelineDefinition=STEPS,
    ClientRequestToken=TOKEN,
    RoleArn=ROLE,
)
for method, answers in (
    ("describe_pipeline_execution", {}),
    ("list_pipeline_execution_steps", {}),
    ("list_pipeline_parameters_for_execution", {"PipelineParameters.0.Value": "a test"}),
    ("describe_pipeline_definition_for_execution", {"PipelineDefinition": STEPS}),
):
    # An execution with a token that was used is the same one.
    ok("sagemaker.start_pipeline_execution", PipelineName="around", ClientRequestToken=TOKEN)
    ok(f"sagemaker.{method}", answers, PipelineExecutionArn=EXECUTION)
ok("sagemaker.start_pipeline_execution", PipelineName="around", ClientRequestToken=TOKEN)
ok(
    "poll:sagemaker.describe_pipeline_execution",
    {"PipelineExecutionStatus": "Failed"},
    PipelineExecutionArn=EXECUTION,
)
ok(
    "sagemaker.update_pipeline_execution",
    PipelineExecutionArn=EXECUTION,
    PipelineExecutionDisplayName="around",
)
ok(
    "sagemaker.retry_pipeline_execution",
    PipelineExecutionArn=EXECUTION,
    ClientRequestToken="i" * 32,
)
ok(
    "poll:sagemaker.describe_pipeline_execution",
    {"PipelineExecutionStatus": "Failed"},
    PipelineExecutionArn=EXECUTION,
)
ok("sagemaker.delete_pipeline", PipelineName="around", ClientRequestToken="j" * 32)

walk("policies of groups, algorithms and lineage")
ok("sagemaker.create_model_package_group", ModelPackageGroupName="around")
ok(
    "sagemaker.put_model_package_group_policy",
    ModelPackageGroupName="around",
    ResourcePolicy='{"Version": "2012-10-17"}',
)
ok(
    "sagemaker.get_model_package_group_policy",
    {"ResourcePolicy": '{"Version": "2012-10-17"}'},
    ModelPackageGroupName="around",
)
ok("sagemaker.delete_model_package_group_policy", ModelPackageGroupName="around")
ok("sagemaker.delete_model_package_group", ModelPackageGroupName="around")
ok(
    "sagemaker.create_algorithm",
    AlgorithmName="around",
    TrainingSpecification={
        "TrainingImage": CONTAINER["Image"],
        "SupportedTrainingInstanceTypes": ["ml.m5.large"],
        "TrainingChannels": [
            {
                "Name": "train",
                "SupportedContentTypes": ["text/csv"],
                "SupportedInputModes": ["File"],
            }
        ],
    },
)
ok("sagemaker.describe_algorithm", {"AlgorithmStatus": "Completed"}, AlgorithmName="around")
ok(
    "sagemaker.list_algorithms",
    {"AlgorithmSummaryList.0.AlgorithmName": "around"},
    NameContains="around",
)
ok("sagemaker.delete_algorithm", AlgorithmName="around")
ok(
    "sagemaker.create_artifact",
    ArtifactName="around",
    ArtifactType="Model",
    Source={"SourceUri": ARTIFACT},
)
ok("sagemaker.describe_artifact", {"ArtifactType": "Model"}, ArtifactArn="$ArtifactArn")
ok("sagemaker.update_artifact", ArtifactArn="$ArtifactArn", Properties={"quality": "good"})
ok("sagemaker.describe_artifact", {"Properties.quality": "good"}, ArtifactArn="$ArtifactArn")
ok("sagemaker.delete_artifact", ArtifactArn="$ArtifactArn")
ok("sagemaker.list_actions", MaxResults=5)
ok("sagemaker.list_contexts", MaxResults=5)

walk("what no local machine does")
TARGET: Final = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/around/variant/AllTraffic",
    "ScalableDimension": DIMENSION,
}
no(
    UNKNOWN,
    "PutScheduledAction",
    "autoscaling.put_scheduled_action",
    **TARGET,
    ScheduledActionName="nightly",
    Schedule="rate(1 day)",
)
for method, arguments in (
    ("create_compilation_job", {"CompilationJobName": "around", "RoleArn": ROLE}),
    ("list_monitoring_schedules", {}),
    ("list_monitoring_executions", {}),
    ("describe_monitoring_schedule", {"MonitoringScheduleName": "around"}),
    ("list_feature_groups", {}),
    ("list_model_metadata", {}),
    ("list_training_plans", {}),
    ("list_images", {}),
    ("list_workforces", {}),
    ("list_code_repositories", {}),
    ("query_lineage", {}),
    ("get_search_suggestions", {"Resource": "TrainingJob"}),
    ("create_presigned_notebook_instance_url", {"NotebookInstanceName": "around"}),
):
    name = "".join(part.capitalize() for part in method.split("_"))
    no(UNKNOWN, name, f"sagemaker.{method}", **arguments)
ok(
    "sagemaker.create_notebook_instance",
    NotebookInstanceName="around",
    InstanceType="ml.t3.medium",
    RoleArn=ROLE,
)
ok(
    "sagemaker.list_notebook_instances",
    {"NotebookInstances.0.NotebookInstanceName": "around"},
)
