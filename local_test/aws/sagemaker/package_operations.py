"""The model registry: groups, versioned packages, approval."""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import PACKAGE, PACKAGE_GROUP
from local_test.aws.account.records import Package, PackageGroup
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.sagemaker.listing import list_page, select
from local_test.aws.sagemaker.tags import merge_tags

_CREATOR: Final = {"UserProfileName": "local"}
_REPLACED: Final = (
    *("ModelApprovalStatus", "ApprovalDescription", "InferenceSpecification", "SourceUri"),
    *("ModelCard", "ModelLifeCycle", "ModelPackageRegistrationType"),
)
"""The members that UpdateModelPackage replaces."""


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
    if not account.store.insert(PACKAGE_GROUP, name, record):
        reject(f"Model Package Group already exists: {arn}")
    return {"ModelPackageGroupArn": arn}


def _find_group(account: Account, name_or_arn: str) -> PackageGroup:
    name = name_or_arn.rpartition("/")[2]
    found = account.store.find(PACKAGE_GROUP, name)
    if found is None:
        reject(f"ModelPackageGroup {account.arn(PACKAGE_GROUP.name, name)} does not exist.")
    return found


def describe_group(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeModelPackageGroup."""
    record = _find_group(account, request["ModelPackageGroupName"])
    return messages.pick(messages.output_shape("DescribeModelPackageGroup"), record)


def delete_group(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteModelPackageGroup; a group that contains packages stays."""
    name = _find_group(account, request["ModelPackageGroupName"])["ModelPackageGroupName"]
    groups = [package.get("ModelPackageGroupName") for package in account.store.list(PACKAGE)]
    if name in groups:
        message = (
            "Model Package Group cannot be deleted because it still contains Model Packages: "
            f"{name}"
        )
        raise AwsError("ConflictException", message)
    account.store.delete(PACKAGE_GROUP, name)


def put_group_policy(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer PutModelPackageGroupPolicy; there is only one account here, so it changes nothing."""
    name = _find_group(account, request["ModelPackageGroupName"])["ModelPackageGroupName"]
    policy = request["ResourcePolicy"]
    try:
        json.loads(policy)
    except (ValueError, RecursionError) as error:
        reject(f"ResourcePolicy is not JSON: {error}")
    account.store.update(PACKAGE_GROUP, name, _policy=policy)
    return {"ModelPackageGroupArn": account.arn(PACKAGE_GROUP.name, name)}


def get_group_policy(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer GetModelPackageGroupPolicy."""
    record = _find_group(account, request["ModelPackageGroupName"])
    if "_policy" in record:
        return {"ResourcePolicy": record["_policy"]}
    return reject(f"Cannot find resource policy for: {record['ModelPackageGroupName']}.")


def delete_group_policy(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteModelPackageGroupPolicy."""
    get_group_policy(account, request)  # refuses if there is none
    name = _find_group(account, request["ModelPackageGroupName"])["ModelPackageGroupName"]
    account.store.update(PACKAGE_GROUP, name, _policy=None)


def create_package(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateModelPackage: the next version of a group, or a package with its own name."""
    if ("ModelPackageGroupName" in request) == ("ModelPackageName" in request):
        reject("One of ModelPackageGroupName and ModelPackageName must be given.")
    if "InferenceSpecification" not in request and "SourceAlgorithmSpecification" not in request:
        reject("One of InferenceSpecification and SourceAlgorithmSpecification must be given.")
    token = request.get("ClientToken")
    if token and "ModelPackageGroupName" in request:  # a repeated request returns the same package
        for package in account.store.list(PACKAGE):
            if package.get("_client_token") == token:
                return {"ModelPackageArn": package["ModelPackageArn"]}
    now = time.time()
    name = request.get("ModelPackageName")
    record: dict[str, Any] = {
        **{key: value for key, value in request.items() if key != "ClientToken"},
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CreationTime": now,
        "LastModifiedTime": now,
        "CreatedBy": _CREATOR,
        "Tags": merge_tags([], request.get("Tags", [])),
    }
    if name is None:
        group = _find_group(account, request["ModelPackageGroupName"])["ModelPackageGroupName"]
        version = account.store.edit(PACKAGE_GROUP, group, _count_version)["_last_version"]
        name = f"{group}/{version}"
        record |= {
            "ModelPackageGroupName": group,
            "ModelPackageName": group,
            "ModelPackageVersion": version,
            "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
            "_client_token": token,
        }
    arn = account.arn(PACKAGE.name, name)
    if not account.store.insert(PACKAGE, name, {**record, "_name": name, "ModelPackageArn": arn}):
        reject(f"Model Package already exists: {arn}")
    return {"ModelPackageArn": arn}


def _count_version(record: PackageGroup) -> None:
    record["_last_version"] += 1


def find_package(account: Account, name_or_arn: str) -> Package:
    """Return a package by its name or ARN. Raises: AwsError if there is none."""
    arn = name_or_arn if name_or_arn.startswith("arn:") else account.arn(PACKAGE.name, name_or_arn)
    for record in account.store.list(PACKAGE):
        if record["ModelPackageArn"] == arn.lower():
            return record
    return reject(f"ModelPackage {arn} does not exist.")


def list_packages(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer ListModelPackages: the versions of a group, or packages without one.

    Source: the API reference, ModelPackageType.
    """
    name = request.get("ModelPackageGroupName", "").rpartition("/")[2]
    wanted = {**request, "ModelPackageGroupName": name} if name else request
    kind = request.get("ModelPackageType", "Versioned" if name else "Unversioned")
    found = [
        package
        for package in select(account, "ListModelPackages", wanted)
        if kind in ("Both", "Versioned" if "ModelPackageVersion" in package else "Unversioned")
    ]
    answer = list_page("ListModelPackages", found, request)
    for summary in answer["ModelPackageSummaryList"]:
        if "ModelPackageVersion" in summary:  # the service names only packages without a group
            del summary["ModelPackageName"]
    return answer


def describe_package(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeModelPackage."""
    messages.refuse_excerpt(request)
    record = find_package(account, request["ModelPackageName"])
    return messages.pick(messages.output_shape("DescribeModelPackage"), record)


def describe_packages(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer BatchDescribeModelPackage: summaries, and an error for each ARN without a package."""
    shape = messages.output_shape("BatchDescribeModelPackage").members["ModelPackageSummaries"]
    summaries = {}
    errors = {}
    for arn in request["ModelPackageArnList"]:
        try:
            summaries[arn] = messages.pick(shape.value, find_package(account, arn))
        except AwsError as error:
            errors[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
    return {"ModelPackageSummaries": summaries, "BatchDescribeModelPackageErrorMap": errors}


def update_package(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer UpdateModelPackage."""
    package = find_package(account, request["ModelPackageArn"])
    if "ModelApprovalStatus" in request and "ModelPackageVersion" not in package:
        reject("ModelApprovalStatus can be set for versioned model packages only.")

    def change(record: Any) -> None:
        record.update({key: request[key] for key in _REPLACED if key in request})
        properties = {
            **record.get("CustomerMetadataProperties", {}),
            **request.get("CustomerMetadataProperties", {}),
        }
        for key in request.get("CustomerMetadataPropertiesToRemove", ()):
            properties.pop(key, None)
        specifications = [
            *record.get("AdditionalInferenceSpecifications", []),
            *request.get("AdditionalInferenceSpecificationsToAdd", []),
        ]
        record["CustomerMetadataProperties"] = properties or None
        record["AdditionalInferenceSpecifications"] = specifications or None
        record["LastModifiedBy"] = _CREATOR

    account.store.edit(PACKAGE, package["_name"], change)
    return {"ModelPackageArn": package["ModelPackageArn"]}


def delete_package(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteModelPackage; models created from it stay."""
    package = find_package(account, request["ModelPackageName"])
    account.store.delete(PACKAGE, package["_name"])
