"""Application Auto Scaling for what hosts models: targets, their policies, the scaler.

The scaler looks every few seconds: for target tracking at the last minute, where the service waits
for alarms of three and fifteen minutes; for step scaling at the alarms that start the policy.
Cool-downs are those of the policy.
"""

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
from local_test.aws.sagemaker.hosting import scaling_policies
from local_test.aws.sagemaker.hosting.scalable import Scalable, parse
from local_test.aws.sagemaker.hosting.scaling_policies import STEPS, TRACKING
from local_test.data.disk import DiskError

_ROLE: Final = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
_WINDOW_S: Final = 60
LOOK_S: Final = 2.0
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
    if target["MinCapacity"] < scalable.find_least(account):
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
    """Answer PutScalingPolicy: target tracking and step scaling, as far as they are emulated."""
    _check_target(account, request)
    member = scaling_policies.check(request, parse(request).find_metric(account))
    resource = request["ResourceId"]
    arn = (
        f"arn:aws:autoscaling:{account.region}:{account.number}:scalingPolicy:{uuid.uuid4()}"
        f":resource/sagemaker/{resource}:policyName/{request['PolicyName']}"
    )
    record = {**request, "PolicyARN": arn, "CreationTime": time.time(), "Alarms": []}
    name = _name_policy(request)
    if not account.store.insert(SCALING_POLICY, name, record):
        known = account.store.find(SCALING_POLICY, name) or {}
        if member not in known:
            reject(f"Policy {request['PolicyName']} has another PolicyType; delete it first.")
        changes = {member: request[member]}
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
    wanted, cause = (_step if STEPS in policy else _track)(account, policy, scalable, current)
    wanted = min(target["MaxCapacity"], max(target["MinCapacity"], wanted))
    if not cause or wanted == current:
        return
    direction = "Out" if wanted > current else "In"
    if not may_scale(target, policy, direction):
        return
    scalable.scale(account, wanted)
    moment = {f"_scaled_{direction.lower()}": time.time()}
    account.store.update(SCALABLE_TARGET, policy["ResourceId"], **moment)
    activity_id = str(uuid.uuid4())
    activity = {
        "ActivityId": activity_id,
        "ServiceNamespace": "sagemaker",
        "ResourceId": policy["ResourceId"],
        "ScalableDimension": scalable.dimension,
        "Description": f"Setting desired {scalable.noun} count to {wanted}.",
        "Cause": cause,
        "StartTime": time.time(),
        "StatusCode": "Successful",
    }
    account.store.insert(SCALING_ACTIVITY, activity_id, activity)


def _track(
    account: Account, policy: Mapping[str, Any], scalable: Scalable, current: int
) -> tuple[int, str]:
    """Return the count that a policy wants, and why; no reason while the load is not known."""
    load = scalable.measure_load(account, _WINDOW_S)
    if load is None:
        return current, ""
    cause = (
        f"a load of {load:g} in the last minute at {scalable.noun} count {current}, "
        f"policy {policy['PolicyName']}"
    )
    return scaling_policies.track(current, load, policy[TRACKING]), cause


def _step(
    account: Account, policy: Mapping[str, Any], _: Scalable, current: int
) -> tuple[int, str]:
    """Return the largest count for the alarms that start a policy, and why."""
    excess = account.alarms.find_excess(policy["PolicyARN"])
    wanted = {
        scaling_policies.step(current, value, policy[STEPS]): name for name, value in excess.items()
    }
    if not wanted:
        return current, ""
    largest = max(wanted)
    alarm = wanted[largest]
    cause = f"monitor alarm {alarm} in state ALARM triggered policy {policy['PolicyName']}"
    return largest, cause


def may_scale(target: Mapping[str, Any], policy: Mapping[str, Any], direction: str) -> bool:
    """Return whether a policy may add (`Out`) or remove (`In`) instances now.

    Removing some does not keep a policy from adding others.
    """
    suspended = target.get("SuspendedState", {}).get(f"DynamicScaling{direction}Suspended", False)
    last_s = target.get("_scaled_out", 0.0)
    if direction == "In":
        last_s = max(last_s, target.get("_scaled_in", 0.0))
    cooldown_s = scaling_policies.find_cooldown_s(policy, direction)
    return not suspended and time.time() - last_s >= cooldown_s
