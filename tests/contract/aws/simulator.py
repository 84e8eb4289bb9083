"""What a policy permits: the actions and resources of each request that is sent.

moto's IAM matches actions and resources. It knows no conditions of tags, so these are judged here.
Source: the IAM guide, "IAM JSON policy elements: Condition operators".
"""

from __future__ import annotations

import copy
import fnmatch
import json
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from moto.iam.access_control import IAMPolicyStatement, PermissionResult

REGION = "us-east-1"
NUMBER = "000000000000"
S3_ACTIONS = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadObject": "GetObject",
    "DeleteObjects": "DeleteObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
}
KINDS = {
    "TrainingJob": "training-job",
    "ProcessingJob": "processing-job",
    "TransformJob": "transform-job",
    "HyperParameterTuningJob": "hyper-parameter-tuning-job",
    "EndpointConfig": "endpoint-config",
    "Endpoint": "endpoint",
    "Model": "model",
}
Context = Mapping[str, str]
"""What conditions are about, by key."""


class Need(NamedTuple):
    """What a request needs: an action on a resource, in a context."""

    action: str
    resource: str
    context: Context = {}  # noqa: RUF012 - a tuple's default, which nothing changes


def tag_context(kind: str, tags: list[Mapping[str, str]]) -> dict[str, str]:
    """Return the context of tags: `kind` is RequestTag or ResourceTag."""
    pairs = [(tag.get("Key") or tag["key"], tag.get("Value") or tag["value"]) for tag in tags]
    return {f"aws:{kind}/{key}": value for key, value in pairs}


def find_needs(service: str, operation: str, request: Any) -> list[Need]:
    """Return the actions and resources for which AWS asks IAM before it answers a request.

    `service` is as in botocore's events.
    """
    if service == "sts":
        return []  # GetCallerIdentity needs no permission
    if service == "s3":
        return _find_needs_of_s3(operation, request)
    if service == "iam":
        form = urllib.parse.parse_qs(str(request.body))
        return [Need(f"iam:{operation}", f"arn:aws:iam::{NUMBER}:role/{form['RoleName'][0]}")]
    find = {
        "sagemaker": _find_needs_of_sagemaker,
        "cloudwatch-logs": _find_needs_of_logs,
        "ecr": _find_needs_of_ecr,
    }.get(service)
    if find is not None:
        return find(operation, json.loads(request.body or b"{}"))
    return [Need(f"{service.replace('-', '')}:{operation}", "*")]


def _find_needs_of_logs(operation: str, body: dict[str, Any]) -> list[Need]:
    group = f"arn:aws:logs:{REGION}:{NUMBER}:log-group:{body['logGroupName']}"
    stream = body.get("logStreamName")
    return [Need(f"logs:{operation}", f"{group}:log-stream:{stream}" if stream else group)]


def _find_needs_of_ecr(operation: str, body: dict[str, Any]) -> list[Need]:
    if operation == "GetAuthorizationToken":
        return [Need(f"ecr:{operation}", "*")]
    repository = body.get("resourceArn")
    repository = repository or (
        f"arn:aws:ecr:{REGION}:{NUMBER}:repository/{body.get('repositoryName', '*')}"
    )
    asked = tag_context("RequestTag", body.get("tags", []))
    actions = [operation, *(["TagResource"] if asked else [])]
    return [Need(f"ecr:{action}", repository, asked) for action in actions]


def _find_needs_of_s3(operation: str, request: Any) -> list[Need]:
    path = urllib.parse.unquote(urllib.parse.urlsplit(request.url).path).strip("/")
    action = f"s3:{S3_ACTIONS.get(operation, operation)}"
    if operation == "DeleteObjects":
        path += "/byo/every-key"
    return [Need(action, f"arn:aws:s3:::{path}", {"s3:ResourceAccount": NUMBER})]


def _find_needs_of_sagemaker(operation: str, body: dict[str, Any]) -> list[Need]:
    action = f"sagemaker:{operation}"
    if operation in ("ListTags", "DeleteTags"):
        return [Need(action, body["ResourceArn"])]
    noun = operation
    for verb in ("Create", "Describe", "Update", "Stop", "Delete", "ListTrainingJobsFor"):
        noun = noun.removeprefix(verb)
    if noun not in KINDS:
        return [Need(action, "*")]
    arn = f"arn:aws:sagemaker:{REGION}:{NUMBER}:{KINDS[noun]}/{body[f'{noun}Name']}"
    asked = tag_context("RequestTag", body.get("Tags", []))
    needs = [Need(action, arn, asked)]
    if operation == "CreateEndpoint":
        config = f"{KINDS['EndpointConfig']}/{body['EndpointConfigName']}"
        needs.append(Need(action, f"arn:aws:sagemaker:{REGION}:{NUMBER}:{config}", asked))
    if asked:
        needs.append(
            Need("sagemaker:AddTags", arn, {**asked, "sagemaker:TaggingAction": operation})
        )
    definition = body.get("TrainingJobDefinition", body)
    role = definition.get("RoleArn") or body.get("ExecutionRoleArn")
    if role:
        service = {"iam:PassedToService": "sagemaker.amazonaws.com"}
        needs.append(Need("iam:PassRole", role, service))
    return needs


def permits(policy: dict[str, Any], need: Need) -> bool:
    """Return whether one of a policy's statements permits an action; none of ours denies any."""
    return any(_allows(statement, need) for statement in policy["Statement"])


def _allows(statement: dict[str, Any], need: Need) -> bool:
    assert statement["Effect"] == "Allow"
    bare = {key: value for key, value in statement.items() if key != "Condition"}
    found = IAMPolicyStatement(bare).is_action_permitted(need.action, need.resource)
    return found is PermissionResult.PERMITTED and all(
        _holds(operator, value if isinstance(value, list) else [value], need.context.get(key))
        for operator, pairs in statement.get("Condition", {}).items()
        for key, value in pairs.items()
    )


def _holds(operator: str, wanted: list[str], found: str | None) -> bool:
    """Return whether a condition on one key holds: each operator but Null needs the key."""
    if operator == "Null":
        return wanted == [str(found is None).lower()]
    matches: Callable[[str, str], bool] = {
        "StringEquals": str.__eq__,
        "StringLike": fnmatch.fnmatchcase,
        "Bool": str.__eq__,
    }[operator]
    return found is not None and any(matches(found, value) for value in wanted)


def leave_out(policy: dict[str, Any], sid: str) -> dict[str, Any]:
    """Return a policy without one of its statements."""
    shorter = copy.deepcopy(policy)
    shorter["Statement"] = [item for item in policy["Statement"] if item["Sid"] != sid]
    assert len(shorter["Statement"]) == len(policy["Statement"]) - 1
    return shorter
