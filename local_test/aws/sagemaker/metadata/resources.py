"""Resources that are nothing but their description: create, describe, update, delete, list.

The names of all members come from botocore's model, so that one set of functions serves all kinds.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ALGORITHM, Kind
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker.listing import list_resources
from local_test.aws.sagemaker.tags import merge_tags

Record = dict[str, Any]
Request = Mapping[str, Any]
Operation = Callable[[Account, Request], dict[str, Any] | None]
_CREATOR: Final = {"UserProfileName": "local"}
_MERGED: Final = ("Properties", "Parameters", "InputArtifacts", "OutputArtifacts")
"""The members whose entries an update adds, or removes by a member `...ToRemove`."""


@dataclass(frozen=True)
class Resource:
    """What differs between kinds of resources."""

    kind: Kind[Any]
    plural: str
    """As in the name of its List operation."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Members that Describe returns although the request does not set them."""

    def operations(self) -> dict[str, Operation]:
        """Return the five operations by name."""
        prefix = self.kind.prefix
        return {
            f"Create{prefix}": lambda account, request: create(account, self, request),
            f"Describe{prefix}": lambda account, request: describe(account, self, request),
            f"Update{prefix}": lambda account, request: update(account, self, request),
            f"Delete{prefix}": lambda account, request: delete(account, self, request),
            f"List{self.plural}": lambda account, request: list_resources(
                account, f"List{self.plural}", request
            ),
        }


def create(
    account: Account, resource: Resource, request: Request, name: str = ""
) -> dict[str, Any]:
    """Answer a Create operation; `name` is the record's if the request does not have it.

    Raises: AwsError if the name is taken.
    """
    kind = resource.kind
    name = name or request[kind.name_name]
    arn = account.arn(kind.name, name)
    now = time.time()
    record = {
        **resource.defaults,
        **request,
        "_name": name,
        kind.arn_name: arn,
        "CreationTime": now,
        "LastModifiedTime": now,
        "CreatedBy": _CREATOR,
        "LastModifiedBy": _CREATOR,
        "Tags": merge_tags([], request.get("Tags", [])),
    }
    if not account.store.insert(kind, name, record):
        message = f"{kind.prefix} {arn} already exists; choose another name"
        raise AwsError("ValidationException", message)
    return {kind.arn_name: arn}


def find(account: Account, kind: Kind[Any], name: str) -> Record:
    """Return the record of a resource by its name or ARN. Raises: AwsError ResourceNotFound."""
    if name.startswith("arn:"):
        found = [item for item in account.store.list(kind) if item[kind.arn_name] == name.lower()]
    else:
        found = [account.store.find(kind, name)]
    record: Record | None = next(iter(found), None)
    if record is None:
        code = "ValidationException" if kind is ALGORITHM else "ResourceNotFound"
        raise AwsError(code, f"{kind.prefix} '{name}' does not exist.")
    return record


def describe(account: Account, resource: Resource, request: Request) -> dict[str, Any]:
    """Answer a Describe operation."""
    record = find(account, resource.kind, _read_name(resource.kind, request))
    return messages.pick(messages.output_shape(f"Describe{resource.kind.prefix}"), record)


def update(account: Account, resource: Resource, request: Request) -> dict[str, Any]:
    """Answer an Update operation; members that the request does not set stay."""
    kind = resource.kind
    found = find(account, kind, _read_name(kind, request))

    def change(record: Record) -> None:
        for name in _MERGED:
            entries = {**record.get(name, {}), **request.get(name, {})}
            for key in request.get(f"{name}ToRemove", ()):
                entries.pop(key, None)
            if entries or name in record:
                record[name] = entries or None
        record["LastModifiedBy"] = _CREATOR
        for name, value in request.items():
            if name not in _MERGED and not name.endswith("ToRemove") and name != kind.arn_name:
                record[name] = value

    account.store.edit(kind, found["_name"], change)
    return {kind.arn_name: found[kind.arn_name]}


def delete(account: Account, resource: Resource, request: Request) -> dict[str, Any] | None:
    """Answer a Delete operation."""
    kind = resource.kind
    found = find(account, kind, _read_name(kind, request))
    account.store.delete(kind, found["_name"])
    shape = messages.output_shape(f"Delete{kind.prefix}")
    return {kind.arn_name: found[kind.arn_name]} if shape else None


def _read_name(kind: Kind[Any], request: Request) -> str:
    """Return what a request names its resource by; only some kinds are named by ARN."""
    return str(request.get(kind.arn_name) or request[kind.name_name])
