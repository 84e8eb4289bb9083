"""Models and endpoint configurations of the local AWS; no server runs."""

from __future__ import annotations

from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT, ENDPOINT_CONFIG, MODEL, PACKAGE
from local_test.aws.account.records import ServedRequests
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import model_operations


def make_requests(config: str) -> ServedRequests:
    variant = {"VariantName": "one", "ModelName": "m", "InitialInstanceCount": 1}
    return {
        "config": {"EndpointConfigName": config, "ProductionVariants": [variant]},
        "models": {"m": {}},
    }


def furnish(account: Account, status: str) -> None:
    """Make an endpoint with configuration `old` that may be on its way to `new`."""
    for name in ("old", "new", "other"):
        config = {"EndpointConfigName": name, "_request": make_requests(name)["config"]}
        account.store.insert(ENDPOINT_CONFIG, name, config)
    endpoint = {
        "EndpointName": "e",
        "EndpointArn": account.arn("endpoint", "e"),
        "EndpointStatus": status,
        "EndpointConfigName": "old",
        "_requests": make_requests("old"),
    }
    if status == "Updating":
        endpoint["_next_requests"] = make_requests("new")
    account.store.insert(ENDPOINT, "e", endpoint)


def delete(account: Account, name: str) -> None:
    model_operations.delete_endpoint_config(account, {"EndpointConfigName": name})


@pytest.mark.parametrize("name", ["old", "new"])
def test_both_configurations_of_an_update_are_kept(account: Account, name: str) -> None:
    furnish(account, "Updating")
    with pytest.raises(AwsError, match=f'Cannot delete endpoint configuration "{name}"') as caught:
        delete(account, name)
    assert caught.value.code == "ValidationException"
    assert account.store.find(ENDPOINT_CONFIG, name) is not None
    delete(account, "other")
    assert account.store.find(ENDPOINT_CONFIG, "other") is None


def test_a_configuration_is_kept_while_its_endpoint_is_created(account: Account) -> None:
    furnish(account, "Creating")
    with pytest.raises(AwsError, match="is being created from it"):
        delete(account, "old")


def test_a_configuration_of_a_live_endpoint_can_be_deleted(account: Account) -> None:
    furnish(account, "InService")
    delete(account, "old")
    assert account.store.find(ENDPOINT_CONFIG, "old") is None


def make_package(account: Account, **members: Any) -> str:
    arn = account.arn("model-package", "g/1")
    container = {"Image": "i", "ModelDataUrl": "s3://b/m", "Environment": {"A": "1", "B": "1"}}
    specification = {"Containers": [container]}
    record = {"ModelPackageArn": arn, "InferenceSpecification": specification, **members}
    account.store.insert(PACKAGE, "g/1", record)
    return arn


def test_a_model_of_a_package_runs_its_container_and_describes_the_request(
    account: Account,
) -> None:
    arn = make_package(account, ModelApprovalStatus="Approved")
    container = {"ModelPackageName": arn, "Environment": {"B": "2"}}
    model_operations.create_model(account, {"ModelName": "m", "PrimaryContainer": container})
    record = account.store.find(MODEL, "m")
    assert record is not None
    assert record["_request"]["PrimaryContainer"] == {
        "Image": "i",
        "ModelDataUrl": "s3://b/m",
        "Environment": {"A": "1", "B": "2"},
    }
    described = model_operations.describe(account, MODEL, {"ModelName": "m"})
    assert described["PrimaryContainer"] == container


def test_a_package_without_approval_makes_no_model(account: Account) -> None:
    arn = make_package(account, ModelApprovalStatus="PendingManualApproval")
    request = {"ModelName": "m", "PrimaryContainer": {"ModelPackageName": arn}}
    with pytest.raises(AwsError, match="PendingManualApproval, not Approved"):
        model_operations.create_model(account, request)


def test_a_model_runs_the_inference_specification_that_it_names(account: Account) -> None:
    other = {"Image": "other", "ModelDataUrl": "s3://b/other", "Environment": {"C": "3"}}
    extra = [{"Name": "batch", "Containers": [other]}, {"Name": "gpu", "Containers": [other]}]
    arn = make_package(account, AdditionalInferenceSpecifications=extra)
    container = {"ModelPackageName": arn, "InferenceSpecificationName": "gpu"}

    model_operations.create_model(account, {"ModelName": "m", "PrimaryContainer": container})

    record = account.store.find(MODEL, "m")
    assert record is not None
    assert record["_request"]["PrimaryContainer"] == other
    described = model_operations.describe(account, MODEL, {"ModelName": "m"})
    assert described["PrimaryContainer"] == container


@pytest.mark.parametrize(
    ("extra", "names"), [([], "none"), ([{"Name": "batch", "Containers": [{}]}], "batch")]
)
def test_an_inference_specification_that_does_not_exist_is_refused_with_those_that_do(
    account: Account, extra: list[dict[str, Any]], names: str
) -> None:
    arn = make_package(account, AdditionalInferenceSpecifications=extra)
    container = {"ModelPackageName": arn, "InferenceSpecificationName": "gpu"}
    with pytest.raises(AwsError, match=f"gpu does not exist .* are: {names}"):
        model_operations.create_model(account, {"ModelName": "m", "PrimaryContainer": container})
    assert account.store.find(MODEL, "m") is None
