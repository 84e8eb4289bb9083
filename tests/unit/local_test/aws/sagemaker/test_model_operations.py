"""Models and endpoint configurations of the local AWS; no server runs."""

from __future__ import annotations

from typing import Any

import pytest

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT, ENDPOINT_CONFIG, MODEL, PACKAGE
from local_test.aws.account.records import ServedRequests
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import model_operations
from local_test.data import storage
from local_test.data.storage import StoredObject


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


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a bucket hold the model data of these tests."""
    keys = ("s3://b/m", "s3://b/other", "s3://b/mine.tar.gz.bak", "s3://b/folder/a")

    def list_objects(uri: str, *, may_be_empty: bool) -> list[StoredObject]:
        assert may_be_empty
        return [StoredObject(key, "", 1) for key in keys if key.startswith(uri)]

    monkeypatch.setattr(storage, "list_objects", list_objects)


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


@pytest.mark.parametrize("member", ["AdditionalModelDataSources", "AdditionalS3DataSource"])
def test_what_a_package_has_beside_its_model_is_refused(account: Account, member: str) -> None:
    extra = {"Containers": [{"Image": "i", member: [{}]}]}
    arn = make_package(account, ModelApprovalStatus="Approved", InferenceSpecification=extra)
    request = {"ModelName": "m", "PrimaryContainer": {"ModelPackageName": arn}}
    with pytest.raises(AwsError, match=f"{member} of a model package's container"):
        model_operations.create_model(account, request)


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


def source(uri: str, data_type: str) -> dict[str, Any]:
    place = {"S3Uri": uri, "S3DataType": data_type, "CompressionType": "None"}
    return {"ModelDataSource": {"S3DataSource": place}}


@pytest.mark.parametrize(
    "container",
    [
        {"ModelDataUrl": "s3://b/absent"},
        {"ModelDataUrl": "s3://b/mine.tar.gz"},  # only the beginning of a key
        source("s3://b/mine.tar.gz", "S3Object"),
        source("s3://b/empty/", "S3Prefix"),
    ],
)
def test_a_model_without_its_data_is_refused(account: Account, container: dict[str, Any]) -> None:
    request = {"ModelName": "m", "PrimaryContainer": {"Image": "i", **container}}
    with pytest.raises(UserError, match="Could not find model data at s3://b/"):
        model_operations.create_model(account, request)
    assert account.store.find(MODEL, "m") is None


@pytest.mark.parametrize(
    "container",
    [
        {},
        {"ModelDataUrl": "s3://b/m"},
        {"ModelDataUrl": "s3://b/empty/", "Mode": "MultiModel"},  # filled later
        source("s3://b/folder/", "S3Prefix"),
    ],
)
def test_a_list_of_one_container_is_a_model(account: Account, container: dict[str, Any]) -> None:
    containers = [{"Image": "i", **container}]
    model_operations.create_model(account, {"ModelName": "m", "Containers": containers})
    record = account.store.find(MODEL, "m")
    assert record is not None
    assert record["_request"]["PrimaryContainer"] == containers[0]
    described = model_operations.describe(account, MODEL, {"ModelName": "m"})
    assert described["Containers"] == containers
    assert "PrimaryContainer" not in described


def test_several_containers_are_a_model(account: Account) -> None:
    several = [{"Image": "i", "Environment": {"A": "1"}}, {"Image": "j"}]
    model_operations.create_model(account, {"ModelName": "m", "Containers": several})

    described = model_operations.describe(account, MODEL, {"ModelName": "m"})
    assert described["Containers"] == several
    absent = [{"Image": "i"}, {"Image": "j", "ModelDataUrl": "s3://b/missing.tar.gz"}]
    with pytest.raises(UserError, match="Could not find model data at s3://b/missing"):
        model_operations.create_model(account, {"ModelName": "n", "Containers": absent})


@pytest.mark.parametrize("member", ["PrimaryContainer", "Containers"])
def test_a_package_of_several_containers_is_a_pipeline(account: Account, member: str) -> None:
    several = [
        {"Image": "i", "ContainerHostname": "first", "Environment": {"A": "1"}},
        {"Image": "j", "ContainerHostname": "second"},
    ]
    arn = make_package(account, InferenceSpecification={"Containers": several})

    def create(name: str, **own: Any) -> None:
        container = {"ModelPackageName": arn, **own}
        named: Any = [container] if member == "Containers" else container
        model_operations.create_model(account, {"ModelName": name, member: named})

    create("m")
    record = account.store.find(MODEL, "m")
    assert record is not None
    assert record["_request"]["Containers"] == several
    assert "PrimaryContainer" not in record["_request"]
    with pytest.raises(AwsError, match="with Environment: it has 2 containers"):
        create("n", Environment={"B": "2"})


def test_no_container_and_both_members_are_refused(account: Account) -> None:
    several = [{"Image": "i"}, {"Image": "j"}]
    both = {"ModelName": "m", "Containers": several[:1], "PrimaryContainer": several[1]}
    for request in ({"ModelName": "m"}, both):
        with pytest.raises(AwsError, match="Exactly one of PrimaryContainer and Containers"):
            model_operations.create_model(account, request)
    with pytest.raises(AwsError, match="must have at least one container"):
        model_operations.create_model(account, {"ModelName": "m", "Containers": []})
