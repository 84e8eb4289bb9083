"""What resources of every kind share: names, ARNs, lists with filters and pages, tags."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.state import Record
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import reject


@dataclass(frozen=True)
class Kind:
    """A kind of resource: how the API calls its parts."""

    name: str
    """As in ARNs: `training-job`; also the kind of its records."""
    prefix: str
    """As in member names: `TrainingJob` of `TrainingJobName`."""
    status_name: str = ""
    """The member that holds its status."""

    @property
    def name_name(self) -> str:
        """The member that holds its name."""
        return f"{self.prefix}Name"

    @property
    def arn_name(self) -> str:
        """The member that holds its ARN."""
        return f"{self.prefix}Arn"


TRAINING_JOB: Final = Kind("training-job", "TrainingJob", "TrainingJobStatus")
PROCESSING_JOB: Final = Kind("processing-job", "ProcessingJob", "ProcessingJobStatus")
TRANSFORM_JOB: Final = Kind("transform-job", "TransformJob", "TransformJobStatus")
TUNING_JOB: Final = Kind(
    "hyper-parameter-tuning-job", "HyperParameterTuningJob", "HyperParameterTuningJobStatus"
)
MODEL: Final = Kind("model", "Model")
ENDPOINT_CONFIG: Final = Kind("endpoint-config", "EndpointConfig")
ENDPOINT: Final = Kind("endpoint", "Endpoint", "EndpointStatus")
PACKAGE_GROUP: Final = Kind("model-package-group", "ModelPackageGroup", "ModelPackageGroupStatus")
PACKAGE: Final = Kind("model-package", "ModelPackage", "ModelPackageStatus")
KINDS: Final = (
    *(TRAINING_JOB, PROCESSING_JOB, TRANSFORM_JOB, TUNING_JOB),
    *(MODEL, ENDPOINT_CONFIG, ENDPOINT, PACKAGE_GROUP, PACKAGE),
)

# Source: the API reference's defaults of SortBy and SortOrder; they differ between lists.
_LISTS: Final[Mapping[str, tuple[Kind, str, str, str]]] = {
    "ListTrainingJobs": (TRAINING_JOB, "TrainingJobSummaries", "CreationTime", "Ascending"),
    "ListProcessingJobs": (PROCESSING_JOB, "ProcessingJobSummaries", "CreationTime", "Ascending"),
    "ListTransformJobs": (TRANSFORM_JOB, "TransformJobSummaries", "CreationTime", "Descending"),
    "ListHyperParameterTuningJobs": (
        TUNING_JOB,
        "HyperParameterTuningJobSummaries",
        "Name",
        "Ascending",
    ),
    "ListModels": (MODEL, "Models", "CreationTime", "Descending"),
    "ListEndpointConfigs": (ENDPOINT_CONFIG, "EndpointConfigs", "CreationTime", "Descending"),
    "ListEndpoints": (ENDPOINT, "Endpoints", "CreationTime", "Descending"),
    "ListModelPackageGroups": (
        PACKAGE_GROUP,
        "ModelPackageGroupSummaryList",
        "CreationTime",
        "Ascending",
    ),
    "ListModelPackages": (PACKAGE, "ModelPackageSummaryList", "CreationTime", "Ascending"),
}
LIST_OPERATIONS: Final = tuple(_LISTS)
_PAGE_LENGTH: Final = 10  # MaxResults where a request says nothing


def list_resources(
    account: Account,
    operation: str,
    request: Mapping[str, Any],
    enrich: Callable[[Account, Record], Record] = lambda account, record: record,  # noqa: ARG005
) -> dict[str, Any]:
    """Answer a List operation; `enrich` adds what a record does not hold."""
    kind, member, sort_by, order = _LISTS[operation]
    records = [
        enrich(account, record)
        for record in account.store.list(kind.name)
        if _is_wanted(kind, record, request)
    ]
    return page(
        operation, member, kind, records, {"SortBy": sort_by, "SortOrder": order, **request}
    )


def page(
    operation: str, member: str, kind: Kind, records: list[Record], request: Mapping[str, Any]
) -> dict[str, Any]:
    """Sort records and give the page that a request asks for, as summaries.

    Raises: AwsError for a token that another request, or nobody, was given.
    """
    names = {"Name": kind.name_name, "Status": kind.status_name}
    by = names.get(request["SortBy"], request["SortBy"])

    def rank(record: Record) -> list[Any]:
        return [record.get(by, ""), record["CreationTime"], record[kind.name_name]]

    is_descending = request["SortOrder"] == "Descending"
    ordered = sorted(records, key=rank, reverse=is_descending)
    filters = {
        name: value for name, value in request.items() if name not in ("NextToken", "MaxResults")
    }
    digest = hashlib.sha256(json.dumps([operation, filters], sort_keys=True).encode()).hexdigest()[
        :16
    ]
    if request.get("NextToken"):
        # The token holds the last entry's rank, not its number: what comes or goes meanwhile moves
        # nothing.
        last = _open_token(request["NextToken"], digest)
        ordered = [
            record
            for record in ordered
            if (rank(record) < last if is_descending else rank(record) > last)
        ]
    limit = request.get("MaxResults", _PAGE_LENGTH)
    shown = ordered[:limit]
    more = {"NextToken": _make_token(rank(shown[-1]), digest)} if len(ordered) > limit else {}
    shape = messages.summary_shape(operation, member)
    return {member: [messages.pick(shape, record) for record in shown], **more}


def _make_token(rank: list[Any], digest: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([digest, rank]).encode()).decode()


def _open_token(token: str, digest: str) -> list[Any]:
    try:
        found, rank = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError):
        found, rank = None, None
    if found != digest or not isinstance(rank, list):
        reject("Invalid NextToken: it belongs to a request with the same filters and sorting")
    return rank


def _is_wanted(kind: Kind, record: Record, request: Mapping[str, Any]) -> bool:
    created, modified = (
        record["CreationTime"],
        record.get("LastModifiedTime", record["CreationTime"]),
    )
    return (
        request.get("NameContains", "") in record[kind.name_name]
        and request.get("CreationTimeAfter", created)
        <= created
        <= request.get("CreationTimeBefore", created)
        and request.get("LastModifiedTimeAfter", modified)
        <= modified
        <= request.get("LastModifiedTimeBefore", modified)
        and request.get("StatusEquals", record.get(kind.status_name))
        == record.get(kind.status_name)
        and all(
            request.get(name, record.get(name)) == record.get(name)
            for name in ("ModelApprovalStatus", "ModelPackageGroupName")
        )
    )


def add_tags(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer AddTags: later values replace earlier ones."""
    kind, name = find_by_arn(account, request["ResourceArn"])

    def change(record: Record) -> None:
        record["Tags"] = merge_tags(record.get("Tags", []), request["Tags"])

    return {"Tags": account.store.edit(kind.name, name, change)["Tags"]}


def merge_tags(old: list[dict[str, str]], new: list[dict[str, str]]) -> list[dict[str, str]]:
    """Put new tags over old ones.

    Raises: AwsError for more than the service keeps.
    """
    tags = {tag["Key"]: tag["Value"] for tag in (*old, *new)}
    if len(tags) > 50:
        reject(f"Tag limit exceeded: {len(tags)} tags, 50 are possible")
    reserved = sorted(key for key in tags if key.lower().startswith("aws:"))
    if reserved:
        reject(f"Tag keys may not start with aws: {', '.join(reserved)}")
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def list_tags(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer ListTags."""
    kind, name = find_by_arn(account, request["ResourceArn"])
    tags = (account.store.find(kind.name, name) or {}).get("Tags", [])
    token = request.get("NextToken") or "0"
    if not token.isdecimal():
        reject("Invalid NextToken")
    start, limit = int(token), request.get("MaxResults", 50)
    more = {"NextToken": str(start + limit)} if start + limit < len(tags) else {}
    return {"Tags": tags[start : start + limit], **more}


def delete_tags(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DeleteTags; a key that is not there is no error."""
    kind, name = find_by_arn(account, request["ResourceArn"])

    def change(record: Record) -> None:
        record["Tags"] = [
            tag for tag in record.get("Tags", []) if tag["Key"] not in request["TagKeys"]
        ]

    account.store.edit(kind.name, name, change)
    return {}


def find_by_arn(account: Account, arn: str) -> tuple[Kind, str]:
    """Find the resource of an ARN.

    Raises: AwsError if there is none.
    """
    kind_name = arn.rpartition(":")[2].partition("/")[0]
    for kind in KINDS:
        if kind.name == kind_name:
            for record in account.store.list(kind.name):
                if record[kind.arn_name].lower() == arn.lower():
                    return kind, record[kind.name_name] if kind is not PACKAGE else record["_name"]
    return reject(f"Could not find resource {arn}")
