"""What is refused of a DeploymentConfig."""

from __future__ import annotations

from typing import Any

import pytest

from container.errors import UserError
from local_test.requests import validation
from local_test.requests.deployments import deployment_rules
from tests.unit.local_test.requests.deployments.test_plan import config, instances, percent, route


def roll(size: dict[str, Any], wait_s: int = 0, **members: Any) -> dict[str, Any]:
    policy = {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait_s, **members}
    return {"RollingUpdatePolicy": policy}


VALID = [
    {},
    route("ALL_AT_ONCE"),
    route("CANARY", CanarySize=percent(50)),
    route("CANARY", CanarySize=instances(1)),
    route("LINEAR", LinearStepSize=percent(10)),
    roll(percent(5)),
    roll(instances(1), RollbackMaximumBatchSize=percent(100)),
]


@pytest.mark.parametrize("deployment", VALID)
@pytest.mark.parametrize("operation", ["CreateEndpoint", "UpdateEndpoint"])
def test_every_policy_is_taken(operation: str, deployment: dict[str, Any]) -> None:
    request = {"EndpointName": "e", "EndpointConfigName": "c", "DeploymentConfig": deployment}
    assert validation.validate(operation, request).notes == ()
    assert deployment_rules.find_conflicts(deployment, config(a=2), config(a=2)) == []


@pytest.mark.parametrize(
    ("deployment", "reason"),
    [
        (route("CANARY"), "CanarySize: is required for CANARY"),
        (route("LINEAR"), "LinearStepSize: is required for LINEAR"),
        (route("ALL_AT_ONCE", CanarySize=percent(10)), "CanarySize: is for CANARY only"),
        (
            route("CANARY", CanarySize=percent(10), LinearStepSize=percent(10)),
            "LinearStepSize: is for LINEAR only, found CANARY",
        ),
        (route("CANARY", CanarySize=percent(51)), "expected 1 to 50 percent .* found 51"),
        (route("CANARY", CanarySize=percent(0)), "expected at least 1, found 0"),
        (route("LINEAR", LinearStepSize=percent(9)), "expected 10 to 50 percent .* found 9"),
        (route("LINEAR", LinearStepSize=percent(51)), "expected 10 to 50 percent .* found 51"),
        (roll(percent(4)), "expected 5 to 50 percent .* found 4"),
        (roll(percent(51)), "expected 5 to 50 percent .* found 51"),
        (
            roll(percent(5), RollbackMaximumBatchSize=percent(101)),
            "RollbackMaximumBatchSize: expected 1 to 100 percent",
        ),
        (roll(percent(5), 3601), "expected at most 3600, found 3601"),
        (
            roll(percent(5), MaximumExecutionTimeoutInSeconds=599),
            "expected at least 600, found 599",
        ),
        ({**route("ALL_AT_ONCE"), **roll(percent(5))}, "only one update policy"),
        ({"AutoRollbackConfiguration": {"Alarms": []}}, "expected at least 1 items"),
    ],
)
@pytest.mark.parametrize("operation", ["CreateEndpoint", "UpdateEndpoint"])
def test_what_is_wrong_by_itself_is_refused(
    operation: str, deployment: dict[str, Any], reason: str
) -> None:
    request = {"EndpointName": "e", "EndpointConfigName": "c", "DeploymentConfig": deployment}
    with pytest.raises(UserError, match=reason):
        validation.validate(operation, request)


def test_a_configuration_is_given_or_retained() -> None:
    request = {"DeploymentConfig": route("ALL_AT_ONCE"), "RetainDeploymentConfig": True}
    (fault,) = deployment_rules.find_faults(request)
    assert "leave out it or DeploymentConfig" in fault


SERVERLESS = {
    "EndpointConfigName": "s",
    "ProductionVariants": [{"VariantName": "a", "ServerlessConfig": {"MaxConcurrency": 1}}],
}
ALARMS = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "x"}]}}
CANARY = route("CANARY", CanarySize=percent(10))


@pytest.mark.parametrize(
    ("deployment", "old", "new", "reason"),
    [
        (CANARY, config(a=1), config(b=1), "same variant names, a; found b"),
        (CANARY, config(a=1, b=1), config(a=1), "same variant names, a, b; found a"),
        (CANARY, config(a=1), SERVERLESS, "variant a is serverless"),
        (ALARMS, SERVERLESS, config(a=1), "variant a is serverless"),
        (CANARY, config(a=1), {**config(a=1), "AsyncInferenceConfig": {}}, "becomes asynchronous"),
        (roll(percent(50)), config(a=1, b=1), config(a=1, b=1), "has several variants"),
        (
            roll(percent(50)),
            {**config(a=1), "ShadowProductionVariants": [{}]},
            config(a=1),
            "has several variants",
        ),
        (
            route("CANARY", CanarySize=instances(1)),
            config(a=1),
            config(a=1),
            "found 1 of the 1 of variant a",
        ),
        (
            route("CANARY", CanarySize=instances(2)),
            config(a=4),
            config(a=3),
            "expected 1 to 50 percent of the instances, found 2 of the 3",
        ),
        (
            route("LINEAR", LinearStepSize=instances(1)),
            config(a=11),
            config(a=11),
            "expected 10 to 50 percent of the instances, found 1 of the 11",
        ),
        (roll(instances(1)), config(a=1), config(a=21), "expected 5 to 50 percent"),
        (
            roll(percent(10), 60, MaximumExecutionTimeoutInSeconds=600),
            config(a=10),
            config(a=10),
            "larger than all waits, 600 s in 10 steps, found 600 s",
        ),
    ],
)
def test_what_does_not_fit_the_endpoint_is_refused(
    deployment: dict[str, Any], old: dict[str, Any], new: dict[str, Any], reason: str
) -> None:
    faults = deployment_rules.find_conflicts(deployment, old, new)
    assert any(reason in fault for fault in faults), faults


@pytest.mark.parametrize("deployment", [CANARY, roll(instances(1)), roll(percent(50))])
def test_a_fleet_without_an_instance_has_no_steps(deployment: dict[str, Any]) -> None:
    none = {**config(a=0), "AsyncInferenceConfig": {}}
    assert deployment_rules.find_conflicts(deployment, none, none) == []


def test_all_at_once_takes_other_variants() -> None:
    assert deployment_rules.find_conflicts(route("ALL_AT_ONCE"), config(a=1), config(b=2)) == []
    assert deployment_rules.find_conflicts({}, config(a=1), SERVERLESS) == []
