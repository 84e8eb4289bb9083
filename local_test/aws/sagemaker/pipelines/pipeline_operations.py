"""The operations of pipelines and their executions."""

from __future__ import annotations

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
from local_test.aws.sagemaker.tags import merge_tags
from local_test.data import storage

Request = Mapping[str, Any]
_CREATOR: Final = {"UserProfileName": "local"}
_REFUSED: Final = (
    *("PipelineVersionId", "PipelineVersionAlias", "PipelineVersionAliases"),
    *("MlflowExperimentName",),
)
_LETTERS: Final = string.ascii_lowercase + string.digits
_STEPS: Final = Pager("ListPipelineExecutionSteps", 20)
_PARAMETERS: Final = Pager("ListPipelineParametersForExecution", 20)
_UNFINISHED: Final = ("Executing", "Stopping")


def _refuse_versions(request: Request) -> None:
    for name in _REFUSED:
        if request.get(name):
            reject(f"{name} is not emulated: the latest version of a pipeline runs.")


def _read_definition(request: Request) -> str:
    """Return the definition that a request has, or names in S3, after it was checked."""
    if ("PipelineDefinition" in request) == ("PipelineDefinitionS3Location" in request):
        reject("Exactly one of PipelineDefinition and PipelineDefinitionS3Location is required.")
    text = request.get("PipelineDefinition")
    if text is None:
        place = request["PipelineDefinitionS3Location"]
        text = storage.read(f"s3://{place['Bucket']}/{place['ObjectKey']}").decode("utf-8")
    definition.read(text)
    return str(text)


def _find(account: Account, name_or_arn: str) -> dict[str, Any]:
    for record in account.store.list(PIPELINE):
        if name_or_arn in (record["PipelineName"], record["PipelineArn"]):
            return record
    raise AwsError("ResourceNotFound", f"Pipeline '{name_or_arn}' does not exist.")


def _find_execution(account: Account, request: Request) -> dict[str, Any]:
    arn = request["PipelineExecutionArn"]
    record = account.store.find(PIPELINE_EXECUTION, arn.rpartition("/")[2])
    if record is None or record["PipelineExecutionArn"] != arn:
        raise AwsError("ResourceNotFound", f"Pipeline execution with ARN {arn} does not exist.")
    return record


def create(account: Account, request: Request) -> dict[str, Any]:
    """Answer CreatePipeline."""
    _refuse_versions(request)
    name = request["PipelineName"]
    arn = account.arn(PIPELINE.name, name)
    for record in account.store.list(PIPELINE):
        if record.get("_token") == request["ClientRequestToken"]:
            return {"PipelineArn": record["PipelineArn"]}
    now = time.time()
    left_out = ("PipelineDefinitionS3Location", "ClientRequestToken", "Tags")
    record = {
        **{key: value for key, value in request.items() if key not in left_out},
        "PipelineDefinition": _read_definition(request),
        "PipelineArn": arn,
        "PipelineStatus": "Active",
        "CreationTime": now,
        "LastModifiedTime": now,
        "CreatedBy": _CREATOR,
        "LastModifiedBy": _CREATOR,
        "Tags": merge_tags([], request.get("Tags", [])),
        "_token": request["ClientRequestToken"],
        "_version": 1,
    }
    if not account.store.insert(PIPELINE, name, record):
        reject(
            "Pipeline names must be unique within an AWS account and region. "
            f"Pipeline with name ({name}) already exists."
        )
    return {"PipelineArn": arn}


def update(account: Account, request: Request) -> dict[str, Any]:
    """Answer UpdatePipeline; executions that run keep the definition that they began with."""
    _refuse_versions(request)
    found = _find(account, request["PipelineName"])
    changes = {
        key: value
        for key, value in request.items()
        if key not in ("PipelineName", "PipelineDefinitionS3Location")
    }
    if "PipelineDefinition" in request or "PipelineDefinitionS3Location" in request:
        changes["PipelineDefinition"] = _read_definition(request)
    changes["_version"] = found["_version"] + 1
    account.store.update(PIPELINE, found["PipelineName"], **changes)
    return {"PipelineArn": found["PipelineArn"], "PipelineVersionId": changes["_version"]}


def describe(account: Account, request: Request) -> dict[str, Any]:
    """Answer DescribePipeline."""
    _refuse_versions(request)
    found = _find(account, request["PipelineName"])
    return messages.pick(messages.output_shape("DescribePipeline"), found)


def delete(account: Account, request: Request) -> dict[str, Any]:
    """Answer DeletePipeline; what its executions have made stays.

    Raises: AwsError ConflictException while an execution runs.
    """
    found = _find(account, request["PipelineName"])
    executions = [
        record
        for record in account.store.list(PIPELINE_EXECUTION)
        if record["PipelineName"] == found["PipelineName"]
    ]
    running = [item for item in executions if item["PipelineExecutionStatus"] in _UNFINISHED]
    if running:
        arn = running[0]["PipelineExecutionArn"]
        raise AwsError("ConflictException", f"{arn} still runs; stop it, and delete then.")
    for record in executions:
        account.store.delete(PIPELINE_EXECUTION, record["_name"])
    account.store.delete(PIPELINE, found["PipelineName"])
    return {"PipelineArn": found["PipelineArn"]}


def list_pipelines(account: Account, request: Request) -> dict[str, Any]:
    """Answer ListPipelines."""
    if "ManagedBy" in request:
        reject("ManagedBy is not emulated: nothing here is managed by another service.")
    return list_resources(account, "ListPipelines", request)


def list_executions(account: Account, request: Request) -> dict[str, Any]:
    """Answer ListPipelineExecutions."""
    _refuse_versions(request)
    name = _find(account, request["PipelineName"])["PipelineName"]

    def enrich(_: Account, record: Mapping[str, Any]) -> Mapping[str, Any]:
        reason = record.get("FailureReason")
        times = {"StartTime": record["CreationTime"]}
        return {**record, **times, "PipelineExecutionFailureReason": reason}

    request = {**request, "PipelineName": name}
    return list_resources(account, "ListPipelineExecutions", request, enrich)


def start(account: Account, request: Request) -> dict[str, Any]:
    """Answer StartPipelineExecution; the answer leaves before the first step starts."""
    _refuse_versions(request)
    pipeline = _find(account, request["PipelineName"])
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
        "CreatedBy": _CREATOR,
        "LastModifiedBy": _CREATOR,
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
    """Answer UpdatePipelineExecution; another parallelism holds from the next restart."""
    record = _find_execution(account, request)
    changes = {key: value for key, value in request.items() if key != "PipelineExecutionArn"}
    account.store.update(PIPELINE_EXECUTION, record["_name"], **changes)
    return {"PipelineExecutionArn": record["PipelineExecutionArn"]}


def stop(account: Account, request: Request) -> dict[str, Any]:
    """Answer StopPipelineExecution; the jobs of its steps are stopped in the background."""
    found = _find_execution(account, request)

    def change(record: dict[str, Any]) -> None:
        status = record["PipelineExecutionStatus"]
        if status not in _UNFINISHED:
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
    "CreatePipeline": create,
    "UpdatePipeline": update,
    "DescribePipeline": describe,
    "DeletePipeline": delete,
    "ListPipelines": list_pipelines,
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
