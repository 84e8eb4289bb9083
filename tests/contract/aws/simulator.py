"""What a policy permits, by moto's IAM: the actions and resources of each request that is sent."""

from __future__ import annotations

import copy
import json
import urllib.parse
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult

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
CONTEXT = {"iam:PassedToService": "sagemaker.amazonaws.com"}
Need = tuple[str, str]


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
        return [(f"iam:{operation}", f"arn:aws:iam::{NUMBER}:role/{form['RoleName'][0]}")]
    find = {
        "sagemaker": _find_needs_of_sagemaker,
        "cloudwatch-logs": _find_needs_of_logs,
        "ecr": _find_needs_of_ecr,
    }.get(service)
    if find is not None:
        return find(operation, json.loads(request.body or b"{}"))
    return [(f"{service.replace('-', '')}:{operation}", "*")]


def _find_needs_of_logs(operation: str, body: dict[str, Any]) -> list[Need]:
    group = f"arn:aws:logs:{REGION}:{NUMBER}:log-group:{body['logGroupName']}"
    stream = body.get("logStreamName")
    return [(f"logs:{operation}", f"{group}:log-stream:{stream}" if stream else group)]


def _find_needs_of_ecr(operation: str, body: dict[str, Any]) -> list[Need]:
    if operation == "GetAuthorizationToken":
        return [(f"ecr:{operation}", "*")]
    repository = body.get("resourceArn")
    repository = repository or (
        f"arn:aws:ecr:{REGION}:{NUMBER}:repository/{body.get('repositoryName', '*')}"
    )
    needs = [(f"ecr:{operation}", repository)]
    if "tags" in body:
        needs.append(("ecr:TagResource", repository))
    return needs


def _find_needs_of_s3(operation: str, request: Any) -> list[Need]:
    path = urllib.parse.unquote(urllib.parse.urlsplit(request.url).path).strip("/")
    action = f"s3:{S3_ACTIONS.get(operation, operation)}"
    if operation == "DeleteObjects":
        path += "/byo/every-key"
    return [(action, f"arn:aws:s3:::{path}")]


def _find_needs_of_sagemaker(operation: str, body: dict[str, Any]) -> list[Need]:
    action = f"sagemaker:{operation}"
    if operation in ("ListTags", "DeleteTags"):
        return [(action, body["ResourceArn"])]
    if operation.startswith("List"):
        return [(action, "*")]
    noun = operation.removeprefix("Create").removeprefix("Describe")
    noun = noun.removeprefix("Stop").removeprefix("Delete").removeprefix("Update")
    name = body[f"{noun}Name"]
    resource = f"arn:aws:sagemaker:{REGION}:{NUMBER}:{KINDS[noun]}/{name}"
    needs = [(action, resource)]
    if "Tags" in body:
        needs.append(("sagemaker:AddTags", resource))
    definition = body.get("TrainingJobDefinition", body)
    role = definition.get("RoleArn") or body.get("ExecutionRoleArn")
    if role:
        needs.append(("iam:PassRole", role))
    return needs


def permits(policy: dict[str, Any], need: Need) -> bool:
    """Return whether moto's IAM permits an action by a policy."""
    found = IAMPolicy(json.dumps(policy)).is_action_permitted(
        *need, incoming_condition_values=CONTEXT
    )
    return found is PermissionResult.PERMITTED


def leave_out(policy: dict[str, Any], sid: str) -> dict[str, Any]:
    """Return a policy without one of its statements."""
    shorter = copy.deepcopy(policy)
    shorter["Statement"] = [item for item in policy["Statement"] if item["Sid"] != sid]
    assert len(shorter["Statement"]) == len(policy["Statement"]) - 1
    return shorter
