"""The operations of a pipeline's executions."""

import secrets
import string
import time
from collections.abc import Mapping
from typing import Any, Final

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import PIPELINE, PIPELINE_EXECUTION
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.protocol.paging import Pager
from local_test.aws.sagemaker.listing import list_resources
from local_test.aws.sagemaker.pipelines import definition, runner
from local_test.aws.sagemaker.pipelines.pipeline_operations import (
    CREATOR,
    UNFINISHED,
    Request,
    find,
    refuse_versions,
)

_LETTERS: Final = string.ascii_lowercase + string.digits
_STEPS: Final = Pager("ListPipelineExecutionSteps", 20)
_PARAMETERS: Final = Pager("ListPipelineParametersForExecution", 20)


def _find_execution(account: Account, request: Request) -> dict[str, Any]:
    arn = request.get("PipelineExecutionArn", "")  # the model of the list operations asks for none
    record = account.store.find(PIPELINE_EXECUTION, arn.rpartition("/")[2])
    if record is None or record["PipelineExecutionArn"] != arn:
        raise AwsError("ResourceNotFound", f"Pipeline execution with ARN {arn} does not exist.")
    return record


def list_executions(account: Account, request: Request) -> dict[str, Any]:
    """Answer ListPipelineExecutions."""
    refuse_versions(request)
    name = find(account, request["PipelineName"])["PipelineName"]

    def enrich(_: Account, record: Mapping[str, Any]) -> Mapping[str, Any]:
        reason = record.get("FailureReason")
        times = {"StartTime": record["CreationTime"]}
        return {**record, **times, "PipelineExecutionFailureReason": reason}

    request = {**request, "PipelineName": name}
    return list_resources(account, "ListPipelineExecutions", request, enrich)


def start(account: Account, request: Request) -> dict[str, Any]:
    """Answer StartPipelineExecution; the answer leaves before the first step starts."""
    refuse_versions(request)
    pipeline = find(account, request["PipelineName"])
    token = request["ClientRequestToken"]
    for record in account.store.list(PIPELINE_EXECUTION):
        if record.get("_token") == token and record["PipelineName"] == pipeline["PipelineName"]:
            return {"PipelineExecutionArn": record["PipelineExecutionArn"]}
    parsed = definition.read(pipeline["PipelineDefinition"])
    given = {item["Name"]: item["Value"] for item in request.get("PipelineParameters", [])}
    selection = _select(account, parsed, request.get("SelectiveExecutionConfig"), given)
    try:
        parameters = parsed.bind(given)
    except UserError as error:
        reject(str(error))
    name = "".join(secrets.choice(_LETTERS) for _ in range(12))
    now = time.time()
    arn = f"{pipeline['PipelineArn']}/execution/{name}"
    kept = (
        *("PipelineExecutionDisplayName", "PipelineExecutionDescription"),
        *("ParallelismConfiguration", "SelectiveExecutionConfig", "RoleArn"),
    )
    record = {
        "ParallelismConfiguration": pipeline.get("ParallelismConfiguration"),
        "RoleArn": pipeline.get("RoleArn"),
        "PipelineExecutionDisplayName": f"execution-{int(now * 1000)}",
        **{key: request[key] for key in kept if key in request},
        "PipelineArn": pipeline["PipelineArn"],
        "PipelineName": pipeline["PipelineName"],
        "PipelineExecutionArn": arn,
        "PipelineExecutionStatus": "Executing",
        "CreationTime": now,
        "LastModifiedTime": now,
        "CreatedBy": CREATOR,
        "LastModifiedBy": CREATOR,
        "_name": name,
        "_token": token,
        "_definition": pipeline["PipelineDefinition"],
        "_parameters": parameters,
        "_given": {key: str(value) for key, value in {**_defaults(parsed), **given}.items()},
        "_steps": {},
        **selection,
    }
    present = {key: value for key, value in record.items() if value is not None}
    account.store.insert(PIPELINE_EXECUTION, name, present)
    account.store.update(PIPELINE, pipeline["PipelineName"], LastRunTime=now, LastExecutionTime=now)
    runner.start(account, name)
    return {"PipelineExecutionArn": arn}


def _defaults(parsed: definition.Definition) -> dict[str, Any]:
    return {
        item["Name"]: item["DefaultValue"]
        for item in parsed.parameters
        if item.get("DefaultValue") is not None
    }


def _select(
    account: Account,
    parsed: definition.Definition,
    config: Mapping[str, Any] | None,
    given: dict[str, str],
) -> dict[str, Any]:
    """Return what an execution of selected steps takes from another; add its parameters to `given`.

    Raises: AwsError if a step, the other execution, or a step that it lacks does not exist.
    """
    if config is None:
        return {}
    selected = [item["StepName"] for item in config["SelectedSteps"]]
    unknown = sorted(set(selected) - parsed.steps.keys())
    if unknown:
        reject(f"The pipeline has no step {', '.join(unknown)}.")
    states: dict[str, Any] = {}
    if "SourcePipelineExecutionArn" in config:
        arn = config["SourcePipelineExecutionArn"]
        source = _find_execution(account, {"PipelineExecutionArn": arn})
        given.update({**source["_given"], **given})
        states = {
            name: {**state, "_source": arn}
            for name, state in source["_steps"].items()
            if name not in selected and name in parsed.steps and state["StepStatus"] == "Succeeded"
        }
    for name in selected:
        missing = sorted(parsed.steps[name].needs - states.keys() - set(selected))
        if missing:
            reject(
                f"Step {name} needs {', '.join(missing)}: select them too, or name a "
                "SourcePipelineExecutionArn in which they have succeeded."
            )
    return {"_selected": selected, "_steps": states}


def describe_execution(account: Account, request: Request) -> dict[str, Any]:
    """Answer DescribePipelineExecution."""
    record = _find_execution(account, request)
    return messages.pick(messages.output_shape("DescribePipelineExecution"), record)


def describe_definition(account: Account, request: Request) -> dict[str, Any]:
    """Answer DescribePipelineDefinitionForExecution."""
    record = _find_execution(account, request)
    return {"PipelineDefinition": record["_definition"], "CreationTime": record["CreationTime"]}


def list_parameters(account: Account, request: Request) -> dict[str, Any]:
    """Answer ListPipelineParametersForExecution."""
    given = _find_execution(account, request)["_given"]
    shown, more = _PARAMETERS.cut(
        [{"Name": name, "Value": value} for name, value in given.items()], request
    )
    return {"PipelineParameters": shown, **more}


def list_steps(account: Account, request: Request) -> dict[str, Any]:
    """Answer ListPipelineExecutionSteps: the steps that have begun, the latest first."""
    record = _find_execution(account, request)
    parsed = definition.read(record["_definition"])
    shape = messages.summary_shape("ListPipelineExecutionSteps", "PipelineExecutionSteps")
    found = []
    for name, state in record["_steps"].items():
        body = parsed.steps[name].body
        described = {
            "StepName": name,
            "StepDisplayName": body.get("DisplayName"),
            "StepDescription": body.get("Description"),
            **state,
        }
        if "_source" in state:
            arn = state["_source"]
            described["SelectiveExecutionResult"] = {"SourcePipelineExecutionArn": arn}
        found.append(messages.pick(shape, described))
    shown, more = _STEPS.cut(
        found,
        request,
        lambda item: [item["StartTime"], item["StepName"]],
        is_descending=request.get("SortOrder", "Descending") == "Descending",
    )
    return {"PipelineExecutionSteps": shown, **more}


def update_execution(account: Account, request: Request) -> dict[str, Any]:
    """Answer UpdatePipelineExecution; another parallelism holds for the steps that are left."""
    record = _find_execution(account, request)
    changes = {key: value for key, value in request.items() if key != "PipelineExecutionArn"}
    account.store.update(PIPELINE_EXECUTION, record["_name"], **changes)
    account.notify()
    return {"PipelineExecutionArn": record["PipelineExecutionArn"]}


def stop(account: Account, request: Request) -> dict[str, Any]:
    """Answer StopPipelineExecution; the jobs of its steps are stopped in the background."""
    found = _find_execution(account, request)

    def change(record: dict[str, Any]) -> None:
        status = record["PipelineExecutionStatus"]
        if status not in UNFINISHED:
            arn = record["PipelineExecutionArn"]
            message = f"Only executing pipelines can be stopped; {arn} is {status}."
            raise AwsError("ConflictException", message)
        record["PipelineExecutionStatus"] = "Stopping"

    account.store.note(PIPELINE_EXECUTION, found["_name"], change)
    account.notify()
    return {"PipelineExecutionArn": found["PipelineExecutionArn"]}


def retry(account: Account, request: Request) -> dict[str, Any]:
    """Answer RetryPipelineExecution: what has not succeeded runs again, in the same execution."""
    found = _find_execution(account, request)

    def change(record: dict[str, Any]) -> None:
        status = record["PipelineExecutionStatus"]
        if status not in ("Failed", "Stopped"):
            arn = record["PipelineExecutionArn"]
            message = f"Only failed and stopped executions can be retried; {arn} is {status}."
            raise AwsError("ConflictException", message)
        record["_steps"] = {
            name: state
            for name, state in record["_steps"].items()
            if state["StepStatus"] == "Succeeded"
        }
        record["PipelineExecutionStatus"] = "Executing"
        record["FailureReason"] = None
        if "ParallelismConfiguration" in request:
            record["ParallelismConfiguration"] = request["ParallelismConfiguration"]

    account.store.edit(PIPELINE_EXECUTION, found["_name"], change)
    runner.start(account, found["_name"])
    return {"PipelineExecutionArn": found["PipelineExecutionArn"]}


OPERATIONS: Final = {
    "StartPipelineExecution": start,
    "StopPipelineExecution": stop,
    "RetryPipelineExecution": retry,
    "UpdatePipelineExecution": update_execution,
    "DescribePipelineExecution": describe_execution,
    "DescribePipelineDefinitionForExecution": describe_definition,
    "ListPipelineExecutions": list_executions,
    "ListPipelineExecutionSteps": list_steps,
    "ListPipelineParametersForExecution": list_parameters,
}
