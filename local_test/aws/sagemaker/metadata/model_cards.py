"""Model cards, whose every update is a new version, and algorithms, which name a program."""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ALGORITHM, MODEL_CARD
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.sagemaker.listing import list_page
from local_test.aws.sagemaker.metadata import resources
from local_test.aws.sagemaker.metadata.resources import Operation, Record, Request, Resource

_CARDS: Final = Resource(MODEL_CARD, "ModelCards", {"ModelCardVersion": 1})
_ALGORITHMS: Final = Resource(
    ALGORITHM, "Algorithms", {"AlgorithmStatus": "Completed", "AlgorithmStatusDetails": {}}
)
_OF_VERSION: Final = ("Content", "ModelCardStatus", "ModelCardVersion", "LastModifiedTime")


def _create_card(account: Account, request: Request) -> dict[str, Any]:
    _check_content(request["Content"])
    if account.store.find(MODEL_CARD, request["ModelCardName"]) is not None:
        message = f"Model card '{request['ModelCardName']}' already exists."
        raise AwsError("ConflictException", message)
    return resources.create(account, _CARDS, request)


def _check_content(content: str) -> None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        reject(f"Content must be a JSON object: {error}")
    if not isinstance(document, dict):
        reject(f"Content must be a JSON object; found {type(document).__name__}")


def _update_card(account: Account, request: Request) -> dict[str, Any]:
    """Answer UpdateModelCard: new content is a new version, a new status is not."""
    name = request["ModelCardName"]
    found = resources.find(account, MODEL_CARD, name)
    if "Content" in request:
        _check_content(request["Content"])

    def change(record: Record) -> None:
        if "Content" in request:
            earlier = {key: record[key] for key in _OF_VERSION}
            record["_earlier"] = [*record.get("_earlier", []), earlier]
            record["ModelCardVersion"] += 1
            record["Content"] = request["Content"]
        record["ModelCardStatus"] = request.get("ModelCardStatus", record["ModelCardStatus"])

    account.store.edit(MODEL_CARD, found["_name"], change)
    return {"ModelCardArn": found["ModelCardArn"]}


def _list_versions(record: Record) -> list[Record]:
    """Return what a card was in each version, oldest first."""
    current = {key: record[key] for key in _OF_VERSION}
    return [{**record, **version} for version in (*record.get("_earlier", []), current)]


def _describe_card(account: Account, request: Request) -> dict[str, Any]:
    messages.refuse_excerpt(request)
    record = resources.find(account, MODEL_CARD, request["ModelCardName"])
    number = request.get("ModelCardVersion", record["ModelCardVersion"])
    for version in _list_versions(record):
        if version["ModelCardVersion"] == number:
            return messages.pick(messages.output_shape("DescribeModelCard"), version)
    message = f"Model card '{request['ModelCardName']}' has no version {number}."
    raise AwsError("ResourceNotFound", message)


def _list_card_versions(account: Account, request: Request) -> dict[str, Any]:
    record = resources.find(account, MODEL_CARD, request["ModelCardName"])
    status = request.get("ModelCardStatus")
    found: list[Mapping[str, Any]] = [
        version
        for version in _list_versions(record)
        if status in (None, version["ModelCardStatus"])
        and request.get("CreationTimeAfter", 0) <= version["LastModifiedTime"]
        and version["LastModifiedTime"] <= request.get("CreationTimeBefore", time.time())
    ]
    return list_page("ListModelCardVersions", found, {"SortBy": "ModelCardVersion", **request})


OPERATIONS: Final[Mapping[str, Operation]] = {
    **_CARDS.operations(),
    "CreateModelCard": _create_card,
    "UpdateModelCard": _update_card,
    "DescribeModelCard": _describe_card,
    "ListModelCardVersions": _list_card_versions,
    **{
        name: operation
        for name, operation in _ALGORITHMS.operations().items()
        if name != "UpdateAlgorithm"  # the API has none
    },
}
