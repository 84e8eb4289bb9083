"""The operations of inference components (IC-1)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import COMPONENT, ENDPOINT, MODEL
from local_test.aws.account.records import CopiedRequests, Endpoint, InferenceComponent, Request
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import reject
from local_test.aws.sagemaker import model_operations
from local_test.aws.sagemaker.hosting import live_components
from local_test.data import models
from local_test.requests import component_rules, validation, variant_rules

_IN_PROGRESS: Final = ("Creating", "Updating", "Deleting")
_SHOWN: Final = ("ManagedInstanceScaling", "RoutingConfig")
"""Members of a variant that DescribeEndpoint returns."""
_USAGE: Final = "Total number of inference component copies"


def create(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateInferenceComponent; the copies start in the background."""
    valid = validation.admit("CreateInferenceComponent", request)
    endpoint = model_operations.find(account, ENDPOINT, request["EndpointName"])
    variant = _choose_variant(endpoint["_requests"]["config"], request)
    if endpoint["EndpointStatus"] != "InService":
        reject(
            f'Cannot create an inference component on endpoint "{endpoint["EndpointArn"]}" in '
            f"status {endpoint['EndpointStatus']}; wait until it is InService."
        )
    requests: CopiedRequests = {
        "specification": request["Specification"],
        "model": _find_model(account, request, request["Specification"], endpoint),
        "copies": request.get("RuntimeConfig", {}).get("CopyCount", 1),
    }
    _check_quota(account, request["InferenceComponentName"], requests["copies"])
    extra = {
        "VariantName": variant,
        "EndpointArn": endpoint["EndpointArn"],
        "InferenceComponentStatus": "Creating",
        "_requests": requests,
    }
    answer = model_operations.insert(account, COMPONENT, valid, extra)
    live_components.start(account, request["InferenceComponentName"])
    return answer


def _choose_variant(config: Request, request: Mapping[str, Any]) -> str:
    """Return the name of the variant that hosts a component.

    Raises: AwsError if it does not exist, has a model, or is not named although there are several.
    """
    variants = config["ProductionVariants"]
    names = [str(variant["VariantName"]) for variant in variants]
    if any("ModelName" in variant for variant in variants):
        reject(
            f"Endpoint {request['EndpointName']} has variants with a ModelName; inference "
            "components need an endpoint whose configuration has an ExecutionRoleArn and variants "
            "without a ModelName."
        )
    if "VariantName" not in request and len(names) > 1:
        reject(f"VariantName is required: the endpoint has {', '.join(names)}.")
    name = str(request.get("VariantName", names[0]))
    if name not in names:
        reject(
            f'The variant name(s) "{name}" is/are not present within endpoint configuration '
            f'"{config["EndpointConfigName"]}"; choose one of {", ".join(names)}.'
        )
    return name


def _find_model(
    account: Account,
    request: Mapping[str, Any],
    specification: Mapping[str, Any],
    endpoint: Endpoint,
) -> Request:
    """Return the CreateModel request of what a component runs; an endpoint may isolate it.

    Raises: AwsError if the model does not exist, UserError if it cannot be run here.
    """
    if "ModelName" in specification:
        found = model_operations.find(account, MODEL, specification["ModelName"])["_request"]
    else:
        name = request["InferenceComponentName"]
        found = component_rules.make_model(name, specification["Container"])
        validation.admit("CreateModel", found)
        models.check_presence(found["PrimaryContainer"])
    if fault := component_rules.find_model_fault(found):
        reject(f"{fault}.")
    if endpoint["_requests"]["config"].get("EnableNetworkIsolation"):
        found["EnableNetworkIsolation"] = True
    return found


def _check_quota(account: Account, name: str, copies: int) -> None:
    others = [
        _count_wanted(record)
        for record in account.store.list(COMPONENT)
        if record["InferenceComponentName"] != name
    ]
    account.check_quota(_USAGE, sum(others), copies)


def _count_wanted(record: InferenceComponent) -> int:
    """Return how many copies a component has, or will have after its update."""
    if record["InferenceComponentStatus"] == "Failed":
        return 0
    return (record.get("_next_requests") or record["_requests"])["copies"]


def describe(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeInferenceComponent."""
    name = request["InferenceComponentName"]
    record = model_operations.find(account, COMPONENT, name)
    current = record["_requests"]
    wanted = record.get("_next_requests") or current
    live = live_components.find_live(account, name)
    described = {
        **record,
        "Specification": _summarize(current["specification"], record),
        "RuntimeConfig": {
            "DesiredCopyCount": wanted["copies"],
            "CurrentCopyCount": live.count_copies() if live else 0,
        },
    }
    return messages.pick(messages.output_shape("DescribeInferenceComponent"), described)


def _summarize(specification: Mapping[str, Any], record: InferenceComponent) -> dict[str, Any]:
    """Return a Specification as Describe shows it."""
    if "Container" not in specification:
        return dict(specification)
    container = dict(specification["Container"])
    image = container.pop("Image")
    container["DeployedImage"] = {
        "SpecifiedImage": image,
        "ResolvedImage": image,
        "ResolutionTime": record["CreationTime"],
    }
    return {**specification, "Container": container}


def update(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer UpdateInferenceComponent: new copies take over once all of them are healthy."""
    valid = validation.admit("UpdateInferenceComponent", request)
    record = model_operations.find(account, COMPONENT, request["InferenceComponentName"])
    old = record["_requests"]
    requests: CopiedRequests = {
        **old,
        "copies": request.get("RuntimeConfig", {}).get("CopyCount", old["copies"]),
    }
    if "Specification" in request:
        merged = component_rules.merge(old["specification"], request["Specification"])
        if faults := component_rules.find_specification_faults(merged):
            raise UserError.from_faults("UpdateInferenceComponent is refused", faults)
        requests["specification"] = merged
        if request["Specification"].keys() & {"ModelName", "Container"}:
            endpoint = model_operations.find(account, ENDPOINT, record["EndpointName"])
            requests["model"] = _find_model(account, request, merged, endpoint)
    return _begin_change(account, record, requests, valid.notes)


def update_runtime_config(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer UpdateInferenceComponentRuntimeConfig: copies are started or stopped."""
    record = model_operations.find(account, COMPONENT, request["InferenceComponentName"])
    copies = request["DesiredRuntimeConfig"]["CopyCount"]
    return _begin_change(account, record, {**record["_requests"], "copies": copies})


def _begin_change(
    account: Account, found: InferenceComponent, requests: CopiedRequests, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Write a change down, then make it; after a crash it is made again."""
    name = found["InferenceComponentName"]
    _check_quota(account, name, requests["copies"])

    def change(record: InferenceComponent) -> None:
        if record["InferenceComponentStatus"] != "InService":
            _refuse_status(record, "update")
        record["InferenceComponentStatus"] = "Updating"
        record["_next_requests"] = requests
        known = record["_without_effect"]
        record["_without_effect"] = [*known, *(note for note in notes if note not in known)]
        record["FailureReason"] = None

    record = account.store.edit(COMPONENT, name, change)
    live_components.start_change(account, name)
    return {"InferenceComponentArn": record["InferenceComponentArn"]}


def _refuse_status(record: InferenceComponent, verb: str) -> NoReturn:
    status = record["InferenceComponentStatus"]
    arn = record["InferenceComponentArn"]
    if status == "Failed":
        reject(f'Cannot {verb} inference component "{arn}" in status Failed; delete it.')
    reject(f'Cannot {verb} in-progress inference component "{arn}": it is {status}.')


def delete(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteInferenceComponent; the copies stop in the background."""

    def change(record: InferenceComponent) -> None:
        if record["InferenceComponentStatus"] in _IN_PROGRESS:
            _refuse_status(record, "delete")
        record["InferenceComponentStatus"] = "Deleting"

    name = request["InferenceComponentName"]
    model_operations.find(account, COMPONENT, name)
    account.store.edit(COMPONENT, name, change)
    live_components.start_deletion(account, name)


def check_deletion(account: Account, endpoint: str) -> None:
    """Refuse to delete an endpoint that has inference components, in the service's own words.

    Raises: AwsError.
    """
    names = [item["InferenceComponentName"] for item in list_of(account, endpoint)]
    if names:
        reject(
            "Cannot delete endpoint with inference component associated. Please delete inference "
            f"component and try it again. It has: {', '.join(names)}."
        )


def check_update(account: Account, endpoint: str, config: Request) -> None:
    """Refuse a configuration without a variant that hosts inference components.

    Raises: AwsError.
    """
    variants = variant_rules.list_shared(config["ProductionVariants"])
    shared = {variant["VariantName"] for variant in variants}
    for record in list_of(account, endpoint):
        if record["VariantName"] not in shared:
            reject(
                f"Variant {record['VariantName']} has inference component "
                f"{record['InferenceComponentName']}; keep a variant of this name without a "
                "ModelName, or delete the component first."
            )


def describe_instances(
    account: Account, endpoint: str, variant: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what DescribeEndpoint adds for a variant, by its entry in the configuration.

    With managed scaling, it has its least number of instances while no component has a copy.
    """
    if "ModelName" in variant or not variant:
        return {}
    described = {key: variant[key] for key in _SHOWN if key in variant}
    scaling = variant.get("ManagedInstanceScaling", {})
    is_used = any(
        _count_wanted(item)
        for item in list_of(account, endpoint)
        if item["VariantName"] == variant["VariantName"]
    )
    if scaling.get("Status") == "ENABLED" and "MinInstanceCount" in scaling and not is_used:
        least = scaling["MinInstanceCount"]
        described |= {"CurrentInstanceCount": least, "DesiredInstanceCount": least}
    return described


def list_of(account: Account, endpoint: str) -> list[InferenceComponent]:
    """Return the records of an endpoint's inference components, oldest first."""
    return [item for item in account.store.list(COMPONENT) if item["EndpointName"] == endpoint]


OPERATIONS: Final = {
    "CreateInferenceComponent": create,
    "DescribeInferenceComponent": describe,
    "UpdateInferenceComponent": update,
    "UpdateInferenceComponentRuntimeConfig": update_runtime_config,
    "DeleteInferenceComponent": delete,
}
