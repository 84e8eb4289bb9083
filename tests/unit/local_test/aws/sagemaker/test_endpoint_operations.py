"""The operations of endpoints on their records; no server runs."""

from __future__ import annotations

from typing import Any, cast

import pytest

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT, ENDPOINT_CONFIG, MODEL
from local_test.aws.account.records import ServedRequests
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import endpoint_operations, live_endpoints


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the endpoints whose servers would start, change or stop."""
    found: list[str] = []
    for name in ("start", "start_change", "start_deletion"):
        monkeypatch.setattr(live_endpoints, name, lambda _, endpoint: found.append(endpoint))
    return found


def make_variant(name: str, **members: Any) -> dict[str, Any]:
    return {"VariantName": name, "ModelName": "m", "InitialInstanceCount": 1, **members}


def furnish(account: Account, *variants: dict[str, Any], status: str = "InService") -> None:
    """Make an endpoint with configuration `old`, and a configuration `new` of two variants."""
    account.store.insert(MODEL, "m", {"_request": {"ModelName": "m"}})
    new = [make_variant("a"), make_variant("c")]
    for name, found in (("old", list(variants)), ("new", new)):
        config = {"EndpointConfigName": name, "ProductionVariants": found}
        account.store.insert(ENDPOINT_CONFIG, name, {"_request": config})
        if name == "old":
            endpoint = {
                "EndpointName": "e",
                "EndpointArn": "arn",
                "EndpointStatus": status,
                "EndpointConfigName": "old",
                "_requests": {"config": config, "models": {"m": {"ModelName": "m"}}},
            }
            account.store.insert(ENDPOINT, "e", endpoint)


def read_next(account: Account) -> ServedRequests:
    record = account.store.find(ENDPOINT, "e")
    assert record is not None
    assert record["EndpointStatus"] == "Updating"
    requests = record["_next_requests"]
    assert requests is not None
    return requests


def test_weights_and_capacities_are_the_next_requests(account: Account, started: list[str]) -> None:
    furnish(account, make_variant("a"), make_variant("b"))
    wishes = [
        {"VariantName": "a", "DesiredWeight": 0.5},
        {"VariantName": "b", "DesiredInstanceCount": 3},
    ]
    request = {"EndpointName": "e", "DesiredWeightsAndCapacities": wishes}
    endpoint_operations.update_weights_and_capacities(account, request)
    first, second = read_next(account)["config"]["ProductionVariants"]
    assert first == make_variant("a", InitialVariantWeight=0.5)
    assert second == make_variant("b", InitialInstanceCount=3)
    assert started == ["e"]


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"VariantName": "x"}, "is/are not present within endpoint configuration"),
        ({"VariantName": "a", "ServerlessUpdateConfig": {}}, "not serverless"),
        ({"VariantName": "a", "DesiredInstanceCount": 0}, "needs at least one instance"),
    ],
)
def test_a_wish_that_cannot_be_met_changes_nothing(
    account: Account, started: list[str], wish: dict[str, Any], reason: str
) -> None:
    furnish(account, make_variant("a"))
    request = {"EndpointName": "e", "DesiredWeightsAndCapacities": [wish]}
    with pytest.raises(AwsError, match=reason):
        endpoint_operations.update_weights_and_capacities(account, request)
    assert started == []


@pytest.mark.parametrize(
    ("excluded", "kept"),
    [
        ([], {"InitialInstanceCount": 4, "InitialVariantWeight": 0.5}),
        (["DesiredWeight"], {"InitialInstanceCount": 4}),
        (["DesiredInstanceCount", "DataCaptureConfig"], {"InitialVariantWeight": 0.5}),
    ],
)
def test_an_update_can_retain_the_sizes(
    account: Account, excluded: list[str], kept: dict[str, Any]
) -> None:
    furnish(account, make_variant("a", InitialInstanceCount=4, InitialVariantWeight=0.5))
    exclusions = [{"VariantPropertyType": name} for name in excluded]
    request = {
        "EndpointName": "e",
        "EndpointConfigName": "new",
        "RetainAllVariantProperties": True,
        "ExcludeRetainedVariantProperties": exclusions,
    }
    endpoint_operations.update_endpoint(account, request)
    first, second = read_next(account)["config"]["ProductionVariants"]
    assert first == make_variant("a", **kept)
    assert second == make_variant("c")


def test_a_synchronous_configuration_retains_at_least_one_instance(account: Account) -> None:
    furnish(account, make_variant("a", InitialInstanceCount=0))
    request: dict[str, Any] = {"EndpointName": "e", "EndpointConfigName": "new"}
    request["RetainAllVariantProperties"] = True
    with pytest.raises(AwsError, match="Variant a of a synchronous endpoint needs at least one"):
        endpoint_operations.update_endpoint(account, request)
    exclusions = [{"VariantPropertyType": "DesiredInstanceCount"}]
    request["ExcludeRetainedVariantProperties"] = exclusions
    endpoint_operations.update_endpoint(account, request)
    assert read_next(account)["config"]["ProductionVariants"][0] == make_variant("a")


def test_an_update_takes_the_new_sizes_otherwise(account: Account) -> None:
    furnish(account, make_variant("a", InitialInstanceCount=4))
    request = {"EndpointName": "e", "EndpointConfigName": "new"}
    endpoint_operations.update_endpoint(account, request)
    assert read_next(account)["config"]["ProductionVariants"][0] == make_variant("a")


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "Deleting"])
def test_a_busy_endpoint_is_left_alone(account: Account, started: list[str], status: str) -> None:
    furnish(account, make_variant("a"), status=status)
    request = {"EndpointName": "e", "EndpointConfigName": "new"}
    for operation in (endpoint_operations.update_endpoint, endpoint_operations.delete_endpoint):
        with pytest.raises(AwsError, match="in-progress endpoint"):
            operation(account, request)
    assert started == []


def test_a_failed_endpoint_can_only_be_deleted(account: Account, started: list[str]) -> None:
    furnish(account, make_variant("a"), status="Failed")
    with pytest.raises(AwsError, match="in status Failed; delete it"):
        endpoint_operations.update_endpoint(
            account, {"EndpointName": "e", "EndpointConfigName": "new"}
        )
    endpoint_operations.delete_endpoint(account, {"EndpointName": "e"})
    record = account.store.find(ENDPOINT, "e")
    assert record is not None
    assert record["EndpointStatus"] == "Deleting"
    assert started == ["e"]


def test_the_quota_counts_the_instances_of_all_endpoints(account: Account) -> None:
    furnish(account, make_variant("a", InitialInstanceCount=19))
    request = {"EndpointName": "second", "EndpointConfigName": "new"}
    with pytest.raises(AwsError, match="current utilization of 19 Instances") as caught:
        endpoint_operations.create_endpoint(account, request)
    assert caught.value.code == "ResourceLimitExceeded"


def test_the_quota_holds_for_updates_and_failed_endpoints_do_not_count(
    account: Account, started: list[str]
) -> None:
    furnish(account, make_variant("a", InitialInstanceCount=19))
    wish = {"VariantName": "a", "DesiredInstanceCount": 21}
    request = {"EndpointName": "e", "DesiredWeightsAndCapacities": [wish]}
    with pytest.raises(AwsError, match="request delta of 21 Instances"):
        endpoint_operations.update_weights_and_capacities(account, request)
    wish["DesiredInstanceCount"] = 20
    endpoint_operations.update_weights_and_capacities(account, request)
    account.store.update(ENDPOINT, "e", EndpointStatus="Failed")
    second = {"EndpointName": "second", "EndpointConfigName": "new"}
    endpoint_operations.create_endpoint(account, second)
    assert started == ["e", "second"]


def test_describe_shows_the_capture_of_the_configuration(account: Account) -> None:
    furnish(account, make_variant("a"))
    capture = {"InitialSamplingPercentage": 10, "DestinationS3Uri": "s3://b/c"}

    def add(record: Any) -> None:
        record["_requests"]["config"]["DataCaptureConfig"] = capture

    account.store.edit(ENDPOINT, "e", add)
    described = endpoint_operations.describe_endpoint(account, {"EndpointName": "e"})
    assert described["DataCaptureConfig"]["CaptureStatus"] == "Started"
    assert "ProductionVariants" not in described


def update(account: Account, **deployment: Any) -> dict[str, Any]:
    request = {"EndpointName": "e", "EndpointConfigName": "new", "DeploymentConfig": deployment}
    return endpoint_operations.update_endpoint(account, request)


def route(kind: str, **members: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": 60, **members}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}


def set_alarms(account: Account, *known: str) -> dict[str, Any]:
    """Let alarms exist; return a configuration of the alarm `x`."""
    cast("Any", account.alarms).known.extend(known)
    return {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "x"}]}}


PERCENT = {"Type": "CAPACITY_PERCENT", "Value": 50}


@pytest.mark.parametrize(
    ("deployment", "reason"),
    [
        (route("CANARY"), "CanarySize: is required"),
        (route("CANARY", CanarySize=PERCENT), "same variant names, a; found a, c"),
        (
            {"RollingUpdatePolicy": {"MaximumBatchSize": PERCENT, "WaitIntervalInSeconds": 0}},
            "has several variants",
        ),
        (
            {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "x"}]}},
            "alarm 'x' does not exist",
        ),
    ],
)
def test_a_deployment_that_is_not_possible_changes_nothing(
    account: Account, started: list[str], deployment: dict[str, Any], reason: str
) -> None:
    furnish(account, make_variant("a"))
    with pytest.raises((UserError, AwsError), match=reason):
        update(account, **deployment)
    assert started == []
    record = account.store.find(ENDPOINT, "e")
    assert record is not None
    assert (record["EndpointStatus"], record.get("_next_requests")) == ("InService", None)


def test_a_deployment_is_written_down_and_can_be_retained(
    account: Account, started: list[str]
) -> None:
    furnish(account, make_variant("a"), make_variant("c"))
    deployment = {**route("CANARY", CanarySize=PERCENT), **set_alarms(account, "x")}
    update(account, **deployment)
    record = account.store.find(ENDPOINT, "e")
    assert record is not None
    assert (record["_deployment"], record["LastDeploymentConfig"]) == (deployment, deployment)
    done = {"EndpointStatus": "InService", "_next_requests": None, "_deployment": None}
    account.store.update(ENDPOINT, "e", **done)

    request = {"EndpointName": "e", "EndpointConfigName": "new"}
    endpoint_operations.update_endpoint(account, {**request, "RetainDeploymentConfig": True})
    record = account.store.find(ENDPOINT, "e")
    assert record is not None
    assert record["_deployment"] == deployment
    account.store.update(ENDPOINT, "e", **done)

    endpoint_operations.update_endpoint(account, request)
    record = account.store.find(ENDPOINT, "e")
    assert record is not None
    assert record.get("_deployment") is None
    assert record["LastDeploymentConfig"] == deployment
    assert started == ["e"] * 3


def test_the_configuration_of_create_endpoint_is_for_later(account: Account) -> None:
    furnish(account, make_variant("a"))
    deployment = route("CANARY", CanarySize=PERCENT)
    request = {"EndpointName": "f", "EndpointConfigName": "old", "DeploymentConfig": deployment}
    endpoint_operations.create_endpoint(account, request)
    described = endpoint_operations.describe_endpoint(account, {"EndpointName": "f"})
    assert described["LastDeploymentConfig"] == deployment
    assert "PendingDeploymentSummary" not in described


def test_after_a_failed_rollback_an_update_is_all_at_once(
    account: Account, started: list[str]
) -> None:
    furnish(account, make_variant("a"), make_variant("c"), status="UpdateRollbackFailed")
    with pytest.raises(AwsError, match="in status UpdateRollbackFailed; leave it out"):
        update(account, **route("CANARY", CanarySize=PERCENT))
    wish = {"VariantName": "a", "DesiredWeight": 1}
    request = {"EndpointName": "e", "DesiredWeightsAndCapacities": [wish]}
    with pytest.raises(AwsError, match="in status UpdateRollbackFailed"):
        endpoint_operations.update_weights_and_capacities(account, request)
    assert started == []
    endpoint_operations.update_endpoint(account, {"EndpointName": "e", "EndpointConfigName": "new"})
    assert started == ["e"]


def test_weights_that_are_no_numbers_are_refused(account: Account) -> None:
    furnish(account, make_variant("a"), make_variant("b"))
    wish = {"VariantName": "a", "DesiredWeight": float("inf")}
    request = {"EndpointName": "e", "DesiredWeightsAndCapacities": [wish]}
    with pytest.raises(AwsError, match="InitialVariantWeight must be a finite number, found inf"):
        endpoint_operations.update_weights_and_capacities(account, request)


def test_a_serverless_variant_has_sizes_of_its_own(account: Account) -> None:
    config = {"MemorySizeInMB": 1024, "MaxConcurrency": 5}
    variant = {"VariantName": "a", "ModelName": "m", "ServerlessConfig": config}
    furnish(account, variant)

    def change(**desired: Any) -> None:
        endpoint_operations.update_weights_and_capacities(
            account,
            {"EndpointName": "e", "DesiredWeightsAndCapacities": [{"VariantName": "a", **desired}]},
        )

    with pytest.raises(AwsError, match="use ServerlessUpdateConfig"):
        change(DesiredInstanceCount=2)
    with pytest.raises(AwsError, match="at most MaxConcurrency, 5, found 6"):
        change(ServerlessUpdateConfig={"ProvisionedConcurrency": 6})
    change(ServerlessUpdateConfig={"MaxConcurrency": 9})
    (changed,) = read_next(account)["config"]["ProductionVariants"]
    assert changed["ServerlessConfig"] == {**config, "MaxConcurrency": 9}
