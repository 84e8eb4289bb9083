"""List operations: filters, defaults and orders."""

from __future__ import annotations

from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import MODEL, PACKAGE, TRAINING_JOB
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker.listing import LISTINGS, list_resources


@pytest.fixture(autouse=True)
def resources(account: Account) -> None:
    for name, time_s, status in (("b", 1.0, "Completed"), ("a", 2.0, "Failed")):
        common = {"CreationTime": time_s, "LastModifiedTime": time_s + 10}
        job = {"TrainingJobName": name, "TrainingJobArn": name, "TrainingJobStatus": status}
        account.store.insert(TRAINING_JOB, name, {**common, **job})
        account.store.insert(MODEL, name, {**common, "ModelName": name, "ModelArn": name})
    package = {"ModelPackageName": "g", "ModelPackageGroupName": "g", "CreationTime": 1.0}
    for name, status in (("g/1", "Approved"), ("g/2", "Rejected")):
        record = {**package, "ModelPackageArn": name, "ModelApprovalStatus": status}
        account.store.insert(PACKAGE, name, record)


def list_names(account: Account, operation: str = "ListTrainingJobs", **request: Any) -> list[str]:
    listing = LISTINGS[operation]
    answer = list_resources(account, operation, request)
    (entries,) = (found for found in answer.values() if isinstance(found, list))
    return [entry[listing.kind.arn_name] for entry in entries]


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ({}, ["b", "a"]),
        ({"SortOrder": "Descending"}, ["a", "b"]),
        ({"SortBy": "Name"}, ["a", "b"]),
        ({"SortBy": "Status"}, ["b", "a"]),
        ({"NameContains": "b"}, ["b"]),
        ({"StatusEquals": "Failed"}, ["a"]),
        ({"CreationTimeAfter": 1.5}, ["a"]),
        ({"CreationTimeBefore": 1.5}, ["b"]),
        ({"LastModifiedTimeAfter": 11.5}, ["a"]),
        ({"LastModifiedTimeBefore": 11.5}, ["b"]),
        ({"CreationTimeAfter": 1.0, "CreationTimeBefore": 2.0}, ["b", "a"]),
    ],
)
def test_a_request_filters_and_sorts(
    account: Account, request_: dict[str, Any], names: list[str]
) -> None:
    assert list_names(account, **request_) == names


def test_lists_have_their_own_default_orders(account: Account) -> None:
    assert list_names(account, "ListModels") == ["a", "b"]


def test_packages_are_found_by_their_approval(account: Account) -> None:
    assert list_names(account, "ListModelPackages", ModelApprovalStatus="Approved") == ["g/1"]
    assert list_names(account, "ListModelPackages", ModelPackageGroupName="other") == []


@pytest.mark.parametrize(
    "request_",
    [
        {"WarmPoolStatusEquals": "Available"},
        {"TrainingPlanArnEquals": "arn"},
        {"CrossAccountFilterOption": "CrossAccount"},
    ],
)
def test_what_nothing_here_has_selects_nothing(account: Account, request_: dict[str, str]) -> None:
    assert list_names(account, **request_) == []


def test_a_token_of_another_list_is_refused(account: Account) -> None:
    request = {"SortBy": "Name", "SortOrder": "Ascending", "MaxResults": 1}
    token = list_resources(account, "ListTrainingJobs", request)["NextToken"]
    with pytest.raises(AwsError, match="Invalid NextToken"):
        list_resources(account, "ListModels", {**request, "NextToken": token})
