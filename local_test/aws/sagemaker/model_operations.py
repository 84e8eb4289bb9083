"""Models and endpoint configurations: the records from which endpoints and transform jobs start."""

import time
from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT, ENDPOINT_CONFIG, MODEL, Kind, R
from local_test.aws.account.records import Package, Request
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import reject
from local_test.aws.sagemaker import package_operations
from local_test.aws.sagemaker.tags import merge_tags
from local_test.data import models
from local_test.requests import validation, variant_rules
from local_test.requests.model_containers import list_containers
from local_test.requests.validation import ValidRequest

_CONTAINERS: Final = ("PrimaryContainer", "Containers")
_OF_PACKAGE: Final = ("ContainerHostname", "Image", "ModelDataUrl", "ModelDataSource")
_NOT_TAKEN: Final = ("AdditionalModelDataSources", "AdditionalS3DataSource")


def _name(kind: Kind[Any]) -> str:
    return kind.name.replace("-config", " configuration").replace("-", " ")


def find(account: Account, kind: Kind[R], name: str) -> R:
    """Return the record of a model, endpoint configuration, endpoint or inference component.

    Raises: AwsError if there is none.
    """
    record = account.store.find(kind, name)
    if record is None:
        reject(f'Could not find {_name(kind)} "{account.arn(kind.name, name)}".')
    return record


def insert(
    account: Account, kind: Kind[Any], valid: ValidRequest, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Keep the record of a new resource and answer with its ARN.

    Raises: AwsError if the name is taken.
    """
    request = valid.fields
    name = request[kind.name_name]
    arn = account.arn(kind.name, name)
    now = time.time()
    kept = {key: value for key, value in request.items() if key != "Tags"}
    record = {
        **kept,
        "_request": kept,
        "_without_effect": list(valid.notes),
        "Tags": merge_tags([], request.get("Tags", [])),
        kind.arn_name: arn,
        "CreationTime": now,
        "LastModifiedTime": now,
        **extra,
    }
    if not account.store.insert(kind, name, record):
        reject(f'Cannot create already existing {_name(kind)} "{arn}".')
    return {kind.arn_name: arn}


def create_model(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateModel; a container that names a model package gets its image and data."""
    if ("PrimaryContainer" in request) == ("Containers" in request):
        reject("Exactly one of PrimaryContainer and Containers is required.")
    resolved = take_only_container(_resolve_packages(account, request))
    valid = validation.admit("CreateModel", resolved)
    for container in list_containers(valid.fields):
        models.check_presence(container.definition)
    # Describe answers with the container as it was requested.
    requested = {key: value for key, value in request.items() if key != "Tags"}
    requested.setdefault("PrimaryContainer", None)
    return insert(account, MODEL, valid, {"EnableNetworkIsolation": False, **requested})


def take_only_container(request: Mapping[str, Any]) -> Request:
    """Return a CreateModel request whose list of one container is its primary container."""
    containers = request.get("Containers", [])
    resolved = {**request}
    if len(containers) == 1:
        del resolved["Containers"]
        resolved["PrimaryContainer"] = containers[0]
    return resolved


def _resolve_packages(account: Account, request: Mapping[str, Any]) -> Request:
    """Return a CreateModel request whose containers name images; a package may have several."""
    asked = request.get("Containers", [request.get("PrimaryContainer")])
    if not asked:
        reject("Containers must have at least one container.")
    containers = [found for item in asked for found in _resolve_package(account, item)]
    resolved = {key: value for key, value in request.items() if key not in _CONTAINERS}
    return {**resolved, "Containers": containers}


def _resolve_package(account: Account, container: Request) -> list[Request]:
    """Return a container, or those of the package that it names."""
    if "ModelPackageName" not in container:
        return [container]
    name = container["ModelPackageName"]
    package = package_operations.find_package(account, name)
    approval = package.get("ModelApprovalStatus", "Approved")
    if approval != "Approved":
        reject(f"Cannot create a model from {name}: it is {approval}, not Approved.")
    sources = _choose_specification(package, container)["Containers"]
    own = {
        key: value
        for key, value in container.items()
        if key not in ("ModelPackageName", "InferenceSpecificationName")
    }
    if len(sources) > 1 and own:
        reject(
            f"Cannot create a model from {name} with {', '.join(own)}: it has {len(sources)} "
            "containers; set members of a container in the package."
        )
    return [_take_source(source, own) for source in sources]


def _take_source(source: Mapping[str, Any], own: Request) -> Request:
    """Return a container of a package, with the members that the request sets."""
    if extra := [key for key in _NOT_TAKEN if key in source]:
        reject(f"{', '.join(extra)} of a model package's container is not emulated.")
    taken = {key: source[key] for key in _OF_PACKAGE if key in source}
    environment = {**source.get("Environment", {}), **own.get("Environment", {})}
    if environment:
        own = {**own, "Environment": environment}
    return {**taken, **own}


def _choose_specification(package: Package, container: Request) -> Mapping[str, Any]:
    """Return a package's inference specification: the one that the container names, if any."""
    wanted = container.get("InferenceSpecificationName")
    if wanted is None:
        if "InferenceSpecification" not in package:
            reject(f"{container['ModelPackageName']} has no InferenceSpecification.")
        return package["InferenceSpecification"]
    others = {item["Name"]: item for item in package.get("AdditionalInferenceSpecifications", [])}
    if wanted not in others:
        names = ", ".join(others) or "none"
        reject(
            f"Inference specification {wanted} does not exist in model package "
            f"{container['ModelPackageName']}; its additional specifications are: {names}."
        )
    return others[wanted]


def create_endpoint_config(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateEndpointConfig."""
    valid = validation.admit("CreateEndpointConfig", request)
    variants = variant_rules.list_variants(request)
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) < len(names):
        reject(f"Duplicate production variant names: {', '.join(names)}")
    models_found = {
        name: find(account, MODEL, name)["_request"]
        for name in (variant["ModelName"] for variant in variants if "ModelName" in variant)
    }
    if faults := variant_rules.find_conflicts(request, models_found):
        reject("; ".join(faults))
    return insert(account, ENDPOINT_CONFIG, valid, {})


def describe(account: Account, kind: Kind[Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeModel and DescribeEndpointConfig."""
    record = find(account, kind, request[kind.name_name])
    return messages.pick(messages.output_shape(f"Describe{kind.prefix}"), record)


def delete_model(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteModel; endpoints that run the model keep running."""
    find(account, MODEL, request["ModelName"])
    account.store.delete(MODEL, request["ModelName"])


def delete_endpoint_config(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteEndpointConfig; refuse while an endpoint is created from it or updated to it.

    Source: the API reference of DeleteEndpointConfig.
    """
    name = request["EndpointConfigName"]
    find(account, ENDPOINT_CONFIG, name)
    for record in account.store.list(ENDPOINT):
        if record["EndpointStatus"] not in ("Creating", "Updating"):
            continue
        used = [record["EndpointConfigName"]]
        if next_requests := record.get("_next_requests"):
            used.append(next_requests["config"]["EndpointConfigName"])
        if name in used:
            reject(
                f'Cannot delete endpoint configuration "{name}" because endpoint '
                f'"{record["EndpointArn"]}" is being created from it or updated with it.'
            )
    account.store.delete(ENDPOINT_CONFIG, name)
