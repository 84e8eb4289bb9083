"""When the scaler acts, on records; no process, no network."""

from __future__ import annotations

import time
from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT, SCALABLE_TARGET, SCALING_ACTIVITY, SCALING_POLICY
from local_test.aws.protocol.messages import AwsError
from local_test.aws.sagemaker import autoscaling
from local_test.aws.sagemaker.hosting.scalable import ScalableVariant
from tests.unit.local_test.aws.sagemaker.test_cloudwatch import PlayedEndpoint, Size

RESOURCE = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/e/variant/v",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
BACKLOG = {
    "MetricName": "ApproximateBacklogSizePerInstance",
    "Namespace": "AWS/SageMaker",
    "Dimensions": [{"Name": "EndpointName", "Value": "e"}],
    "Statistic": "Average",
}
TRACKING = {
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": 5.0,
        "CustomizedMetricSpecification": BACKLOG,
    },
}
STEPS = {
    "PolicyType": "StepScaling",
    "StepScalingPolicyConfiguration": {
        "AdjustmentType": "ChangeInCapacity",
        "MetricAggregationType": "Average",
        "Cooldown": 300,
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
    },
}


class Play:
    """An asynchronous endpoint with a target of 0 to 3 instances, at a time that a test sets."""

    def __init__(self, account: Account, monkeypatch: pytest.MonkeyPatch, instances: int) -> None:
        self.account = account
        self.now_s = 1000.0
        self.live = PlayedEndpoint()
        self.variant = {"VariantName": "v", "InitialInstanceCount": instances}
        config = {"ProductionVariants": [self.variant], "AsyncInferenceConfig": {}}
        account.live[ENDPOINT.name, "e"] = self.live
        record: Any = {
            "EndpointName": "e",
            "EndpointStatus": "InService",
            "_requests": {"config": config},
        }
        account.store.insert(ENDPOINT, "e", record)
        monkeypatch.setattr(time, "time", lambda: self.now_s)
        monkeypatch.setattr(ScalableVariant, "scale", lambda _, *given: self._scale(*given))
        autoscaling.register_target(account, {**RESOURCE, "MinCapacity": 0, "MaxCapacity": 3})

    def _scale(self, account: Account, wanted: int) -> None:
        variants = [{**self.variant, "InitialInstanceCount": wanted}]
        requests = {"config": {"ProductionVariants": variants, "AsyncInferenceConfig": {}}}
        account.store.update(ENDPOINT, "e", _requests=requests)

    def put(self, policy: dict[str, Any]) -> None:
        """Put a policy."""
        autoscaling.put_policy(self.account, {**RESOURCE, "PolicyName": "p", **policy})

    def look(self, passed_s: float = 2.0) -> int | None:
        """Let the scaler look every two seconds; return the number of instances."""
        for _ in range(int(passed_s / 2)):
            self.now_s += 2
            [policy] = self.account.store.list(SCALING_POLICY)
            autoscaling._scale(self.account, policy)  # noqa: SLF001 - without its thread
        return ScalableVariant("e", "v").count(self.account)


def test_an_idle_endpoint_scales_to_zero_after_a_minute_and_back(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play(account, monkeypatch, instances=2)
    play.put(TRACKING)
    assert play.look(58) == 2
    assert play.look(8) == 0
    play.live.size = Size(5, play.now_s)
    assert play.look(120) == 0  # not above the target
    play.live.size = Size(12, play.now_s)
    assert play.look(80) == 2  # as the mean crosses the target
    assert play.look(300) == 3
    play.live.size = Size()
    assert play.look(200) == 3  # within the cool-down
    assert play.look(120) == 0
    causes = [item["Cause"] for item in account.store.list(SCALING_ACTIVITY)]
    assert causes[0] == "a load of 0 in the last minute at instance count 2, policy p"


def test_an_alarm_adds_an_instance_and_again_after_the_cool_down(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play(account, monkeypatch, instances=0)
    play.put(STEPS)
    assert play.look() == 0
    alarms: Any = account.alarms
    alarms.excess = {"one": 0.0}
    account.store.update(SCALABLE_TARGET, RESOURCE["ResourceId"], _scaled_in=play.now_s)
    assert play.look() == 1  # removing some does not keep it from adding others
    assert play.look(298) == 1
    assert play.look() == 2
    alarms.excess = {"one": -1.0}  # no step is for this
    assert play.look(600) == 2
    cause = account.store.list(SCALING_ACTIVITY)[0]["Cause"]
    assert cause == "monitor alarm one in state ALARM triggered policy p"


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"PolicyType": "PredictiveScaling"}, "emulates PolicyType TargetTrackingScaling or Step"),
        ({**STEPS, **TRACKING}, "StepScalingPolicyConfiguration cannot be with Target"),
        (STEPS, "another PolicyType; delete it first"),
    ],
)
def test_another_policy_is_refused(
    account: Account, monkeypatch: pytest.MonkeyPatch, policy: dict[str, Any], message: str
) -> None:
    play = Play(account, monkeypatch, instances=1)
    play.put(TRACKING)
    with pytest.raises(AwsError, match=message):
        play.put(policy)


def test_only_an_asynchronous_endpoint_scales_to_zero_by_its_backlog(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play(account, monkeypatch, instances=1)
    config = {"ProductionVariants": [play.variant]}
    account.store.update(ENDPOINT, "e", _requests={"config": config, "models": {}})
    with pytest.raises(AwsError, match="MinCapacity must be at least 1"):
        autoscaling.register_target(account, {**RESOURCE, "MinCapacity": 0})
    with pytest.raises(AwsError, match=r"emulates the metric .*VariantInvocationsPerInstance"):
        play.put(TRACKING)
