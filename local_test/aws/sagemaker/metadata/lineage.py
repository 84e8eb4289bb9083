"""Lineage: artifacts, actions and contexts, and which of them led to which."""

import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ACTION, ARTIFACT, ASSOCIATION, CONTEXT, Kind
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.sagemaker.listing import list_page, select
from local_test.aws.sagemaker.metadata import resources
from local_test.aws.sagemaker.metadata.resources import Operation, Request, Resource

_ARTIFACTS: Final = Resource(ARTIFACT, "Artifacts")
_ACTIONS: Final = Resource(ACTION, "Actions")
_CONTEXTS: Final = Resource(CONTEXT, "Contexts")
_KINDS: Final[Mapping[str, Kind[Any]]] = {kind.name: kind for kind in (ARTIFACT, ACTION, CONTEXT)}


def _delete_artifact(account: Account, request: Request) -> dict[str, Any] | None:
    if ("ArtifactArn" in request) == ("Source" in request):
        reject("Exactly one of ArtifactArn and Source must be given.")
    if "ArtifactArn" in request:
        return resources.delete(account, _ARTIFACTS, request)
    source = request["Source"]
    for record in account.store.list(ARTIFACT):
        if record["Source"] == source:
            return resources.delete(account, _ARTIFACTS, {"ArtifactArn": record["ArtifactArn"]})
    raise AwsError("ResourceNotFound", f"No artifact has the source {source['SourceUri']!r}.")


def _list_sourced(account: Account, operation: str, request: Request) -> dict[str, Any]:
    """Answer a List operation that can select by the source's URI."""
    found = select(account, operation, request)
    if "SourceUri" in request:
        uri = request["SourceUri"]
        found = [record for record in found if record["Source"]["SourceUri"] == uri]
    return list_page(operation, found, request)


def _find_kind(arn: str) -> Kind[Any] | None:
    """Return the kind of an end of an association; it is none of ours for jobs and models."""
    return _KINDS.get(arn.rpartition(":")[2].partition("/")[0])


def _add_association(account: Account, request: Request) -> dict[str, Any]:
    ends = {name: request[name] for name in ("SourceArn", "DestinationArn")}
    for arn in ends.values():
        kind = _find_kind(arn)
        if kind is not None:
            resources.find(account, kind, arn)
    record = {
        **request,
        "AssociationName": _name_association(ends),
        "CreationTime": time.time(),
        "CreatedBy": {"UserProfileName": "local"},
    }
    if not account.store.insert(ASSOCIATION, record["AssociationName"], record):
        reject(f"{ends['SourceArn']} and {ends['DestinationArn']} are associated already.")
    return ends


def _name_association(ends: Mapping[str, str]) -> str:
    return f"{ends['SourceArn']} {ends['DestinationArn']}"


def _delete_association(account: Account, request: Request) -> dict[str, Any]:
    ends = {name: request[name] for name in ("SourceArn", "DestinationArn")}
    name = _name_association(ends)
    if account.store.find(ASSOCIATION, name) is None:
        message = f"{ends['SourceArn']} and {ends['DestinationArn']} are not associated."
        raise AwsError("ResourceNotFound", message)
    account.store.delete(ASSOCIATION, name)
    return ends


def _list_associations(account: Account, request: Request) -> dict[str, Any]:
    found: list[Mapping[str, Any]] = []
    for record in select(account, "ListAssociations", request):
        described = dict(record)
        for end in ("Source", "Destination"):
            described.update(_summarize_end(account, end, record[f"{end}Arn"]))
        wanted = ("SourceArn", "DestinationArn", "SourceType", "DestinationType", "AssociationType")
        if all(request.get(name, described.get(name)) == described.get(name) for name in wanted):
            found.append(described)
    return list_page("ListAssociations", found, request)


def _summarize_end(account: Account, end: str, arn: str) -> dict[str, Any]:
    """Return the type and the name of one end of an association, as far as they are known."""
    kind = _find_kind(arn)
    if kind is None:
        return {}
    try:
        record = resources.find(account, kind, arn)
    except AwsError:  # it was deleted, and the association stays
        return {}
    summary = {
        f"{end}Type": record.get(f"{kind.prefix}Type"),
        f"{end}Name": record.get(kind.name_name),
    }
    return {name: value for name, value in summary.items() if value is not None}


OPERATIONS: Final[Mapping[str, Operation]] = {
    **_ARTIFACTS.operations(),
    **_ACTIONS.operations(),
    **_CONTEXTS.operations(),
    "CreateArtifact": lambda account, request: (  # names are not unique: the ARN has a number
        resources.create(account, _ARTIFACTS, request, uuid.uuid4().hex)
    ),
    "DeleteArtifact": _delete_artifact,
    "ListArtifacts": lambda account, request: _list_sourced(account, "ListArtifacts", request),
    "ListActions": lambda account, request: _list_sourced(account, "ListActions", request),
    "ListContexts": lambda account, request: _list_sourced(account, "ListContexts", request),
    "AddAssociation": _add_association,
    "DeleteAssociation": _delete_association,
    "ListAssociations": _list_associations,
}
