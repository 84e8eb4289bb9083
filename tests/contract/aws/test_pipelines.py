"""SageMaker Pipelines: executions of unmodified SDK code and of boto3's."""

from __future__ import annotations

import io
import json
import os
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.aws import walkthrough
from tests.contract.aws.client import LocalAws, refuse, training_request
from tests.support import PROGRAMS, wait_for


@pytest.fixture(scope="module")
def own_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    local = LocalAws(tmp_path_factory.mktemp("pipelines-aws"))
    local.flags = ("--run-functions",)
    with local.running():
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


@pytest.mark.slow
@pytest.mark.parametrize("sdk", ["v2", "v3"])
def test_a_lambda_step_of_the_sdk_runs_its_function(
    own_aws: LocalAws, sdk: str, tmp_path: Path
) -> None:
    program = PROGRAMS / "sdk_pipeline_function.py"
    process = walkthrough.start(own_aws, sdk, program, own_aws.role, tmp_path)
    facts = json.loads(walkthrough.finish(process).splitlines()[-1])
    reason = "ClientError: the Lambda function failed: LookupError: nobody is here"
    assert facts == {
        "Ann": {"steps": ["Succeeded"] * 2, "outputs": ["hello Ann", "1"], "reason": [""]},
        "Bob": {
            "steps": ["Failed", "Succeeded", "Succeeded"],
            "outputs": ["hello Bob", "1"],
            "reason": [""],
        },
        "nobody": {"steps": ["Failed"], "outputs": [], "reason": [reason]},
    }


HANDLER = """
import pathlib, time

def handle(event, context):
    print("called")
    while not pathlib.Path(event["file"]).exists():
        time.sleep(0.05)
    return {"done": True}
"""


def make_function_step(aws: LocalAws, file: Path) -> dict[str, Any]:
    """Create a function that waits for a file, and return a step that calls it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("waits.py", HANDLER)
    made = aws.client("lambda").create_function(
        FunctionName=file.stem,
        Runtime="python3.11",
        Handler="waits.handle",
        Role=aws.role,
        Code={"ZipFile": packed.getvalue()},
        Timeout=60,
    )
    return {
        "Name": "Call",
        "Type": "Lambda",
        "Arguments": {"file": str(file)},
        "FunctionArn": made["FunctionArn"],
        "OutputParameters": [{"OutputName": "done", "OutputType": "Boolean"}],
    }


def count_calls(aws: LocalAws, function: str) -> int:
    """Return how often a function has printed that it was called."""
    logs, group = aws.client("logs"), f"/aws/lambda/{function}"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return 0
    found = logs.filter_log_events(logGroupName=group, filterPattern="called")
    return len(found["events"])


def test_a_function_is_stopped_and_called_again_after_a_kill(
    own_aws: LocalAws, tmp_path: Path
) -> None:
    stopped = start(own_aws, "function-stop", [make_function_step(own_aws, tmp_path / "stopped")])
    wait_for(lambda: count_calls(own_aws, "stopped"), lambda count: count == 1)
    token = {"ClientRequestToken": "s" * 32}
    own_aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=stopped, **token)
    assert wait_until_ended(own_aws, stopped)["PipelineExecutionStatus"] == "Stopped"

    arn = start(own_aws, "function-kill", [make_function_step(own_aws, tmp_path / "killed")])
    wait_for(lambda: count_calls(own_aws, "killed"), lambda count: count == 1)
    os.kill(own_aws.pid, signal.SIGKILL)
    own_aws.up()
    wait_for(lambda: count_calls(own_aws, "killed"), lambda count: count == 2)
    (tmp_path / "killed").touch()
    assert wait_until_ended(own_aws, arn)["PipelineExecutionStatus"] == "Succeeded"


def test_a_lambda_step_is_refused_where_functions_do_not_run(aws: LocalAws) -> None:
    step = make_function_step(aws, Path("never"))
    document = {"Version": "2020-12-01", "Steps": [step]}
    code, message = refuse(
        aws.sagemaker.create_pipeline,
        PipelineName="never",
        PipelineDefinition=json.dumps(document),
        RoleArn=aws.role,
        ClientRequestToken="n" * 32,
    )
    assert (code, "up --run-functions`" in message) == ("ValidationException", True)


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
