"""The local AWS runs real jobs for an unmodified boto3.

States, errors, lists, tags, logs and metrics.
"""

from __future__ import annotations

import datetime as dt
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.contract.aws.client import (
    LocalAws,
    read_logs,
    refuse,
    training_request,
    wait_for_status,
)
from tests.support import wait_for

DEFINITION_MEMBERS = (
    *("AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig"),
    *("ResourceConfig", "StoppingCondition"),
)


def test_a_training_job_runs_from_starting_to_completed(aws: LocalAws) -> None:
    request = training_request(
        aws, "complete", HyperParameters={"epochs": "2", "learning_rate": "0.03"}
    )
    answer = aws.sagemaker.create_training_job(**request)
    assert (
        answer["TrainingJobArn"] == "arn:aws:sagemaker:us-east-1:000000000000:training-job/complete"
    )

    described = wait_for_status(aws, "complete")
    assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Completed"
    entered = [item["Status"] for item in described["SecondaryStatusTransitions"]]
    assert entered == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all(
        item["EndTime"] >= item["StartTime"] for item in described["SecondaryStatusTransitions"]
    )
    assert (
        described["TrainingEndTime"] >= described["TrainingStartTime"] >= described["CreationTime"]
    )
    assert described["FinalMetricDataList"][0]["MetricName"] == "validation_accuracy"
    assert described["FinalMetricDataList"][0]["Value"] == pytest.approx(0.75)
    assert (
        described["ModelArtifacts"]["S3ModelArtifacts"]
        == f"s3://{aws.bucket}/out/complete/output/model.tar.gz"
    )
    assert (
        aws.s3.head_object(Bucket=aws.bucket, Key="out/complete/output/model.tar.gz")[
            "ContentLength"
        ]
        > 0
    )


def test_logs_and_metrics_are_where_the_sdk_looks_for_them(aws: LocalAws) -> None:
    aws.sagemaker.create_training_job(
        **training_request(aws, "logged", HyperParameters={"epochs": "3"})
    )
    wait_for_status(aws, "logged")

    group = "/aws/sagemaker/TrainingJobs"
    streams = aws.client("logs").describe_log_streams(
        logGroupName=group, logStreamNamePrefix="logged/"
    )["logStreams"]
    assert [stream["logStreamName"].split("-")[0] for stream in streams] == ["logged/algo"]
    pages: list[str] = []
    token: dict[str, Any] = {}
    while True:
        page = aws.client("logs").get_log_events(
            logGroupName=group,
            logStreamName=streams[0]["logStreamName"],
            startFromHead=True,
            limit=2,
            **token,
        )
        if page["nextForwardToken"] == token.get("nextToken"):
            break
        token = {"nextToken": page["nextForwardToken"]}
        pages += [event["message"] for event in page["events"]]
    assert [line.split(";")[0] for line in pages] == ["epoch=0", "epoch=1", "epoch=2"]

    now = dt.datetime.now(dt.UTC)
    points = aws.client("cloudwatch").get_metric_statistics(
        Namespace="/aws/sagemaker/TrainingJobs",
        MetricName="validation_accuracy",
        Dimensions=[{"Name": "TrainingJobName", "Value": "logged"}],
        StartTime=now - dt.timedelta(hours=1),
        EndTime=now + dt.timedelta(minutes=5),
        Period=3600,
        Statistics=["SampleCount"],
    )["Datapoints"]
    assert sum(point["SampleCount"] for point in points) == 3


def test_a_failing_container_gives_its_failure_reason(aws: LocalAws) -> None:
    request = training_request(aws, "failing", HyperParameters={"failure": "UserError: bad data"})
    aws.sagemaker.create_training_job(**request)
    described = wait_for_status(aws, "failing")
    assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Failed"
    assert "UserError: bad data" in described["FailureReason"]


def test_a_stopped_job_keeps_its_artifact_and_cannot_be_stopped_twice(aws: LocalAws) -> None:
    aws.sagemaker.create_training_job(
        **training_request(aws, "stopping", HyperParameters={"epochs": "1000", "epoch_s": "0.1"})
    )
    wait_for_status(aws, "stopping", secondary="Training")
    aws.sagemaker.stop_training_job(TrainingJobName="stopping")
    stopping = aws.sagemaker.describe_training_job(TrainingJobName="stopping")
    assert stopping["TrainingJobStatus"] in ("Stopping", "Stopped")
    described = wait_for_status(aws, "stopping")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert (
        aws.s3.head_object(Bucket=aws.bucket, Key="out/stopping/output/model.tar.gz")[
            "ContentLength"
        ]
        > 0
    )

    code, message = refuse(aws.sagemaker.stop_training_job, TrainingJobName="stopping")
    assert code == "ValidationException"
    assert "is in status Stopped" in message


def test_a_warm_pool_keeps_its_cache_for_the_next_job(aws: LocalAws) -> None:
    place = "$SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY"
    for name in ("warm", "cold", "warmer"):
        request = training_request(aws, name)
        command = ["sh", "-c", f'ls "{place}"; touch "{place}/{name}"', "sh"]
        request["AlgorithmSpecification"] |= {"ContainerEntrypoint": command}
        request["ResourceConfig"] |= {"KeepAlivePeriodInSeconds": 3600}
        request["ResourceConfig"]["VolumeSizeInGB"] = 2 if name == "cold" else 1
        aws.sagemaker.create_training_job(**request)
        wait_for_status(aws, name)

    found = ["warm" in read_logs(aws, name)[0].splitlines() for name in ("cold", "warmer")]
    assert found == [False, True]  # WP-1
    described = aws.sagemaker.describe_training_job(TrainingJobName="warm")
    assert described["WarmPoolStatus"] == {"Status": "Reused", "ReusedByJob": "warmer"}
    listed = aws.sagemaker.list_training_jobs(WarmPoolStatusEquals="Available", NameContains="co")
    assert [item["TrainingJobName"] for item in listed["TrainingJobSummaries"]] == ["cold"]
    changes = {"ResourceConfig": {"KeepAlivePeriodInSeconds": 0}}
    aws.sagemaker.update_training_job(TrainingJobName="cold", **changes)
    described = aws.sagemaker.describe_training_job(TrainingJobName="cold")
    assert described["WarmPoolStatus"] == {"Status": "Terminated"}


def test_a_name_can_be_used_once(aws: LocalAws) -> None:
    request = training_request(aws, "twice")
    aws.sagemaker.create_training_job(**request)
    code, message = refuse(aws.sagemaker.create_training_job, **request)
    assert code == "ResourceInUse"
    assert "training-job/twice" in message
    wait_for_status(aws, "twice")


@pytest.mark.parametrize(
    ("operation", "arguments", "code"),
    [
        ("describe_training_job", {"TrainingJobName": "nowhere"}, "ValidationException"),
        ("stop_training_job", {"TrainingJobName": "nowhere"}, "ValidationException"),
        ("describe_processing_job", {"ProcessingJobName": "nowhere"}, "ValidationException"),
        ("describe_transform_job", {"TransformJobName": "nowhere"}, "ValidationException"),
        (
            "describe_hyper_parameter_tuning_job",
            {"HyperParameterTuningJobName": "nowhere"},
            "ResourceNotFound",
        ),
        ("describe_model", {"ModelName": "nowhere"}, "ValidationException"),
        ("describe_endpoint_config", {"EndpointConfigName": "nowhere"}, "ValidationException"),
        ("describe_endpoint", {"EndpointName": "nowhere"}, "ValidationException"),
        ("delete_endpoint", {"EndpointName": "nowhere"}, "ValidationException"),
        ("describe_model_package", {"ModelPackageName": "nowhere"}, "ValidationException"),
        ("list_training_jobs", {"NextToken": "rubbish"}, "ValidationException"),
        ("delete_code_repository", {"CodeRepositoryName": "n"}, "UnknownOperationException"),
    ],
)  # fmt: skip
def test_unknown_names_get_the_services_error_codes(
    aws: LocalAws, operation: str, arguments: dict[str, Any], code: str
) -> None:
    assert refuse(getattr(aws.sagemaker, operation), **arguments)[0] == code


def test_constraints_are_worded_as_the_service_words_them(aws: LocalAws) -> None:
    client = aws.client("sagemaker", parameter_validation=False)
    code, message = refuse(
        client.create_training_job, **{**training_request(aws, "bad"), "TrainingJobName": "-bad-"}
    )
    assert code == "ValidationException"
    assert message.startswith(
        "1 validation error detected: Value '-bad-' at 'trainingJobName' failed to satisfy "
        "constraint"
    )
    code, message = refuse(client.create_training_job, TrainingJobName="bad")
    assert (
        "Value null at 'outputDataConfig' failed to satisfy constraint: Member must not be null"
        in message
    )


def test_missing_input_is_refused_when_the_job_is_created(aws: LocalAws) -> None:
    request = training_request(aws, "no-data")
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = (
        f"s3://{aws.bucket}/nothing-here/"
    )
    code, message = refuse(aws.sagemaker.create_training_job, **request)
    assert code == "ValidationException"
    assert message.startswith("No S3 objects found under S3 URL")


def test_more_instances_than_the_quota_are_refused(aws: LocalAws) -> None:
    request = training_request(aws, "too-many")
    request["ResourceConfig"]["InstanceCount"] = 999
    assert refuse(aws.sagemaker.create_training_job, **request)[0] == "ResourceLimitExceeded"


def test_lists_filter_sort_and_page_without_losing_anything(aws: LocalAws) -> None:
    names = [f"list-{index}" for index in range(5)]
    for name in names:
        aws.sagemaker.create_training_job(**training_request(aws, name))
    for name in names:
        wait_for_status(aws, name)
    paginator = aws.sagemaker.get_paginator("list_training_jobs")
    pages = paginator.paginate(
        NameContains="list-",
        SortBy="Name",
        SortOrder="Descending",
        PaginationConfig={"PageSize": 2},
    )
    found = [[job["TrainingJobName"] for job in page["TrainingJobSummaries"]] for page in pages]
    assert found == [["list-4", "list-3"], ["list-2", "list-1"], ["list-0"]]

    first = aws.sagemaker.list_training_jobs(NameContains="list-", MaxResults=2)
    code, _ = refuse(
        aws.sagemaker.list_training_jobs, NameContains="other", NextToken=first["NextToken"]
    )
    assert code == "ValidationException"
    assert not aws.sagemaker.list_training_jobs(NameContains="list-", StatusEquals="Failed")[
        "TrainingJobSummaries"
    ]


def test_tags_are_kept_replaced_and_removed(aws: LocalAws) -> None:
    request = training_request(aws, "tagged", Tags=[{"Key": "team", "Value": "one"}])
    arn = aws.sagemaker.create_training_job(**request)["TrainingJobArn"]
    aws.sagemaker.add_tags(
        ResourceArn=arn, Tags=[{"Key": "team", "Value": "two"}, {"Key": "cost", "Value": "3"}]
    )
    assert {
        tag["Key"]: tag["Value"] for tag in aws.sagemaker.list_tags(ResourceArn=arn)["Tags"]
    } == {"team": "two", "cost": "3"}
    aws.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["team"])
    assert aws.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "cost", "Value": "3"}]
    wait_for_status(aws, "tagged")


def test_a_processing_job_brings_its_output_to_s3(aws: LocalAws) -> None:
    aws.s3.put_object(Bucket=aws.bucket, Key="processing/in.txt", Body=b"small letters")
    aws.sagemaker.create_processing_job(
        ProcessingJobName="upper",
        ProcessingResources={
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 1,
            }
        },
        AppSpecification={"ImageUri": aws.image},
        RoleArn=aws.role,
        ProcessingInputs=[
            {
                "InputName": "input",
                "S3Input": {
                    "S3Uri": f"s3://{aws.bucket}/processing/in.txt",
                    "LocalPath": "/opt/ml/processing/input",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "output",
                    "S3Output": {
                        "S3Uri": f"s3://{aws.bucket}/processing/out",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    )
    described = wait_for(
        lambda: aws.sagemaker.describe_processing_job(ProcessingJobName="upper"),
        lambda answer: answer["ProcessingJobStatus"] != "InProgress",
    )
    assert described["ProcessingJobStatus"] == "Completed", described.get("FailureReason")
    assert described["ExitMessage"] == "done well"
    body = aws.s3.get_object(Bucket=aws.bucket, Key="processing/out/in.txt")["Body"].read()
    assert body == b"SMALL LETTERS"


@pytest.mark.parametrize("strategy", ["Random", "Grid", "Bayesian"])
def test_tuning_finds_the_best_of_its_training_jobs(aws: LocalAws, strategy: str) -> None:
    name = f"tune-{strategy.lower()}"
    values = ["0.3", "0.03", "0.003"]
    ranges: dict[str, Any] = {
        "CategoricalParameterRanges": [{"Name": "learning_rate", "Values": values}]
    }
    limits = {"MaxParallelTrainingJobs": 3}
    if strategy != "Grid":
        ranges = {
            "ContinuousParameterRanges": [
                {"Name": "learning_rate", "MinValue": "0.001", "MaxValue": "1"}
            ]
        }
        limits["MaxNumberOfTrainingJobs"] = 3
    request = training_request(aws, "unused")
    definition = {key: request[key] for key in DEFINITION_MEMBERS}
    aws.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize",
                "MetricName": "validation_accuracy",
            },
            "ResourceLimits": limits,
            "ParameterRanges": ranges,
        },
        TrainingJobDefinition={**definition, "StaticHyperParameters": {"epochs": "2"}},
    )
    described = wait_for(
        lambda: aws.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name),
        lambda answer: answer["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping"),
    )
    assert described["HyperParameterTuningJobStatus"] == "Completed"
    assert described["TrainingJobStatusCounters"]["Completed"] == 3
    jobs = aws.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, SortBy="FinalObjectiveMetricValue", SortOrder="Descending"
    )["TrainingJobSummaries"]
    scores = [job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for job in jobs]
    assert scores == sorted(scores, reverse=True)
    assert described["BestTrainingJob"]["TrainingJobName"] == jobs[0]["TrainingJobName"]
    if strategy == "Grid":
        assert {job["TunedHyperParameters"]["learning_rate"] for job in jobs} == set(values)
        assert described["BestTrainingJob"]["TunedHyperParameters"] == {"learning_rate": "0.03"}


def test_early_stopping_ends_a_run_that_is_worse_than_the_median(aws: LocalAws) -> None:
    request = training_request(aws, "unused")
    definition = {key: request[key] for key in DEFINITION_MEMBERS}
    rates = ["0.03", "0.031", "0.029", "10"]  # the last is hopeless from its first epoch on
    aws.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="tune-early",
        HyperParameterTuningJobConfig={
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize",
                "MetricName": "validation_accuracy",
            },
            "ResourceLimits": {"MaxParallelTrainingJobs": 3},
            "ParameterRanges": {
                "CategoricalParameterRanges": [{"Name": "learning_rate", "Values": rates}]
            },
            "TrainingJobEarlyStoppingType": "Auto",
        },
        TrainingJobDefinition={
            **definition,
            "StaticHyperParameters": {"epochs": "10", "epoch_s": "0.3"},
        },
    )
    described = wait_for(
        lambda: aws.sagemaker.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName="tune-early"
        ),
        lambda answer: answer["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping"),
    )
    assert described["HyperParameterTuningJobStatus"] == "Completed"
    assert described["TrainingJobStatusCounters"]["Completed"] == 3
    jobs = aws.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="tune-early"
    )
    [stopped] = [
        job for job in jobs["TrainingJobSummaries"] if job["TrainingJobStatus"] == "Stopped"
    ]
    assert stopped["TunedHyperParameters"] == {"learning_rate": "10"}
    trained = aws.sagemaker.describe_training_job(TrainingJobName=stopped["TrainingJobName"])
    assert aws.s3.head_object(  # the stop is the platform's: what the container left is kept
        Bucket=aws.bucket,
        Key=trained["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{aws.bucket}/"),
    )


def test_a_stopped_tuning_job_stops_its_training_jobs(aws: LocalAws) -> None:
    request = training_request(aws, "unused")
    definition = {key: request[key] for key in DEFINITION_MEMBERS}
    aws.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="tune-stop",
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize",
                "MetricName": "validation_accuracy",
            },
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "ContinuousParameterRanges": [
                    {"Name": "learning_rate", "MinValue": "0.1", "MaxValue": "1"}
                ]
            },
        },
        TrainingJobDefinition={
            **definition,
            "StaticHyperParameters": {"epochs": "1000", "epoch_s": "0.1"},
        },
    )

    def describe() -> dict[str, Any]:
        found: dict[str, Any] = aws.sagemaker.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName="tune-stop"
        )
        return found

    wait_for(describe, lambda answer: answer["TrainingJobStatusCounters"]["InProgress"] == 2)
    aws.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune-stop")
    described = wait_for(
        describe, lambda answer: answer["HyperParameterTuningJobStatus"] == "Stopped"
    )
    counters = described["TrainingJobStatusCounters"]
    assert counters["InProgress"] == 0
    assert counters["Stopped"] == 2


def test_an_unsigned_request_and_a_foreign_host_name_are_turned_away(aws: LocalAws) -> None:
    def status(headers: dict[str, str]) -> int:
        request = urllib.request.Request(
            aws.url, b"{}", {"X-Amz-Target": "SageMaker.ListModels", **headers}
        )
        try:
            with urllib.request.urlopen(request) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    signed = aws.sign("", b"{}")
    assert status({}) == 403
    assert status(signed) == 200
    assert status({**signed, "Host": "evil.example:80"}) == 403
    other_body = aws.sign("", b"{ }")
    assert status(other_body) == 403
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        aws.client("sagemaker", region_name="eu-west-1").list_models()


def test_search_and_batch_get_metrics_find_what_a_job_printed(aws: LocalAws) -> None:
    request = training_request(
        aws, "searched", HyperParameters={"epochs": "3", "learning_rate": "0.03"}
    )
    arn = aws.sagemaker.create_training_job(**request)["TrainingJobArn"]
    wait_for_status(aws, "searched")
    nested = {
        "NestedPropertyName": "FinalMetricDataList",
        "Filters": [
            {
                "Name": "FinalMetricDataList.MetricName",
                "Operator": "Equals",
                "Value": "validation_accuracy",
            },
            {"Name": "FinalMetricDataList.Value", "Operator": "GreaterThan", "Value": "0.8"},
        ],
    }
    expression = {
        "Filters": [{"Name": "HyperParameters.epochs", "Operator": "Equals", "Value": "3"}],
        "NestedFilters": [nested],
    }
    found = aws.sagemaker.search(Resource="TrainingJob", SearchExpression=expression)
    assert [item["TrainingJob"]["TrainingJobName"] for item in found["Results"]] == ["searched"]

    query = {
        "MetricName": "validation_accuracy",
        "ResourceArn": arn,
        "MetricStat": "Max",
        "Period": "IterationNumber",
        "XAxisType": "IterationNumber",
    }
    [result] = aws.client("sagemaker-metrics").batch_get_metrics(MetricQueries=[query])[
        "MetricQueryResults"
    ]
    assert result["XAxisValues"] == [0, 1, 2]
    assert result["MetricValues"] == pytest.approx([0.5, 0.75, 0.875])
