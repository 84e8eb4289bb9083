"""The model registry: groups, versioned packages, approval."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from local_test.aws.account.account import Account
from local_test.aws.account.resources import PACKAGE, PACKAGE_GROUP, merge_tags
from local_test.aws.account.state import Record
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, reject

_CREATOR = {"UserProfileName": "local"}


def create_group(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateModelPackageGroup."""
    name = request["ModelPackageGroupName"]
    arn = account.arn(PACKAGE_GROUP.name, name)
    record = {
        **request,
        "ModelPackageGroupArn": arn,
        "ModelPackageGroupStatus": "Completed",
        "CreationTime": time.time(),
        "CreatedBy": _CREATOR,
        "Tags": merge_tags([], request.get("Tags", [])),
        "_last_version": 0,
    }
    if not account.store.insert(PACKAGE_GROUP.name, name, record):
        reject(f"Model Package Group already exists: {arn}")
    return {"ModelPackageGroupArn": arn}


def _find_group(account: Account, name_or_arn: str) -> Record:
    name = name_or_arn.rpartition("/")[2]
    found = account.store.find(PACKAGE_GROUP.name, name)
    return found or reject(
        f"ModelPackageGroup {account.arn(PACKAGE_GROUP.name, name)} does not exist."
    )


def describe_group(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeModelPackageGroup."""
    record = _find_group(account, request["ModelPackageGroupName"])
    return messages.pick(messages.output_shape("DescribeModelPackageGroup"), record)


def delete_group(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteModelPackageGroup; one that holds packages stays."""
    record = _find_group(account, request["ModelPackageGroupName"])
    name = record["ModelPackageGroupName"]
    if any(
        package.get("ModelPackageGroupName") == name for package in account.store.list(PACKAGE.name)
    ):
        message = f"Model Package Group cannot be deleted because it still contains Model Packages: {name}"
        raise AwsError("ConflictException", message)
    account.store.delete(PACKAGE_GROUP.name, name)


def create_package(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateModelPackage: the next version of a group, or a package with a name of its own."""
    if ("ModelPackageGroupName" in request) == ("ModelPackageName" in request):
        reject("One of ModelPackageGroupName and ModelPackageName must be given.")
    if "InferenceSpecification" not in request and "SourceAlgorithmSpecification" not in request:
        reject("One of InferenceSpecification and SourceAlgorithmSpecification must be given.")
    record: Record = {
        **{key: value for key, value in request.items() if key != "ClientToken"},
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CreationTime": time.time(),
        "LastModifiedTime": time.time(),
        "CreatedBy": _CREATOR,
        "Tags": merge_tags([], request.get("Tags", [])),
    }
    if "ModelPackageName" in request:
        name = request["ModelPackageName"]
    else:
        group = _find_group(account, request["ModelPackageGroupName"])["ModelPackageGroupName"]
        # A ClientToken makes a repeated request give the same package.
        for package in account.store.list(PACKAGE.name):
            if (
                request.get("ClientToken")
                and package.get("_client_token") == request["ClientToken"]
            ):
                return {"ModelPackageArn": package["ModelPackageArn"]}
        counted = account.store.edit(PACKAGE_GROUP.name, group, _count_version)
        name = f"{group}/{counted['_last_version']}"
        record |= {
            "ModelPackageGroupName": group,
            "ModelPackageName": group,
            "ModelPackageVersion": counted["_last_version"],
            "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
            "_client_token": request.get("ClientToken"),
        }
    record |= {"_name": name, "ModelPackageArn": account.arn(PACKAGE.name, name)}
    if not account.store.insert(PACKAGE.name, name, record):
        reject(f"Model Package already exists: {record['ModelPackageArn']}")
    return {"ModelPackageArn": record["ModelPackageArn"]}


def _count_version(record: Record) -> None:
    record["_last_version"] += 1


def find_package(account: Account, name_or_arn: str) -> Record:
    """Give a package by its name or ARN.

    Raises: AwsError if there is none.
    """
    arn = name_or_arn if name_or_arn.startswith("arn:") else account.arn(PACKAGE.name, name_or_arn)
    for record in account.store.list(PACKAGE.name):
        if record["ModelPackageArn"] == arn.lower():
            return record
    return reject(f"ModelPackage {arn} does not exist.")


def describe_package(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeModelPackage."""
    record = find_package(account, request["ModelPackageName"])
    return messages.pick(messages.output_shape("DescribeModelPackage"), record)


def update_package(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer UpdateModelPackage."""
    package = find_package(account, request["ModelPackageArn"])
    if "ModelApprovalStatus" in request and "ModelPackageVersion" not in package:
        reject("ModelApprovalStatus can be set for versioned model packages only.")

    def change(record: Record) -> None:
        plain = (
            "ModelApprovalStatus",
            "ApprovalDescription",
            "InferenceSpecification",
            "SourceUri",
            "ModelCard",
        )
        record.update({key: request[key] for key in (*plain, "ModelLifeCycle") if key in request})
        properties = {
            **record.get("CustomerMetadataProperties", {}),
            **request.get("CustomerMetadataProperties", {}),
        }
        for key in request.get("CustomerMetadataPropertiesToRemove", ()):
            properties.pop(key, None)
        record["CustomerMetadataProperties"] = properties or None
        added = request.get("AdditionalInferenceSpecificationsToAdd", [])
        record["AdditionalInferenceSpecifications"] = [
            *record.get("AdditionalInferenceSpecifications", []),
            *added,
        ] or None
        record["LastModifiedBy"] = _CREATOR

    account.store.edit(PACKAGE.name, package["_name"], change)
    return {"ModelPackageArn": package["ModelPackageArn"]}


def delete_package(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteModelPackage; models made of it stay."""
    account.store.delete(PACKAGE.name, find_package(account, request["ModelPackageName"])["_name"])
