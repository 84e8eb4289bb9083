"""List operations: filters, sorting, pages and summaries."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from local_test.aws.account import kinds
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import Kind
from local_test.aws.protocol import messages
from local_test.aws.protocol.paging import Pager
from local_test.jobs import warm_pools

Record = Mapping[str, Any]
_PAGE_LENGTH: Final = 10  # MaxResults where a request has none
_MATCHED: Final = (
    *("ModelApprovalStatus", "ModelPackageGroupName", "ExperimentName", "ModelCardStatus"),
    *("ArtifactType", "ActionType", "ContextType", "PipelineName"),
)


@dataclass(frozen=True)
class Listing:
    """What one List operation returns, and in which order if the request does not say."""

    kind: Kind[Any]
    sort_by: str = "CreationTime"
    order: str = "Descending"


# Source: the API reference's defaults of SortBy and SortOrder; they differ between lists.
LISTINGS: Final[Mapping[str, Listing]] = {
    "ListTrainingJobs": Listing(kinds.TRAINING_JOB, order="Ascending"),
    "ListProcessingJobs": Listing(kinds.PROCESSING_JOB, order="Ascending"),
    "ListTransformJobs": Listing(kinds.TRANSFORM_JOB),
    "ListHyperParameterTuningJobs": Listing(kinds.TUNING_JOB, "Name", order="Ascending"),
    "ListTrainingJobsForHyperParameterTuningJob": Listing(
        kinds.TRAINING_JOB, "Name", order="Ascending"
    ),
    "ListModels": Listing(kinds.MODEL),
    "ListEndpointConfigs": Listing(kinds.ENDPOINT_CONFIG),
    "ListEndpoints": Listing(kinds.ENDPOINT),
    "ListInferenceComponents": Listing(kinds.COMPONENT),
    "ListModelPackageGroups": Listing(kinds.PACKAGE_GROUP, order="Ascending"),
    "ListModelPackages": Listing(kinds.PACKAGE, order="Ascending"),
    "ListExperiments": Listing(kinds.EXPERIMENT),
    "ListTrials": Listing(kinds.TRIAL),
    "ListTrialComponents": Listing(kinds.TRIAL_COMPONENT),
    "ListArtifacts": Listing(kinds.ARTIFACT),
    "ListActions": Listing(kinds.ACTION),
    "ListContexts": Listing(kinds.CONTEXT),
    "ListAssociations": Listing(kinds.ASSOCIATION),
    "ListModelCards": Listing(kinds.MODEL_CARD),
    "ListModelCardVersions": Listing(kinds.MODEL_CARD, "ModelCardVersion"),
    "ListAlgorithms": Listing(kinds.ALGORITHM, order="Ascending"),
    "ListPipelines": Listing(kinds.PIPELINE),
    "ListPipelineExecutions": Listing(kinds.PIPELINE_EXECUTION),
}


def list_resources(
    account: Account,
    operation: str,
    request: Mapping[str, Any],
    enrich: Callable[[Account, Any], Record] | None = None,
) -> dict[str, Any]:
    """Answer a List operation; `enrich` adds what a record does not hold."""
    found = select(account, operation, request)
    if enrich is not None:
        found = [enrich(account, record) for record in found]
    return list_page(operation, found, request)


def select(account: Account, operation: str, request: Mapping[str, Any]) -> list[Record]:
    """Return the records that pass the filters of a request, oldest first."""
    kind = LISTINGS[operation].kind
    records = account.store.list(kind)
    for record in records if kind is kinds.TRAINING_JOB else ():
        record["WarmPoolStatus"] = warm_pools.describe(record, time.time())
    return [record for record in records if _is_wanted(kind, record, request)]


def list_page(operation: str, found: list[Record], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page of records that a request asks for, as summaries.

    Raises: AwsError for a token that does not come from the same request.
    """
    listing = LISTINGS[operation]
    kind = listing.kind
    request = {"SortBy": listing.sort_by, "SortOrder": listing.order, **request}
    members = {"Name": kind.name_name, "Status": kind.status_name}
    sort_by = members.get(request["SortBy"], request["SortBy"])
    shown, more = Pager(operation, _PAGE_LENGTH).cut(
        found,
        request,
        lambda record: [record.get(sort_by, ""), record["CreationTime"], name_of(kind, record)],
        is_descending=request["SortOrder"] == "Descending",
    )
    answer = messages.output_shape(operation).members
    [(member, shape)] = [item for item in answer.items() if item[1].type_name == "list"]
    return {member: [messages.pick(shape.member, record) for record in shown], **more}


def name_of(kind: Kind[Any], record: Record) -> str:
    """Return a resource's name; an artifact without a name has the last part of its ARN."""
    return str(record.get(kind.name_name) or record.get("_name", ""))


def _is_wanted(kind: Kind[Any], record: Record, request: Mapping[str, Any]) -> bool:
    created = record["CreationTime"]
    return (
        request.get("NameContains", "") in name_of(kind, record)
        and name_of(kind, record).startswith(request.get("PipelineNamePrefix", ""))
        and request.get("CrossAccountFilterOption") != "CrossAccount"  # no other one shares
        and _is_in_time(request, "CreationTime", created)
        and _is_in_time(request, "Created", created)
        and _is_in_time(request, "LastModifiedTime", record.get("LastModifiedTime", created))
        and all(request.get(name, record.get(name)) == record.get(name) for name in _MATCHED)
        and all(_read(record, name) == value for name, value in _list_equals(kind, request).items())
    )


def _read(record: Record, name: str) -> Any:
    """Return what a filter compares: a member, or the status in it."""
    found = record.get(name)
    return found["Status"] if isinstance(found, dict) else found


def _list_equals(kind: Kind[Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what filters such as `StatusEquals` ask for, by the names of a record's members."""
    stems = [name.removesuffix("Equals") for name in request if name.endswith("Equals")]
    members = {"Status": kind.status_name}
    return {members.get(stem, stem): request[f"{stem}Equals"] for stem in stems}


def _is_in_time(request: Mapping[str, Any], member: str, time_s: float) -> bool:
    earliest: float = request.get(f"{member}After", time_s)
    latest: float = request.get(f"{member}Before", time_s)
    return earliest <= time_s <= latest
