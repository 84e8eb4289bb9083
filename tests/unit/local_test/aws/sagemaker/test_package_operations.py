"""The model registry."""

from __future__ import annotations

from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import package_operations

SPECIFICATION = {"Containers": [{"Image": "i"}]}


@pytest.fixture(autouse=True)
def group(account: Account) -> None:
    package_operations.create_group(account, {"ModelPackageGroupName": "g"})


def create(account: Account, **members: Any) -> str:
    request = {"InferenceSpecification": SPECIFICATION, **members}
    if "ModelPackageName" not in request:
        request.setdefault("ModelPackageGroupName", "g")
    return str(package_operations.create_package(account, request)["ModelPackageArn"])


def describe(account: Account, name: str) -> dict[str, Any]:
    return package_operations.describe_package(account, {"ModelPackageName": name})


def test_a_group_numbers_its_packages(account: Account) -> None:
    arns = [create(account), create(account)]
    assert [arn.rpartition("/")[2] for arn in arns] == ["1", "2"]
    assert describe(account, arns[1])["ModelPackageVersion"] == 2
    package_operations.delete_package(account, {"ModelPackageName": arns[1]})
    assert create(account).endswith("/3")


def test_a_repeated_request_returns_the_same_package(account: Account) -> None:
    assert create(account, ClientToken="t") == create(account, ClientToken="t")
    assert create(account, ClientToken="other").endswith("/2")


def test_a_package_can_have_its_own_name(account: Account) -> None:
    arn = create(account, ModelPackageName="own")
    assert describe(account, "own")["ModelPackageArn"] == arn
    with pytest.raises(AwsError, match="already exists"):
        create(account, ModelPackageName="own")
    with pytest.raises(AwsError, match="for versioned model packages only"):
        package_operations.update_package(
            account, {"ModelPackageArn": arn, "ModelApprovalStatus": "Approved"}
        )


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({}, "One of ModelPackageGroupName and ModelPackageName"),
        ({"ModelPackageGroupName": "g"}, "One of InferenceSpecification and"),
        (
            {"ModelPackageGroupName": "x", "InferenceSpecification": SPECIFICATION},
            "ModelPackageGroup .*/x does not exist",
        ),
    ],
)
def test_an_incomplete_request_is_refused(
    account: Account, request_: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AwsError, match=reason):
        package_operations.create_package(account, request_)


def test_an_update_approves_and_changes_properties(account: Account) -> None:
    arn = create(account, CustomerMetadataProperties={"a": "1", "b": "1"})
    assert describe(account, arn)["ModelApprovalStatus"] == "PendingManualApproval"
    changes = {
        "ModelApprovalStatus": "Approved",
        "CustomerMetadataProperties": {"b": "2"},
        "CustomerMetadataPropertiesToRemove": ["a", "unknown"],
    }
    package_operations.update_package(account, {"ModelPackageArn": arn, **changes})
    described = describe(account, arn)
    assert described["ModelApprovalStatus"] == "Approved"
    assert described["CustomerMetadataProperties"] == {"b": "2"}
    package_operations.update_package(
        account, {"ModelPackageArn": arn, "CustomerMetadataPropertiesToRemove": ["b"]}
    )
    assert "CustomerMetadataProperties" not in describe(account, arn)


def test_a_group_with_packages_stays(account: Account) -> None:
    arn = create(account)
    request = {"ModelPackageGroupName": "g"}
    with pytest.raises(AwsError, match="still contains") as caught:
        package_operations.delete_group(account, request)
    assert caught.value.code == "ConflictException"
    package_operations.delete_package(account, {"ModelPackageName": arn})
    package_operations.delete_group(account, request)
    with pytest.raises(AwsError, match="does not exist"):
        package_operations.describe_group(account, request)


def test_a_list_has_the_versions_of_a_group_or_packages_without_one(account: Account) -> None:
    arns = {"Versioned": create(account), "Unversioned": create(account, ModelPackageName="own")}
    group = account.arn("model-package-group", "g")
    for expected, request in (
        ("Unversioned", {}),
        ("Unversioned", {"ModelPackageType": "Unversioned"}),
        ("Versioned", {"ModelPackageType": "Versioned"}),
        ("Versioned", {"ModelPackageGroupName": "g"}),
        ("Versioned", {"ModelPackageGroupName": group}),
    ):
        listed = package_operations.list_packages(account, request)["ModelPackageSummaryList"]
        assert [item["ModelPackageArn"] for item in listed] == [arns[expected]], request
    both = package_operations.list_packages(account, {"ModelPackageType": "Both"})
    names = [item.get("ModelPackageName") for item in both["ModelPackageSummaryList"]]
    assert names == [None, "own"]
