"""Models and endpoint configurations: records that endpoints and transform jobs are made of."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.resources import ENDPOINT, ENDPOINT_CONFIG, MODEL, Kind, merge_tags
from local_test.aws.account.state import Record
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import reject
from local_test.aws.sagemaker import package_operations
from local_test.requests import validation
from local_test.requests.validation import ValidRequest

_NOUNS: Final = {
    "model": "model",
    "endpoint-config": "endpoint configuration",
    "endpoint": "endpoint",
}


def find(account: Account, kind: Kind, name: str) -> Record:
    """Give the record of a model, endpoint configuration or endpoint.

    Raises: AwsError if there is none.
    """
    record = account.store.find(kind.name, name)
    if record is None:
        reject(f'Could not find {_NOUNS[kind.name]} "{account.arn(kind.name, name)}".')
    return record


def insert(
    account: Account, kind: Kind, valid: ValidRequest, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Keep a new record and answer with its ARN.

    Raises: AwsError if the name is taken.
    """
    request = valid.fields
    name = request[kind.name_name]
    arn = account.arn(kind.name, name)
    now = time.time()
    kept = {key: value for key, value in request.items() if key != "Tags"}
    record = {
        **kept,
        **extra,
        "_request": kept,
        "_without_effect": list(valid.notes),
        "Tags": merge_tags([], request.get("Tags", [])),
        kind.arn_name: arn,
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    if not account.store.insert(kind.name, name, record):
        reject(f'Cannot create already existing {_NOUNS[kind.name]} "{arn}".')
    return {kind.arn_name: arn}


def create_model(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateModel; a container that names a model package gets the package's image and data."""
    if "PrimaryContainer" not in request and "Containers" not in request:
        reject("One of PrimaryContainer and Containers is required.")
    resolved = {**request}
    if "PrimaryContainer" in request:
        resolved["PrimaryContainer"] = _resolve_package(account, request["PrimaryContainer"])
    valid = validation.admit("CreateModel", resolved)
    described = {key: value for key, value in request.items() if key != "Tags"}
    return insert(account, MODEL, valid, {"EnableNetworkIsolation": False, **described})


def _resolve_package(account: Account, container: Mapping[str, Any]) -> dict[str, Any]:
    if "ModelPackageName" not in container:
        return dict(container)
    package = package_operations.find_package(account, container["ModelPackageName"])
    if package.get("ModelApprovalStatus") not in (None, "Approved"):
        reject(
            f"Cannot create a model from {container['ModelPackageName']}: "
            f"it is {package['ModelApprovalStatus']}, not Approved."
        )
    source = package["InferenceSpecification"]["Containers"][0]
    own = {
        key: value
        for key, value in container.items()
        if key not in ("ModelPackageName", "InferenceSpecificationName")
    }
    environment = {**source.get("Environment", {}), **container.get("Environment", {})}
    taken = {
        key: source[key] for key in ("Image", "ModelDataUrl", "ModelDataSource") if key in source
    }
    return {**taken, **own, **({"Environment": environment} if environment else {})}


def create_endpoint_config(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateEndpointConfig."""
    valid = validation.admit("CreateEndpointConfig", request)
    names = [variant["VariantName"] for variant in request["ProductionVariants"]]
    if len(set(names)) < len(names):
        reject(f"Duplicate production variant names: {', '.join(names)}")
    for variant in request["ProductionVariants"]:
        find(account, MODEL, variant.get("ModelName", ""))
    return insert(account, ENDPOINT_CONFIG, valid, {})


def describe(account: Account, kind: Kind, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeModel and DescribeEndpointConfig."""
    record = find(account, kind, request[kind.name_name])
    return messages.pick(messages.output_shape(f"Describe{kind.prefix}"), record)


def delete_model(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteModel; endpoints that run it go on."""
    find(account, MODEL, request["ModelName"])
    account.store.delete(MODEL.name, request["ModelName"])


def delete_endpoint_config(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteEndpointConfig; one that an endpoint is being made of is kept."""
    name = request["EndpointConfigName"]
    find(account, ENDPOINT_CONFIG, name)
    for record in account.store.list(ENDPOINT.name):
        if record["EndpointStatus"] in ("Creating", "Updating") and name in (
            record["EndpointConfigName"],
            record.get("_next_config"),
        ):
            reject(
                f'Cannot delete endpoint configuration "{name}": endpoint {record["EndpointName"]} uses it.'
            )
    account.store.delete(ENDPOINT_CONFIG.name, name)
