"""Tags of resources, and finding a resource by its ARN."""

from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import RESOURCES, Kind
from local_test.aws.account.records import Tag
from local_test.aws.protocol.messages import reject
from local_test.aws.protocol.paging import Pager

_MOST_TAGS: Final = 50
_PAGER: Final = Pager("ListTags", 50)


def add_tags(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer AddTags; a new value replaces an old one."""
    kind, name = _find(account, request["ResourceArn"])

    def change(record: dict[str, Any]) -> None:
        record["Tags"] = merge_tags(record.get("Tags", []), request["Tags"])

    return {"Tags": account.store.edit(kind, name, change)["Tags"]}


def merge_tags(old: list[Tag], new: list[Tag]) -> list[Tag]:
    """Return the tags after new ones were added.

    Raises: AwsError for too many tags, or a reserved key.
    """
    tags = {tag["Key"]: tag["Value"] for tag in (*old, *new)}
    if len(tags) > _MOST_TAGS:
        reject(f"Tag limit exceeded: {len(tags)} tags; at most {_MOST_TAGS} are allowed")
    reserved = sorted(key for key in tags if key.lower().startswith("aws:"))
    if reserved:
        reject(f"Tag keys must not start with aws: {', '.join(reserved)}")
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def list_tags(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer ListTags."""
    kind, name = _find(account, request["ResourceArn"])
    record = account.store.find(kind, name) or {}
    shown, more = _PAGER.cut(record.get("Tags", []), request)
    return {"Tags": shown, **more}


def delete_tags(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DeleteTags; a key that does not exist is not an error."""
    kind, name = _find(account, request["ResourceArn"])

    def change(record: dict[str, Any]) -> None:
        tags = record.get("Tags", [])
        record["Tags"] = [tag for tag in tags if tag["Key"] not in request["TagKeys"]]

    account.store.edit(kind, name, change)
    return {}


def _find(account: Account, arn: str) -> tuple[Kind[Any], str]:
    """Return the kind of a resource and the name of its record.

    Raises: AwsError if there is none.
    """
    kind = RESOURCES.get(arn.rpartition(":")[2].partition("/")[0])
    if kind is None:
        return reject(f"Could not find resource {arn}")
    for record in account.store.list(kind):
        if record[kind.arn_name].lower() == arn.lower():
            return kind, record.get("_name") or record[kind.name_name]
    return reject(f"Could not find resource {arn}")
