"""Application Auto Scaling for endpoint variants: targets, target tracking, and the scaler that acts on them.

The scaler looks at the last minute every few seconds, so that a try-out need not wait for the
service's alarms of three and fifteen minutes; cool-downs are those of the policy.
"""

from __future__ import annotations

import math
import re
import sys
import time
import traceback
import uuid
from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.resources import ENDPOINT
from local_test.aws.account.state import Record
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.sagemaker import endpoint_operations

_TARGET: Final = "scalable-target"
_POLICY: Final = "scaling-policy"
_ACTIVITY: Final = "scaling-activity"
_DIMENSION: Final = "sagemaker:variant:DesiredInstanceCount"
_METRIC: Final = "SageMakerVariantInvocationsPerInstance"
_RESOURCE: Final = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
_COOLDOWN_S: Final = 300  # the service's default
_WINDOW_S: Final = 60
_SLACK: Final = 0.9  # instances are taken away only if the rest would be busy less than this
LOOK_S: Final = 2.0


def register_target(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer RegisterScalableTarget; what a second request leaves out stays."""
    name, variant = _parse_resource(request)
    _find_variant(account, name, variant)
    old = account.store.find(_TARGET, request["ResourceId"]) or {}
    merged: Record = {
        **old,
        **{key: value for key, value in request.items() if key not in ("Tags", "RoleARN")},
    }
    if "MinCapacity" not in merged or "MaxCapacity" not in merged:
        reject("MinCapacity and MaxCapacity are required to register a scalable target.")
    if merged["MinCapacity"] > merged["MaxCapacity"]:
        reject("Maximum capacity cannot be less than minimum capacity")
    if merged["MinCapacity"] < 1:
        reject("MinCapacity must be at least 1 for an instance-backed variant")
    role = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    arn = f"arn:aws:application-autoscaling:{account.region}:{account.number}:scalable-target/{uuid.uuid4().hex[:12]}"
    merged.setdefault("RoleARN", f"arn:aws:iam::{account.number}:role/{role}")
    merged.setdefault("ScalableTargetARN", arn)
    merged.setdefault("CreationTime", time.time())
    if not account.store.insert(_TARGET, request["ResourceId"], merged):
        account.store.update(_TARGET, request["ResourceId"], **merged)
    return {"ScalableTargetARN": merged["ScalableTargetARN"]}


def _parse_resource(request: Mapping[str, Any]) -> tuple[str, str]:
    match = _RESOURCE.fullmatch(request["ResourceId"])
    if (
        request["ServiceNamespace"] != "sagemaker"
        or request["ScalableDimension"] != _DIMENSION
        or match is None
    ):
        reject(
            f"Unsupported service namespace, resource type or scalable dimension; possible here is sagemaker, "
            f"endpoint/NAME/variant/NAME, {_DIMENSION}"
        )
    return match.group(1), match.group(2)


def _find_variant(account: Account, name: str, variant: str) -> Record:
    record = account.store.find(ENDPOINT.name, name)
    variants = record["_requests"]["config"]["ProductionVariants"] if record is not None else []
    found = [item for item in variants if item["VariantName"] == variant]
    if record is None or not found:
        reject(f"Endpoint {name} with variant {variant} does not exist")
    return record


def _find_target(account: Account, request: Mapping[str, Any]) -> Record:
    _parse_resource(request)
    found = account.store.find(_TARGET, request["ResourceId"])
    if found is None:
        message = (
            f"No scalable target found for service namespace: sagemaker, resource ID: {request['ResourceId']}, "
            f"scalable dimension: {_DIMENSION}"
        )
        raise AwsError("ObjectNotFoundException", message)
    return found


def deregister_target(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DeregisterScalableTarget; its policies go with it."""
    _find_target(account, request)
    account.store.delete(_TARGET, request["ResourceId"])
    for policy in account.store.list(_POLICY):
        if policy["ResourceId"] == request["ResourceId"]:
            account.store.delete(_POLICY, f"{policy['ResourceId']} {policy['PolicyName']}")
    return {}


def put_policy(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer PutScalingPolicy; target tracking of invocations per instance is what is emulated."""
    _find_target(account, request)
    tracking = request.get("TargetTrackingScalingPolicyConfiguration")
    if request.get("PolicyType") != "TargetTrackingScaling" or tracking is None:
        reject("The local AWS emulates PolicyType TargetTrackingScaling with its configuration.")
    metric = tracking.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
    if metric != _METRIC:
        reject(
            f"The local AWS emulates the predefined metric {_METRIC}; found {metric or 'a customized metric'}."
        )
    if tracking["TargetValue"] <= 0:
        reject("TargetValue must be greater than 0")
    name = f"{request['ResourceId']} {request['PolicyName']}"
    prefix = f"arn:aws:autoscaling:{account.region}:{account.number}:scalingPolicy"
    arn = f"{prefix}:{uuid.uuid4()}:resource/sagemaker/{request['ResourceId']}:policyName/{request['PolicyName']}"
    record = {**request, "PolicyARN": arn, "CreationTime": time.time(), "Alarms": []}
    if not account.store.insert(_POLICY, name, record):
        changes = {"TargetTrackingScalingPolicyConfiguration": tracking}
        record = account.store.update(_POLICY, name, **changes)
    return {"PolicyARN": record["PolicyARN"], "Alarms": []}


def delete_policy(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DeleteScalingPolicy."""
    name = f"{request['ResourceId']} {request['PolicyName']}"
    if account.store.find(_POLICY, name) is None:
        message = f"No scaling policy found for resource ID: {request['ResourceId']}, name: {request['PolicyName']}"
        raise AwsError("ObjectNotFoundException", message)
    account.store.delete(_POLICY, name)
    return {}


_LISTS: Final = {
    "DescribeScalableTargets": (_TARGET, "ScalableTargets"),
    "DescribeScalingPolicies": (_POLICY, "ScalingPolicies"),
    "DescribeScalingActivities": (_ACTIVITY, "ScalingActivities"),
}


def describe(account: Account, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer the Describe operations; the newest activity comes first."""
    kind, member = _LISTS[operation]
    records = [
        record
        for record in account.store.list(kind)
        if record["ServiceNamespace"] == request["ServiceNamespace"]
        and request.get("ResourceId", record["ResourceId"]) == record["ResourceId"]
        and record["ResourceId"] in request.get("ResourceIds", [record["ResourceId"]])
        and record.get("PolicyName") in request.get("PolicyNames", [record.get("PolicyName")])
    ]
    if kind == _ACTIVITY:
        records.reverse()
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        raise AwsError("InvalidNextTokenException", "The next token is invalid")
    start, limit = int(token), request.get("MaxResults", 50)
    shape = messages.output_shape(operation, "application-autoscaling").members[member].member
    more = {"NextToken": str(start + limit)} if start + limit < len(records) else {}
    return {
        member: [messages.pick(shape, record) for record in records[start : start + limit]],
        **more,
    }


def decide(
    current: int, per_minute: float, policy: Mapping[str, Any], least: int, most: int
) -> int:
    """Give the number of instances for a load, all requests of the last minute together."""
    target: float = policy["TargetValue"]
    needed = math.ceil(per_minute / target)
    if per_minute > target * current:
        return min(most, max(least, needed))
    wanted = max(least, math.ceil(per_minute / (target * _SLACK)))
    if wanted < current and not policy.get("DisableScaleIn", False):
        return min(most, wanted)
    return min(most, max(least, current))


def run(account: Account) -> None:
    """Scale until the local AWS goes down."""
    while not account.is_closing.wait(LOOK_S):
        for policy in account.store.list(_POLICY):
            try:
                _scale(account, policy)
            except AwsError:
                continue  # the endpoint is being changed; the next look comes soon
            except Exception:  # noqa: BLE001 - a bug of ours stops one policy's turn, not the scaler
                traceback.print_exc(file=sys.stderr)


def _scale(account: Account, policy: Record) -> None:
    target = account.store.find(_TARGET, policy["ResourceId"])
    name, variant = _parse_resource(policy)
    if target is None or account.store.find(ENDPOINT.name, name) is None:
        return
    record = _find_variant(account, name, variant)
    if record["EndpointStatus"] != "InService":
        return
    variants = {
        item["VariantName"]: item for item in record["_requests"]["config"]["ProductionVariants"]
    }
    current = variants[variant].get("InitialInstanceCount", 1)
    load = endpoint_operations.meter_of(account, name).count_recent(variant, _WINDOW_S)
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    wanted = decide(current, load, tracking, target["MinCapacity"], target["MaxCapacity"])
    direction = "Out" if wanted > current else "In"
    suspended = target.get("SuspendedState", {}).get(f"DynamicScaling{direction}Suspended", False)
    cooldown = tracking.get(f"Scale{direction}Cooldown", _COOLDOWN_S)
    is_cool = time.time() - target.get("_scaled", 0) >= cooldown
    if wanted == current or suspended or not is_cool:
        return
    wish = {"VariantName": variant, "DesiredInstanceCount": wanted}
    endpoint_operations.update_weights_and_capacities(
        account, {"EndpointName": name, "DesiredWeightsAndCapacities": [wish]}
    )
    account.store.update(_TARGET, policy["ResourceId"], _scaled=time.time())
    activity = str(uuid.uuid4())
    account.store.insert(
        *(_ACTIVITY, activity),
        {
            "ActivityId": activity,
            "ServiceNamespace": "sagemaker",
            "ResourceId": policy["ResourceId"],
            "ScalableDimension": _DIMENSION,
            "Description": f"Setting desired instance count to {wanted}.",
            "Cause": f"{load} invocations in the last minute on {current} instances, policy {policy['PolicyName']}",
            "StartTime": time.time(),
            "StatusCode": "Successful",
        },
    )
