"""The operations of pipelines."""

import time
from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import PIPELINE, PIPELINE_EXECUTION
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.sagemaker.listing import list_resources
from local_test.aws.sagemaker.pipelines import definition
from local_test.aws.sagemaker.pipelines.functions import function_calls
from local_test.aws.sagemaker.tags import merge_tags
from local_test.data import storage

Request = Mapping[str, Any]
CREATOR: Final = {"UserProfileName": "local"}
_REFUSED: Final = (
    *("PipelineVersionId", "PipelineVersionAlias", "PipelineVersionAliases"),
    *("MlflowExperimentName",),
)
UNFINISHED: Final = ("Executing", "Stopping")


def refuse_versions(request: Request) -> None:
    """Refuse members that choose a version, or another service. Raises: AwsError."""
    for name in _REFUSED:
        if request.get(name):
            reject(f"{name} is not emulated: the latest version of a pipeline runs.")


def _read_definition(account: Account, request: Request) -> str:
    """Return the definition that a request has, or names in S3, after it was checked."""
    if ("PipelineDefinition" in request) == ("PipelineDefinitionS3Location" in request):
        reject("Exactly one of PipelineDefinition and PipelineDefinitionS3Location is required.")
    text = request.get("PipelineDefinition")
    if text is None:
        place = request["PipelineDefinitionS3Location"]
        if "VersionId" in place:
            reject("PipelineDefinitionS3Location.VersionId is not emulated: there is one version.")
        text = storage.read(f"s3://{place['Bucket']}/{place['ObjectKey']}").decode("utf-8")
    kinds = {step.name: step.kind for step in definition.read(text).steps.values()}
    functions = [name for name, kind in kinds.items() if kind == "Lambda"]
    if functions and not account.runs_functions:
        reject(f"Lambda steps ({', '.join(functions)}) do not run here: {function_calls.HINT}.")
    return str(text)


def find(account: Account, name_or_arn: str) -> dict[str, Any]:
    """Return the record of a pipeline. Raises: AwsError ResourceNotFound."""
    for record in account.store.list(PIPELINE):
        if name_or_arn in (record["PipelineName"], record["PipelineArn"]):
            return record
    raise AwsError("ResourceNotFound", f"Pipeline '{name_or_arn}' does not exist.")


def create(account: Account, request: Request) -> dict[str, Any]:
    """Answer CreatePipeline."""
    refuse_versions(request)
    name = request["PipelineName"]
    arn = account.arn(PIPELINE.name, name)
    for record in account.store.list(PIPELINE):
        if record.get("_token") == request["ClientRequestToken"]:
            return {"PipelineArn": record["PipelineArn"]}
    now = time.time()
    left_out = ("PipelineDefinitionS3Location", "ClientRequestToken", "Tags")
    record = {
        **{key: value for key, value in request.items() if key not in left_out},
        "PipelineDefinition": _read_definition(account, request),
        "PipelineArn": arn,
        "PipelineStatus": "Active",
        "CreationTime": now,
        "LastModifiedTime": now,
        "CreatedBy": CREATOR,
        "LastModifiedBy": CREATOR,
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
    refuse_versions(request)
    found = find(account, request["PipelineName"])
    changes = {
        key: value
        for key, value in request.items()
        if key not in ("PipelineName", "PipelineDefinitionS3Location")
    }
    if "PipelineDefinition" in request or "PipelineDefinitionS3Location" in request:
        changes["PipelineDefinition"] = _read_definition(account, request)
    changes["_version"] = found["_version"] + 1
    account.store.update(PIPELINE, found["PipelineName"], **changes)
    return {"PipelineArn": found["PipelineArn"], "PipelineVersionId": changes["_version"]}


def describe(account: Account, request: Request) -> dict[str, Any]:
    """Answer DescribePipeline."""
    refuse_versions(request)
    found = find(account, request["PipelineName"])
    return messages.pick(messages.output_shape("DescribePipeline"), found)


def delete(account: Account, request: Request) -> dict[str, Any]:
    """Answer DeletePipeline; what its executions have made stays.

    Raises: AwsError ConflictException while an execution runs.
    """
    found = find(account, request["PipelineName"])
    executions = [
        record
        for record in account.store.list(PIPELINE_EXECUTION)
        if record["PipelineName"] == found["PipelineName"]
    ]
    running = [item for item in executions if item["PipelineExecutionStatus"] in UNFINISHED]
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


OPERATIONS: Final = {
    "CreatePipeline": create,
    "UpdatePipeline": update,
    "DescribePipeline": describe,
    "DeletePipeline": delete,
    "ListPipelines": list_pipelines,
}
