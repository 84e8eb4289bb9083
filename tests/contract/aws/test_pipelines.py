"""SageMaker Pipelines: executions of unmodified SDK code and of boto3's."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.aws import walkthrough
from tests.contract.aws.client import LocalAws, refuse, training_request
from tests.support import PROGRAMS, wait_for


@pytest.fixture(scope="module")
def own_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("pipelines-aws")).running() as local:
        local.s3.put_object(Bucket=local.bucket, Key="data/a.csv", Body=b"1,2\n")
        yield local


def make_step(aws: LocalAws, name: str, *needs: str, **hyperparameters: str) -> dict[str, Any]:
    request = training_request(aws, "", HyperParameters=hyperparameters)
    del request["TrainingJobName"]
    return {"Name": name, "Type": "Training", "Arguments": request, "DependsOn": list(needs)}


def start(aws: LocalAws, name: str, steps: list[Any], **request: Any) -> str:
    """Create or change a pipeline and start it; return the execution's ARN."""
    document = {"Version": "2020-12-01", "Parameters": [], "Steps": steps}
    made = {"PipelineName": name, "PipelineDefinition": json.dumps(document), "RoleArn": aws.role}
    names = [item["PipelineName"] for item in aws.sagemaker.list_pipelines()["PipelineSummaries"]]
    if name in names:
        aws.sagemaker.update_pipeline(**made)
    else:
        aws.sagemaker.create_pipeline(**made, ClientRequestToken=name.ljust(32, "0"))
    answer = aws.sagemaker.start_pipeline_execution(PipelineName=name, **request)
    return str(answer["PipelineExecutionArn"])


def wait_until_ended(aws: LocalAws, arn: str) -> Any:
    return wait_for(
        lambda: aws.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn),
        lambda answer: answer["PipelineExecutionStatus"] not in ("Executing", "Stopping"),
    )


def list_statuses(aws: LocalAws, arn: str) -> dict[str, str]:
    listed = aws.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)
    return {step["StepName"]: step["StepStatus"] for step in listed["PipelineExecutionSteps"]}


@pytest.mark.slow
def test_a_pipeline_of_the_sdk_v2_trains_gates_registers_and_tunes(own_aws: LocalAws) -> None:
    program = PROGRAMS / "sdk_v2_pipeline.py"
    data = f"s3://{own_aws.bucket}/data/"
    process = walkthrough.start(own_aws, "v2", program, own_aws.image, own_aws.role, data)
    facts = json.loads(walkthrough.finish(process).splitlines()[-1])
    chosen = dict.fromkeys(
        (
            *("Train", "Evaluate", "Gate", "Register-RegisterModel", "Create-CreateModel"),
            *("Transform", "Tune", "CreateBest-CreateModel"),
        ),
        "Succeeded",
    )
    assert facts == {
        "good": ["Succeeded", "", chosen, []],
        "cached": ["Succeeded", "", chosen, ["Train"]],
        "bad": [
            "Failed",
            "below 0.9",
            {**dict.fromkeys(("Train", "Evaluate", "Gate"), "Succeeded"), "Reject": "Failed"},
            [],
        ],
        "packages": 2,
        "version": "2",
    }


@pytest.mark.slow
def test_a_pipeline_of_the_sdk_v3_trains_and_gates(own_aws: LocalAws) -> None:
    data = f"s3://{own_aws.bucket}/data/"
    program = PROGRAMS / "sdk_v3_pipeline.py"
    process = walkthrough.start(own_aws, "v3", program, own_aws.image, own_aws.role, data)
    facts = json.loads(walkthrough.finish(process).splitlines()[-1])
    passed = [["Train", "Succeeded"], ["Gate", "Succeeded"]]
    assert facts == {"good": [*passed, []], "bad": [*passed, ["Refuse", "Failed"], ["Train"]]}


def test_a_failed_execution_runs_again_from_where_it_failed(own_aws: LocalAws) -> None:
    steps = [
        make_step(own_aws, "First"),
        make_step(own_aws, "Second", "First", failure="no luck"),
        make_step(own_aws, "Third", "Second"),
    ]
    arn = start(own_aws, "retry", steps)
    ended = wait_until_ended(own_aws, arn)
    reason = "Step failure: One or multiple steps failed."
    assert (ended["PipelineExecutionStatus"], ended["FailureReason"]) == ("Failed", reason)
    assert list_statuses(own_aws, arn) == {"First": "Succeeded", "Second": "Failed"}
    before = own_aws.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)
    jobs = {item["StepName"]: item["Metadata"] for item in before["PipelineExecutionSteps"]}
    own_aws.sagemaker.retry_pipeline_execution(
        PipelineExecutionArn=arn, ClientRequestToken="r" * 32
    )
    wait_until_ended(own_aws, arn)
    after = own_aws.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)
    again = {item["StepName"]: item["Metadata"] for item in after["PipelineExecutionSteps"]}
    assert again["First"] == jobs["First"]
    assert again["Second"] != jobs["Second"]


def test_a_stop_reaches_the_jobs_and_only_some_run_at_once(own_aws: LocalAws) -> None:
    steps = [make_step(own_aws, f"Wait{number}", epochs="900", epoch_s="1") for number in range(3)]
    limit = {"MaxParallelExecutionSteps": 2}
    arn = start(own_aws, "stop", steps, ParallelismConfiguration=limit)
    wait_for(lambda: list_statuses(own_aws, arn), lambda found: len(found) == 2)
    code, _ = refuse(
        own_aws.sagemaker.delete_pipeline, PipelineName="stop", ClientRequestToken="d" * 32
    )
    assert code == "ConflictException"
    own_aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken="s" * 32)
    assert wait_until_ended(own_aws, arn)["PipelineExecutionStatus"] == "Stopped"
    assert list(list_statuses(own_aws, arn).values()) == ["Stopped"] * 2
    own_aws.sagemaker.delete_pipeline(PipelineName="stop", ClientRequestToken="d" * 32)
    code, _ = refuse(own_aws.sagemaker.describe_pipeline, PipelineName="stop")
    assert code == "ResourceNotFound"


def test_selected_steps_take_the_rest_from_another_execution(own_aws: LocalAws) -> None:
    steps = [make_step(own_aws, "One"), make_step(own_aws, "Two", "One")]
    source = start(own_aws, "select", steps)
    wait_until_ended(own_aws, source)
    config = {"SourcePipelineExecutionArn": source, "SelectedSteps": [{"StepName": "Two"}]}
    arn = own_aws.sagemaker.start_pipeline_execution(
        PipelineName="select", SelectiveExecutionConfig=config
    )["PipelineExecutionArn"]
    assert wait_until_ended(own_aws, arn)["PipelineExecutionStatus"] == "Succeeded"
    listed = own_aws.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)
    results = {
        step["StepName"]: "SelectiveExecutionResult" in step
        for step in listed["PipelineExecutionSteps"]
    }
    assert results == {"One": True, "Two": False}


def test_an_execution_goes_on_after_a_kill(own_aws: LocalAws) -> None:
    first = make_step(own_aws, "Long", epochs="60", epoch_s="1")
    first["Arguments"]["RetryStrategy"] = {"MaximumRetryAttempts": 2}
    arn = start(own_aws, "kill", [first, make_step(own_aws, "Last", "Long")])
    listed = wait_for(
        lambda: own_aws.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn),
        lambda answer: any("Metadata" in step for step in answer["PipelineExecutionSteps"]),
    )
    [before] = listed["PipelineExecutionSteps"]
    wait_for(
        lambda: own_aws.sagemaker.list_training_jobs(StatusEquals="InProgress"),
        lambda answer: bool(answer["TrainingJobSummaries"]),
    )
    os.kill(own_aws.pid, signal.SIGKILL)
    own_aws.up()
    described = own_aws.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    assert described["PipelineExecutionStatus"] == "Executing"
    name = before["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    [running] = own_aws.sagemaker.list_training_jobs(StatusEquals="InProgress")[
        "TrainingJobSummaries"
    ]
    assert running["TrainingJobName"].lower() == name
    own_aws.sagemaker.stop_training_job(TrainingJobName=running["TrainingJobName"])
    ended = wait_until_ended(own_aws, arn)
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert list_statuses(own_aws, arn) == {"Long": "Failed"}
