"""Which changes are events, and what the events say."""

from typing import Any

import pytest

from local_test.aws.account import kinds
from local_test.aws.account.kinds import Kind
from local_test.aws.sagemaker.events.changes import Event, find_events

ARN = "arn:aws:sagemaker:us-east-1:000000000000"
JOB = {
    "TrainingJobName": "j",
    "TrainingJobArn": f"{ARN}:training-job/j",
    "TrainingJobStatus": "InProgress",
    "SecondaryStatus": "Training",
    "CreationTime": 1.5,
    "Tags": [{"Key": "team", "Value": "a"}],
    "_request": {},
}
EXECUTION = {
    "PipelineArn": f"{ARN}:pipeline/p",
    "PipelineExecutionArn": f"{ARN}:pipeline/p/execution/e",
    "PipelineExecutionStatus": "Executing",
    "CreationTime": 0.0,
    "LastModifiedTime": 60.0,
    "_steps": {"Train": {"StepStatus": "Executing", "StartTime": 1.0, "_kind": "Training"}},
}


def find(kind: Kind[Any], before: Any, after: Any) -> list[Event]:
    return list(find_events(kind, before, after))


def test_a_job_that_ends_is_an_event_with_its_description() -> None:
    ended = {**JOB, "TrainingJobStatus": "Failed", "FailureReason": "no luck"}
    [event] = find(kinds.TRAINING_JOB, JOB, ended)
    assert event.kind == "SageMaker Training Job State Change"
    assert event.resources == (f"{ARN}:training-job/j",)
    assert event.detail == {
        "TrainingJobName": "j",
        "TrainingJobArn": f"{ARN}:training-job/j",
        "TrainingJobStatus": "Failed",
        "SecondaryStatus": "Training",
        "CreationTime": 1500,
        "FailureReason": "no luck",
        "Tags": {"team": "a"},
    }


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        (None, JOB, 1),
        (JOB, {**JOB, "SecondaryStatus": "Uploading"}, 1),
        (JOB, {**JOB, "Tags": []}, 0),
        (JOB, None, 0),
    ],
)
def test_only_a_new_status_is_an_event(before: Any, after: Any, count: int) -> None:
    assert len(find(kinds.TRAINING_JOB, before, after)) == count


@pytest.mark.parametrize(
    ("kind", "title", "change"),
    [
        (kinds.PROCESSING_JOB, "Processing Job", {"ProcessingJobStatus": "Completed"}),
        (kinds.TRANSFORM_JOB, "Transform Job", {"TransformJobStatus": "Completed"}),
        (
            kinds.TUNING_JOB,
            "HyperParameter Tuning Job",
            {"HyperParameterTuningJobStatus": "Completed"},
        ),
        (kinds.ENDPOINT, "Endpoint", {"EndpointStatus": "InService"}),
        (kinds.PACKAGE, "Model Package", {"ModelApprovalStatus": "Approved"}),
        (kinds.MODEL_CARD, "Model Card", {"ModelCardStatus": "Approved"}),
    ],
)
def test_each_kind_has_its_title(kind: Kind[Any], title: str, change: dict[str, str]) -> None:
    before = {kind.arn_name: "a", "CreationTime": 1.0, kind.status_name: "Created"}
    [event] = find(kind, before, {**before, **change})
    assert event.kind == f"SageMaker {title} State Change"
    shown = {"EndpointStatus": "IN_SERVICE"} if kind is kinds.ENDPOINT else change
    assert event.detail.items() >= shown.items()


def test_a_version_of_a_package_has_no_name_of_its_own() -> None:
    version = {"ModelPackageArn": "a", "ModelPackageName": "g", "ModelPackageVersion": 1}
    [event] = find(kinds.PACKAGE, None, version)
    assert event.detail == {"ModelPackageArn": "a", "ModelPackageVersion": 1, "Tags": {}}


def test_a_model_that_is_made_or_deleted_is_an_event() -> None:
    model = {"ModelName": "m", "ModelArn": f"{ARN}:model/m", "CreationTime": 1.0}
    for change in ((None, model), (model, None)):
        [event] = find(kinds.MODEL, *change)
        assert (event.kind, event.resources) == (
            "SageMaker Model State Change",
            (ARN + ":model/m",),
        )
    assert find(kinds.MODEL, model, {**model, "Tags": []}) == []


def test_a_pipeline_has_events_of_the_execution_and_of_its_steps() -> None:
    [begun, step] = find(kinds.PIPELINE_EXECUTION, None, EXECUTION)
    assert begun.detail["currentPipelineExecutionStatus"] == "Executing"
    assert "executionEndTime" not in begun.detail
    assert step.kind == "SageMaker Model Building Pipeline Execution Step Status Change"
    state = {
        **EXECUTION["_steps"]["Train"],  # type: ignore[index]
        "StepStatus": "Failed",
        "EndTime": 2.0,
        "FailureReason": "no luck",
        "Metadata": {"TrainingJob": {"Arn": "a"}},
    }
    ended = {**EXECUTION, "PipelineExecutionStatus": "Failed", "_steps": {"Train": state}}
    [execution, step] = find(kinds.PIPELINE_EXECUTION, EXECUTION, ended)
    assert execution.resources == (f"{ARN}:pipeline/p", f"{ARN}:pipeline/p/execution/e")
    assert execution.detail == {
        "pipelineArn": f"{ARN}:pipeline/p",
        "pipelineExecutionArn": f"{ARN}:pipeline/p/execution/e",
        "currentPipelineExecutionStatus": "Failed",
        "previousPipelineExecutionStatus": "Executing",
        "executionStartTime": "1970-01-01T00:00:00Z",
        "executionEndTime": "1970-01-01T00:01:00Z",
    }
    assert step.detail == {
        "pipelineArn": f"{ARN}:pipeline/p",
        "pipelineExecutionArn": f"{ARN}:pipeline/p/execution/e",
        "stepName": "Train",
        "stepType": "Training",
        "metadata": {"trainingJob": {"arn": "a"}},
        "stepStartTime": "1970-01-01T00:00:01Z",
        "stepEndTime": "1970-01-01T00:00:02Z",
        "previousStepStatus": "Executing",
        "currentStepStatus": "Failed",
        "failureReason": "no luck",
    }
