"""What a step does: it asks for a resource of SageMaker, and reads how that ended."""

import contextlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT_CONFIG, MODEL, PACKAGE_GROUP, Kind
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import (
    endpoint_operations,
    job_operations,
    live_jobs,
    model_operations,
    package_operations,
)
from local_test.aws.sagemaker.live_jobs import JobKind
from local_test.aws.sagemaker.pipelines.definition import CREATORS
from local_test.aws.sagemaker.pipelines.expressions import to_text
from local_test.aws.sagemaker.pipelines.functions import function_calls
from local_test.aws.sagemaker.tuning import tuning_operations
from local_test.data import storage
from local_test.requests import shapes

Request = Mapping[str, Any]


@dataclass(frozen=True)
class Doing:
    """What differs between the types of steps that ask for a resource."""

    name: str
    """The member that names the resource; empty if the service chooses its name."""
    metadata: str
    """Its member in a step's metadata."""
    create: Callable[[Account, Request], Mapping[str, Any]]
    describe: Callable[[Account, str], Mapping[str, Any]]
    """Takes the resource's name, or its ARN if it has none."""
    status: str = ""
    """The member of its description that says how it is; empty if it exists at once."""
    stop: Callable[[Account, str], object] | None = None


def _make_job(job: JobKind, create: Callable[[Account, Request], Mapping[str, Any]]) -> Doing:
    kind = job.kind

    def describe(account: Account, name: str) -> Mapping[str, Any]:
        return job_operations.describe_job(account, job, {kind.name_name: name})

    def stop(account: Account, name: str) -> None:
        job_operations.stop_job(account, job, {kind.name_name: name})

    return Doing(kind.name_name, kind.prefix, create, describe, kind.status_name, stop)


def _make_resource(kind: Kind[Any], create: Callable[[Account, Request], Request]) -> Doing:
    def describe(account: Account, name: str) -> Request:
        return model_operations.describe(account, kind, {kind.name_name: name})

    return Doing(kind.name_name, kind.prefix, create, describe)


_TUNING_NAME: Final = "HyperParameterTuningJobName"


def _describe_tuning(account: Account, name: str) -> Mapping[str, Any]:
    """Describe a tuning job with its training jobs, the best first, as the SDK refers to them."""
    request = {_TUNING_NAME: name}
    described = tuning_operations.describe_tuning_job(account, request)
    order = "Descending"
    goal = described["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective", {})
    if goal.get("Type") == "Minimize":
        order = "Ascending"
    sorting = {"SortBy": "FinalObjectiveMetricValue", "SortOrder": order, "MaxResults": 100}
    listed = tuning_operations.list_training_jobs(account, {**request, **sorting})
    return {**described, **listed}


def _register(account: Account, request: Request) -> Mapping[str, Any]:
    """Create a model package, and its group if it is the first of it."""
    group = request.get("ModelPackageGroupName", "").rpartition("/")[2]
    if group and account.store.find(PACKAGE_GROUP, group) is None:
        package_operations.create_group(account, {"ModelPackageGroupName": group})
    return package_operations.create_package(account, request)


DOINGS: Final[Mapping[str, Doing]] = {
    "Training": _make_job(live_jobs.TRAINING, job_operations.create_training_job),
    "Processing": _make_job(live_jobs.PROCESSING, job_operations.create_processing_job),
    "Transform": _make_job(live_jobs.TRANSFORM, job_operations.create_transform_job),
    "Tuning": Doing(
        _TUNING_NAME,
        "TuningJob",
        tuning_operations.create_tuning_job,
        _describe_tuning,
        "HyperParameterTuningJobStatus",
        lambda account, name: tuning_operations.stop_tuning_job(account, {_TUNING_NAME: name}),
    ),
    "Model": _make_resource(MODEL, model_operations.create_model),
    "RegisterModel": Doing(
        "",
        "RegisterModel",
        _register,
        lambda owner, arn: package_operations.describe_package(owner, {"ModelPackageName": arn}),
    ),
    "EndpointConfig": _make_resource(ENDPOINT_CONFIG, model_operations.create_endpoint_config),
    "Endpoint": Doing(
        "EndpointName",
        "Endpoint",
        endpoint_operations.create_endpoint,
        lambda owner, name: endpoint_operations.describe_endpoint(owner, {"EndpointName": name}),
        "EndpointStatus",
    ),
    "Lambda": Doing(
        "FunctionCallName",
        "Lambda",
        function_calls.call,
        function_calls.describe,
        "FunctionCallStatus",
        function_calls.stop,
    ),
}
_ENDS: Final = {
    "Completed": "Succeeded",
    "InService": "Succeeded",
    "Failed": "Failed",
    "Stopped": "Failed",
}


def ask(account: Account, kind: str, arguments: Request, name: str) -> dict[str, Any]:
    """Ask for a step's resource; return the step's metadata.

    Raises: AwsError, UserError if the service would refuse the request.
    """
    doing = DOINGS[kind]
    asked = {**arguments, doing.name: name} if doing.name else dict(arguments)
    if kind == "RegisterModel":  # so that asking twice registers one
        asked["ClientToken"] = uuid.uuid5(uuid.NAMESPACE_OID, name).hex
    if kind in CREATORS:
        asked = messages.validate(shapes.input_shape(CREATORS[kind]), asked)
    answer = doing.create(account, asked)
    arn = next(value for key, value in answer.items() if key.endswith("Arn"))
    return {doing.metadata: {"Arn": arn}}


def exists(account: Account, kind: str, name: str) -> bool:
    """Return whether a resource that a step has named was made before the last restart."""
    doing = DOINGS[kind]
    if not doing.name:
        return False
    try:
        doing.describe(account, name)
    except AwsError:
        return False
    return True


def find_end(account: Account, kind: str, name: str) -> tuple[str, str]:
    """Return how a step ended and why it failed; the former is empty while its job runs."""
    doing = DOINGS[kind]
    if not doing.status:
        return "Succeeded", ""
    try:
        described = doing.describe(account, name)
    except AwsError as error:
        return "Failed", f"ClientError: {error.message}"
    end = _ENDS.get(described[doing.status], "")
    reason = described.get("FailureReason", "")
    if end == "Failed" and not reason:
        reason = f"ClientError: {name} ended as {described[doing.status]}"
    return end, reason


def show_outputs(account: Account, kind: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the end of a step adds to its state: the outputs of a function."""
    if kind != "Lambda":
        return {}
    found = function_calls.describe(account, state["_job"]).get("OutputParameters", {})
    outputs = [{"Name": name, "Value": to_text(value)[:1024]} for name, value in found.items()]
    return {"Metadata": {"Lambda": {**state["Metadata"]["Lambda"], "OutputParameters": outputs}}}


def stop(account: Account, kind: str, name: str) -> None:
    """Stop a step's job, if it has one that runs; an endpoint is left to become healthy."""
    halt = DOINGS[kind].stop
    if halt is not None:
        with contextlib.suppress(AwsError):  # it has ended, or was never made
            halt(account, name)


def describe(account: Account, kind: str, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the properties of a step that has succeeded.

    Raises: UserError if its resource was deleted.
    """
    doing = DOINGS[kind]
    named = state["_job"] if doing.name else state["Metadata"][doing.metadata]["Arn"]
    try:
        return doing.describe(account, named)
    except AwsError as error:
        raise UserError(error.message) from error


def read_property_file(properties: Mapping[str, Any], body: Mapping[str, Any], name: str) -> Any:
    """Return the JSON document of a property file of a processing step.

    Raises: UserError if the step, its output or the file does not have it.
    """
    files = {item["PropertyFileName"]: item for item in body.get("PropertyFiles", [])}
    if name not in files:
        raise UserError(f"step {body['Name']!r} has no property file {name!r}")
    outputs = {
        item["OutputName"]: item["S3Output"]["S3Uri"]
        for item in properties.get("ProcessingOutputConfig", {}).get("Outputs", [])
        if "S3Output" in item
    }
    output = files[name]["OutputName"]
    if output not in outputs:
        raise UserError(f"step {body['Name']!r} has no output {output!r}")
    return read_document(f"{outputs[output].rstrip('/')}/{files[name]['FilePath']}")


def read_document(uri: str) -> Any:
    """Return a JSON document. Raises: UserError if it cannot be read."""
    try:
        return json.loads(storage.read(uri))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{uri} is not JSON: {error}") from error
