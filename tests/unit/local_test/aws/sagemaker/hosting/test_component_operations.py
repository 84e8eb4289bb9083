"""The operations of inference components on their records; no container runs."""

from __future__ import annotations

from typing import Any

import pytest

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import COMPONENT, ENDPOINT, ENDPOINT_CONFIG, MODEL
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import endpoint_operations, live_endpoints
from local_test.aws.sagemaker.hosting import component_operations, live_components
from local_test.aws.sagemaker.listing import list_resources

NEEDS = {"ComputeResourceRequirements": {"MinMemoryRequiredInMb": 256}}
SCALING = {"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": 2}


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the components whose copies would start, change or stop."""
    found: list[str] = []
    for name in ("start", "start_change", "start_deletion"):
        monkeypatch.setattr(live_components, name, lambda _, component: found.append(component))
        monkeypatch.setattr(live_endpoints, name, lambda *_: None)
    return found


def furnish(account: Account, *variants: dict[str, Any], status: str = "InService") -> None:
    """Make a model, and an endpoint of these variants, or of one for inference components."""
    for name in ("m", "n"):
        model = {"ModelName": name, "PrimaryContainer": {"Image": "i"}}
        account.store.insert(MODEL, name, {"_request": model})
    found = list(variants) or [{"VariantName": "v", "ManagedInstanceScaling": SCALING}]
    config = {"EndpointConfigName": "c", "ProductionVariants": found, "ExecutionRoleArn": "r"}
    account.store.insert(ENDPOINT_CONFIG, "c", {"_request": config})
    endpoint = {
        "EndpointName": "e",
        "EndpointArn": account.arn("endpoint", "e"),
        "EndpointStatus": status,
        "EndpointConfigName": "c",
        "CreationTime": 1.0,
        "_requests": {"config": config, "models": {}},
    }
    account.store.insert(ENDPOINT, "e", endpoint)


def create(account: Account, name: str = "small", copies: int = 1, **members: Any) -> None:
    request = {
        "InferenceComponentName": name,
        "EndpointName": "e",
        "Specification": {"ModelName": "m", **NEEDS},
        "RuntimeConfig": {"CopyCount": copies},
        **members,
    }
    component_operations.create(account, request)


def put(account: Account, name: str = "small", status: str = "InService", **entries: Any) -> None:
    """Note what would have happened."""

    def change(record: Any) -> None:
        record.update({"InferenceComponentStatus": status, **entries})

    account.store.note(COMPONENT, name, change)


def read(account: Account, name: str = "small") -> Any:
    record = account.store.find(COMPONENT, name)
    assert record is not None
    return record


def test_a_component_is_created_on_the_only_variant(account: Account, started: list[str]) -> None:
    furnish(account)
    create(account, Tags=[{"Key": "a", "Value": "1"}])
    assert started == ["small"]
    described = component_operations.describe(account, {"InferenceComponentName": "small"})
    assert described["InferenceComponentStatus"] == "Creating"
    assert described["InferenceComponentArn"].endswith(":inference-component/small")
    assert (described["EndpointName"], described["VariantName"]) == ("e", "v")
    assert described["EndpointArn"].endswith(":endpoint/e")
    assert described["Specification"] == {"ModelName": "m", **NEEDS}
    assert described["RuntimeConfig"] == {"DesiredCopyCount": 1, "CurrentCopyCount": 0}
    with pytest.raises(AwsError, match="already existing inference component"):
        create(account)


def test_a_container_of_its_own_is_described_with_its_image(account: Account) -> None:
    furnish(account)
    container = {"Image": "i", "Environment": {"A": "1"}}
    create(account, Specification={"Container": container, **NEEDS})
    assert read(account)["_requests"]["model"]["PrimaryContainer"] == container
    described = component_operations.describe(account, {"InferenceComponentName": "small"})
    shown = described["Specification"]["Container"]
    assert shown["DeployedImage"]["SpecifiedImage"] == "i"
    assert shown["Environment"] == {"A": "1"}
    assert "Image" not in shown


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"EndpointName": "x"}, "Could not find endpoint"),
        ({"VariantName": "w"}, '"w" is/are not present within endpoint configuration "c"'),
        ({"Specification": {"ModelName": "x", **NEEDS}}, "Could not find model"),
        (
            {"RuntimeConfig": {"CopyCount": 21}},
            "'Total number of inference component copies' is 20",
        ),
    ],
)
def test_what_does_not_exist_is_refused(
    account: Account, started: list[str], members: dict[str, Any], reason: str
) -> None:
    furnish(account)
    with pytest.raises(AwsError, match=reason):
        create(account, **members)
    assert started == []


@pytest.mark.parametrize(
    ("specification", "reason"),
    [
        ({"BaseInferenceComponentName": "b", "Container": {"ArtifactUrl": "s3://b/a"}}, "adapter"),
        ({"ModelName": "m"}, "ComputeResourceRequirements: is required"),
        (
            {
                "ModelName": "m",
                "ComputeResourceRequirements": {
                    "MinMemoryRequiredInMb": 256,
                    "AcceleratorPartitionType": "mig-3g.40gb",
                },
            },
            "GPUs are not divided here",
        ),
    ],
)
def test_what_is_not_emulated_is_refused_by_name(
    account: Account, specification: dict[str, Any], reason: str
) -> None:
    furnish(account)
    with pytest.raises(UserError, match=reason):
        create(account, Specification=specification)


@pytest.mark.parametrize(
    ("variants", "status", "reason"),
    [
        ([{"VariantName": "v", "ModelName": "m"}], "InService", "variants with a ModelName"),
        ([{"VariantName": "v"}, {"VariantName": "w"}], "InService", "VariantName is required"),
        ([{"VariantName": "v"}], "Creating", "in status Creating; wait until it is InService"),
    ],
)
def test_an_endpoint_that_cannot_host_is_named(
    account: Account, variants: list[dict[str, Any]], status: str, reason: str
) -> None:
    furnish(account, *variants, status=status)
    with pytest.raises(AwsError, match=reason):
        create(account)


def test_an_update_is_the_next_requests(account: Account, started: list[str]) -> None:
    furnish(account)
    create(account, copies=2)
    put(account)
    request = {
        "InferenceComponentName": "small",
        "Specification": {"ModelName": "n"},
        "DeploymentConfig": {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1},
                "WaitIntervalInSeconds": 0,
            }
        },
    }
    component_operations.update(account, request)
    record = read(account)
    assert record["InferenceComponentStatus"] == "Updating"
    assert record["_next_requests"]["specification"] == {"ModelName": "n", **NEEDS}
    assert record["_next_requests"]["model"]["ModelName"] == "n"
    assert record["_next_requests"]["copies"] == 2
    assert any("DeploymentConfig has no effect" in note for note in record["_without_effect"])
    assert started == ["small", "small"]


def test_a_model_that_was_deleted_still_runs_after_an_update_that_does_not_name_it(
    account: Account,
) -> None:
    furnish(account)
    create(account)
    put(account)
    account.store.delete(MODEL, "m")
    more = {"ComputeResourceRequirements": {"MinMemoryRequiredInMb": 512}}
    component_operations.update(account, {"InferenceComponentName": "small", "Specification": more})
    wanted = read(account)["_next_requests"]
    assert (wanted["model"]["ModelName"], wanted["specification"]) == (
        "m",
        {"ModelName": "m", **more},
    )


def test_copies_change_to_zero_and_to_the_quota(account: Account) -> None:
    furnish(account)
    create(account)
    create(account, "other", copies=15)

    def scale(count: int) -> None:
        put(account, _next_requests=None)
        request = {"InferenceComponentName": "small", "DesiredRuntimeConfig": {"CopyCount": count}}
        component_operations.update_runtime_config(account, request)

    for count in (0, 5):
        scale(count)
        assert read(account)["_next_requests"]["copies"] == count
        described = component_operations.describe(account, {"InferenceComponentName": "small"})
        assert described["RuntimeConfig"]["DesiredCopyCount"] == count
    with pytest.raises(AwsError, match="current utilization of 15 Instances"):
        scale(6)


@pytest.mark.parametrize("status", ["Creating", "Updating", "Deleting"])
def test_a_busy_component_is_left_alone(account: Account, started: list[str], status: str) -> None:
    furnish(account)
    create(account)
    started.clear()
    put(account, status=status)
    request = {"InferenceComponentName": "small", "RuntimeConfig": {"CopyCount": 2}}
    with pytest.raises(AwsError, match=f"in-progress inference component .* it is {status}"):
        component_operations.update(account, request)
    with pytest.raises(AwsError, match="Cannot delete in-progress"):
        component_operations.delete(account, request)
    assert started == []


def test_a_failed_component_can_only_be_deleted(account: Account) -> None:
    furnish(account)
    create(account)
    put(account, status="Failed")
    request = {"InferenceComponentName": "small", "RuntimeConfig": {"CopyCount": 2}}
    with pytest.raises(AwsError, match="in status Failed; delete it"):
        component_operations.update(account, request)
    component_operations.delete(account, request)
    assert read(account)["InferenceComponentStatus"] == "Deleting"


def test_an_endpoint_keeps_the_variants_of_its_components(account: Account) -> None:
    furnish(account)
    create(account)
    with pytest.raises(AwsError, match="Cannot delete endpoint with inference component") as found:
        endpoint_operations.delete_endpoint(account, {"EndpointName": "e"})
    assert "It has: small" in found.value.message
    for name, variants in {
        "renamed": [{"VariantName": "w"}],
        "filled": [{"VariantName": "v", "ModelName": "m"}],
        "kept": [{"VariantName": "v"}, {"VariantName": "w"}],
    }.items():
        config = {"EndpointConfigName": name, "ProductionVariants": variants}
        account.store.insert(ENDPOINT_CONFIG, name, {"_request": config})
    for name in ("renamed", "filled"):
        request = {"EndpointName": "e", "EndpointConfigName": name}
        with pytest.raises(AwsError, match="Variant v has inference component small"):
            endpoint_operations.update_endpoint(account, request)
    endpoint_operations.update_endpoint(
        account, {"EndpointName": "e", "EndpointConfigName": "kept"}
    )
    account.store.delete(COMPONENT, "small")
    account.store.update(ENDPOINT, "e", EndpointStatus="InService")
    endpoint_operations.delete_endpoint(account, {"EndpointName": "e"})


def test_managed_instances_go_down_while_there_is_no_copy(account: Account) -> None:
    furnish(account)
    variant = {"VariantName": "v", "ManagedInstanceScaling": SCALING}
    least = {"CurrentInstanceCount": 0, "DesiredInstanceCount": 0}
    shown = {"ManagedInstanceScaling": SCALING}
    assert component_operations.describe_instances(account, "e", variant) == {**shown, **least}
    create(account)
    assert component_operations.describe_instances(account, "e", variant) == shown
    put(account, status="Failed")
    assert component_operations.describe_instances(account, "e", variant) == {**shown, **least}
    with_model = {**variant, "ModelName": "m"}
    assert component_operations.describe_instances(account, "e", with_model) == {}


def test_lists_select_by_endpoint_variant_and_status(account: Account) -> None:
    furnish(account)
    for name in ("one", "two", "three"):
        create(account, name)
    put(account, "two")
    put(account, "three", VariantName="w", EndpointName="f")

    def names(**filters: Any) -> list[str]:
        listed = list_resources(account, "ListInferenceComponents", filters)
        return [item["InferenceComponentName"] for item in listed["InferenceComponents"]]

    assert names() == ["three", "two", "one"]
    assert names(EndpointNameEquals="e", SortBy="Name", SortOrder="Ascending") == ["one", "two"]
    assert names(VariantNameEquals="w") == ["three"]
    assert names(StatusEquals="Creating") == ["one"]
    assert names(NameContains="t") == ["three", "two"]
    assert names(EndpointNameEquals="x") == []
