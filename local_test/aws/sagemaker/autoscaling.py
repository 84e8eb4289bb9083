"""Application Auto Scaling for what hosts models: targets, target tracking policies, the scaler.

The scaler looks at the last minute every few seconds; the service waits for alarms of three and
fifteen minutes. Cool-downs are those of the policy.
"""

import math
import sys
import time
import traceback
import uuid
from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import SCALABLE_TARGET, SCALING_ACTIVITY, SCALING_POLICY, Kind
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError, reject
from local_test.aws.protocol.paging import Pager
from local_test.aws.sagemaker.hosting.scalable import parse
from local_test.data.disk import DiskError

_ROLE: Final = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
_COOLDOWN_S: Final = 300  # the service's default
_WINDOW_S: Final = 60
_SLACK: Final = 0.9  # instances are removed only if the rest stay below this share of the target
LOOK_S: Final = 2.0
_TRACKING: Final = {"TargetTrackingScalingPolicyConfiguration", "PredefinedMetricSpecification"}
"""How a policy says what it tracks."""
DESCRIBE_OPERATIONS: Final[Mapping[str, tuple[Kind[Any], str]]] = {
    "DescribeScalableTargets": (SCALABLE_TARGET, "ScalableTargets"),
    "DescribeScalingPolicies": (SCALING_POLICY, "ScalingPolicies"),
    "DescribeScalingActivities": (SCALING_ACTIVITY, "ScalingActivities"),
}


def register_target(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer RegisterScalableTarget; members that a second request omits keep their values."""
    resource = request["ResourceId"]
    scalable = parse(request)
    scalable.check(account)
    given = {key: value for key, value in request.items() if key not in ("Tags", "RoleARN")}
    target = {**(account.store.find(SCALABLE_TARGET, resource) or {}), **given}
    if "MinCapacity" not in target or "MaxCapacity" not in target:
        reject("MinCapacity and MaxCapacity are required to register a scalable target.")
    if target["MinCapacity"] > target["MaxCapacity"]:
        reject("Maximum capacity cannot be less than minimum capacity")
    if target["MinCapacity"] < scalable.least:
        reject("MinCapacity must be at least 1 for an instance-backed variant")
    prefix = f"arn:aws:application-autoscaling:{account.region}:{account.number}:scalable-target"
    target.setdefault("RoleARN", f"arn:aws:iam::{account.number}:role/{_ROLE}")
    target.setdefault("ScalableTargetARN", f"{prefix}/{uuid.uuid4().hex[:12]}")
    target.setdefault("CreationTime", time.time())
    if not account.store.insert(SCALABLE_TARGET, resource, target):
        account.store.update(SCALABLE_TARGET, resource, **target)
    return {"ScalableTargetARN": target["ScalableTargetARN"]}


def _check_target(account: Account, request: Mapping[str, Any]) -> None:
    scalable = parse(request)
    if account.store.find(SCALABLE_TARGET, request["ResourceId"]) is None:
        message = (
            "No scalable target found for service namespace: sagemaker, resource ID: "
            f"{request['ResourceId']}, scalable dimension: {scalable.dimension}"
        )
        raise AwsError("ObjectNotFoundException", message)


def deregister_target(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DeregisterScalableTarget; its policies go with it."""
    _check_target(account, request)
    account.store.delete(SCALABLE_TARGET, request["ResourceId"])
    for policy in account.store.list(SCALING_POLICY):
        if policy["ResourceId"] == request["ResourceId"]:
            account.store.delete(SCALING_POLICY, _name_policy(policy))
    return {}


def _name_policy(request: Mapping[str, Any]) -> str:
    return f"{request['ResourceId']} {request['PolicyName']}"


def put_policy(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer PutScalingPolicy; only target tracking of invocations per instance is emulated."""
    _check_target(account, request)
    tracking = request.get("TargetTrackingScalingPolicyConfiguration")
    if request.get("PolicyType") != "TargetTrackingScaling" or tracking is None:
        reject("The local AWS emulates PolicyType TargetTrackingScaling with its configuration.")
    metric = tracking.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
    emulated = parse(request).metric
    if metric != emulated:
        reject(
            f"The local AWS emulates the predefined metric {emulated}; "
            f"found {metric or 'a customized metric'}."
        )
    others = [name for name in request if name.endswith("PolicyConfiguration")]
    others += [name for name in tracking if name.endswith("MetricSpecification")]
    others += tracking["PredefinedMetricSpecification"].keys() - {"PredefinedMetricType"}
    if extra := sorted(set(others) - _TRACKING):
        reject(f"{', '.join(extra)} cannot be combined with {metric}; leave it out.")
    if tracking["TargetValue"] <= 0:
        reject("TargetValue must be greater than 0")
    resource = request["ResourceId"]
    arn = (
        f"arn:aws:autoscaling:{account.region}:{account.number}:scalingPolicy:{uuid.uuid4()}"
        f":resource/sagemaker/{resource}:policyName/{request['PolicyName']}"
    )
    record = {**request, "PolicyARN": arn, "CreationTime": time.time(), "Alarms": []}
    name = _name_policy(request)
    if not account.store.insert(SCALING_POLICY, name, record):
        changes = {"TargetTrackingScalingPolicyConfiguration": tracking}
        arn = account.store.update(SCALING_POLICY, name, **changes)["PolicyARN"]
    return {"PolicyARN": arn, "Alarms": []}


def delete_policy(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DeleteScalingPolicy."""
    parse(request)
    name = _name_policy(request)
    if account.store.find(SCALING_POLICY, name) is None:
        message = (
            f"No scaling policy found for resource ID: {request['ResourceId']}, "
            f"name: {request['PolicyName']}"
        )
        raise AwsError("ObjectNotFoundException", message)
    account.store.delete(SCALING_POLICY, name)
    return {}


def describe(account: Account, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer the Describe operations; the newest activity comes first."""
    kind, member = DESCRIBE_OPERATIONS[operation]
    if request.get("IncludeNotScaledActivities"):
        reject("IncludeNotScaledActivities is not emulated; leave it out.")
    records = [
        record
        for record in account.store.list(kind)
        if record["ServiceNamespace"] == request["ServiceNamespace"]
        and request.get("ResourceId", record["ResourceId"]) == record["ResourceId"]
        and request.get("ScalableDimension", record["ScalableDimension"])
        == record["ScalableDimension"]
        and record["ResourceId"] in request.get("ResourceIds", [record["ResourceId"]])
        and record.get("PolicyName") in request.get("PolicyNames", [record.get("PolicyName")])
    ]
    if kind is SCALING_ACTIVITY:
        records.reverse()
    pager = Pager(operation, 50, error_code="InvalidNextTokenException")
    shown, more = pager.cut(records, request)
    shape = messages.output_shape(operation, "application-autoscaling").members[member].member
    return {member: [messages.pick(shape, record) for record in shown], **more}


def decide(
    current: int, per_minute: float, policy: Mapping[str, Any], least: int, most: int
) -> int:
    """Return the number of instances for a load: all requests of the last minute."""
    target: float = policy["TargetValue"]
    if per_minute > target * current:
        wanted = math.ceil(per_minute / target)
    else:
        wanted = min(current, math.ceil(per_minute / (target * _SLACK)))
        if policy.get("DisableScaleIn", False):
            wanted = current
    return min(most, max(least, wanted))


def run(account: Account) -> None:
    """Scale until the local AWS stops."""
    while not account.is_closing.wait(LOOK_S):
        account.store.flush()
        for policy in account.store.list(SCALING_POLICY):
            try:
                _scale(account, policy)
            except (AwsError, DiskError):
                continue  # the endpoint was deleted, or is changing; the next look comes soon
            except Exception:  # noqa: BLE001 - a bug must not stop the scaler
                traceback.print_exc(file=sys.stderr)


def _scale(account: Account, policy: Mapping[str, Any]) -> None:
    target = account.store.find(SCALABLE_TARGET, policy["ResourceId"])
    scalable = parse(policy)
    current = scalable.count(account)
    if target is None or current is None:
        return
    load = scalable.count_requests(account, _WINDOW_S)
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    wanted = decide(current, load, tracking, target["MinCapacity"], target["MaxCapacity"])
    if wanted == current or not may_scale(target, tracking, "Out" if wanted > current else "In"):
        return
    scalable.scale(account, wanted)
    account.store.update(SCALABLE_TARGET, policy["ResourceId"], _scaled=time.time())
    activity_id = str(uuid.uuid4())
    activity = {
        "ActivityId": activity_id,
        "ServiceNamespace": "sagemaker",
        "ResourceId": policy["ResourceId"],
        "ScalableDimension": scalable.dimension,
        "Description": f"Setting desired {scalable.noun} count to {wanted}.",
        "Cause": (
            f"{load} invocations in the last minute at {scalable.noun} count {current}, "
            f"policy {policy['PolicyName']}"
        ),
        "StartTime": time.time(),
        "StatusCode": "Successful",
    }
    account.store.insert(SCALING_ACTIVITY, activity_id, activity)


def may_scale(target: Mapping[str, Any], tracking: Mapping[str, Any], direction: str) -> bool:
    """Return whether a policy may add (`Out`) or remove (`In`) instances now."""
    suspended = target.get("SuspendedState", {}).get(f"DynamicScaling{direction}Suspended", False)
    cooldown_s = tracking.get(f"Scale{direction}Cooldown", _COOLDOWN_S)
    return not suspended and time.time() - target.get("_scaled", 0) >= float(cooldown_s)
