"""Deployment guardrails of endpoints, by unmodified boto3: traffic moves in steps, and back."""

from __future__ import annotations

import os
import signal
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from botocore.exceptions import ClientError

from tests.contract.aws.client import LocalAws, refuse
from tests.contract.aws.test_endpoints import (
    delete_endpoint,
    invoke,
    make_config,
    make_model,
    wait_until_settled,
)
from tests.support import wait_for, wait_until

HALF = {"Type": "CAPACITY_PERCENT", "Value": 50}


def make_canary(wait_s: int = 0, termination_s: int = 0, **members: Any) -> dict[str, Any]:
    routing = {"Type": "CANARY", "CanarySize": HALF, "WaitIntervalInSeconds": wait_s}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": termination_s}
    return {"BlueGreenUpdatePolicy": policy, **members}


def wait_for_stage(aws: LocalAws, name: str, message: str) -> dict[str, Any]:
    """Wait until a deployment waits; return its entry in DescribeEndpoint."""

    def read() -> dict[str, Any]:
        described = aws.sagemaker.describe_endpoint(EndpointName=name)
        pending: dict[str, Any] = described.get("PendingDeploymentSummary", {})
        return pending

    def is_there(pending: dict[str, Any]) -> bool:
        for variant in pending.get("ProductionVariants", ()):
            (status,) = variant["VariantStatus"]
            return status["Status"] == "Baking" and message in status["StatusMessage"]
        return False

    found: dict[str, Any] = wait_for(read, is_there)
    return found


class Clients:
    """Some clients that ask all the time, and whose requests must all be answered."""

    def __init__(self, aws: LocalAws, name: str) -> None:
        self.models: Counter[str] = Counter()
        self.errors: list[str] = []
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask, args=(aws, name), daemon=True) for _ in range(3)
        ]

    def __enter__(self) -> Self:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ask no more."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, aws: LocalAws, name: str) -> None:
        while not self._ended.wait(0.01):
            try:
                model = invoke(aws, name)["model"]["name"]
            except ClientError as error:
                with self._lock:
                    self.errors.append(str(error))
            else:
                with self._lock:
                    self.models[model] += 1

    def wait_for_model(self, name: str) -> None:
        """Wait until a model has answered some more requests."""
        before = self.models[name]
        wait_until(lambda: self.models[name] > before + 2)


@pytest.fixture(scope="module", autouse=True)
def configs(aws: LocalAws) -> None:
    """Make configurations `blue` and `green` of one instance, `blue-2` and `green-2` of two."""
    for name in ("blue", "green"):
        make_model(aws, name)
        for suffix, count in (("", 1), ("-2", 2)):
            variant = {"VariantName": "one", "ModelName": name, "InitialInstanceCount": count}
            make_config(aws, name + suffix, variant)


@pytest.fixture
def alarm(aws: LocalAws) -> Iterator[str]:
    """Make an alarm on requests that the new fleet refuses."""
    put_alarm(aws, "refused", "green")
    yield "refused"
    aws.client("cloudwatch").delete_alarms(AlarmNames=["refused"])


def put_alarm(aws: LocalAws, name: str, config: str) -> None:
    dimensions = {"EndpointName": "guarded", "VariantName": "one", "EndpointConfigName": config}
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName="Invocation4XXErrors",
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
    )


@pytest.fixture
def guarded(aws: LocalAws) -> Iterator[str]:
    aws.sagemaker.create_endpoint(EndpointName="guarded", EndpointConfigName="blue")
    wait_until_settled(aws, "guarded")
    yield "guarded"
    delete_endpoint(aws, "guarded")


def test_an_alarm_that_is_set_rolls_a_canary_back_and_a_retained_one_succeeds(
    aws: LocalAws, guarded: str, alarm: str
) -> None:
    watched = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]}}
    deployment = make_canary(3600, **watched)
    update = {"EndpointName": guarded, "EndpointConfigName": "green"}
    with Clients(aws, guarded) as clients:
        aws.sagemaker.update_endpoint(**update, DeploymentConfig=deployment)
        pending = wait_for_stage(aws, guarded, "3600 seconds (WaitIntervalInSeconds)")
        (variant,) = pending["ProductionVariants"]
        assert pending["EndpointConfigName"] == "green"
        assert (variant["CurrentInstanceCount"], variant["InstanceType"]) == (1, "ml.m5.large")
        assert variant["DeployedImages"][0]["SpecifiedImage"] == aws.image
        with urllib.request.urlopen(f"{aws.url}/console/endpoint/{guarded}") as page:
            text = page.read().decode()
        assert "Deployment of green" in text
        assert '<td class="number" data-label="Instances">1 of ' in text
        for model in ("blue", "green"):
            clients.wait_for_model(model)
        for operation, arguments in (
            (aws.sagemaker.update_endpoint, update),
            (aws.sagemaker.delete_endpoint, {"EndpointName": guarded}),
        ):
            code, message = refuse(operation, **arguments)
            assert (code, "in-progress endpoint" in message) == ("ValidationException", True)

        aws.client("cloudwatch").set_alarm_state(
            AlarmName=alarm, StateValue="ALARM", StateReason="a test"
        )
        described = wait_until_settled(aws, guarded)
        assert described["EndpointStatus"] == "InService"
        assert described["EndpointConfigName"] == "blue"
        assert described["FailureReason"].endswith(f"are in ALARM state: {alarm}.")
        assert described["LastDeploymentConfig"] == deployment
        before = clients.models["green"]
        clients.wait_for_model("blue")
        assert clients.models["green"] <= before + 3  # what was under way
    assert clients.errors == []

    # The same again, with an alarm that is in order and without waits.
    aws.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="a test")
    aws.sagemaker.update_endpoint(
        EndpointName=guarded,
        EndpointConfigName="green",
        DeploymentConfig=make_canary(0, **watched),
    )
    described = wait_until_settled(aws, guarded)
    assert (described["EndpointConfigName"], "FailureReason" in described) == ("green", False)
    aws.sagemaker.update_endpoint(
        EndpointName=guarded, EndpointConfigName="blue", RetainDeploymentConfig=True
    )
    assert wait_until_settled(aws, guarded)["EndpointConfigName"] == "blue"
    assert invoke(aws, guarded)["model"] == {"name": "blue"}


def test_errors_of_the_new_fleet_trip_its_alarm(aws: LocalAws, guarded: str, alarm: str) -> None:
    with pytest.raises(ClientError):
        invoke(aws, guarded, b"refuse")  # the old fleet's, which the alarm does not see
    aws.sagemaker.update_endpoint(
        EndpointName=guarded,
        EndpointConfigName="green",
        DeploymentConfig={
            **make_canary(0, 3600),
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]},
        },
    )
    wait_for_stage(aws, guarded, "3600 seconds (TerminationWaitInSeconds)")
    assert invoke(aws, guarded)["model"] == {"name": "green"}
    with pytest.raises(ClientError):
        invoke(aws, guarded, b"refuse")
    described = wait_until_settled(aws, guarded)
    assert described["EndpointConfigName"] == "blue"
    assert f"ALARM state: {alarm}" in described["FailureReason"]
    assert invoke(aws, guarded)["model"] == {"name": "blue"}
    (state,) = aws.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    assert state["StateValue"] == "ALARM"


def test_linear_and_rolling_updates_lose_no_request(aws: LocalAws) -> None:
    aws.sagemaker.create_endpoint(EndpointName="rolled", EndpointConfigName="blue-2")
    wait_until_settled(aws, "rolled")
    rolling = {"RollingUpdatePolicy": {"MaximumBatchSize": HALF, "WaitIntervalInSeconds": 0}}
    linear = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {
                "Type": "LINEAR",
                "LinearStepSize": {"Type": "INSTANCE_COUNT", "Value": 1},
                "WaitIntervalInSeconds": 0,
            }
        }
    }
    with Clients(aws, "rolled") as clients:
        for config, deployment in (("green-2", rolling), ("blue-2", linear)):
            aws.sagemaker.update_endpoint(
                EndpointName="rolled", EndpointConfigName=config, DeploymentConfig=deployment
            )
            described = wait_until_settled(aws, "rolled")
            assert (described["EndpointConfigName"], "FailureReason" in described) == (
                config,
                False,
            )
            (variant,) = described["ProductionVariants"]
            assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (2, 2)
            clients.wait_for_model(config.removesuffix("-2"))
    assert clients.errors == []
    delete_endpoint(aws, "rolled")


def test_a_new_fleet_that_does_not_start_leaves_the_old_one(aws: LocalAws, guarded: str) -> None:
    make_model(aws, "unhealthy", NEVER_HEALTHY="1")
    make_config(aws, "unhealthy", {"VariantName": "one", "ModelName": "unhealthy"})
    aws.sagemaker.update_endpoint(
        EndpointName=guarded, EndpointConfigName="unhealthy", DeploymentConfig=make_canary(60)
    )
    described = wait_until_settled(aws, guarded)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "blue")
    assert "before it answered a ping" in described["FailureReason"]


def test_what_cannot_be_deployed_so_is_refused(aws: LocalAws, guarded: str) -> None:
    make_config(aws, "other", {"VariantName": "two", "ModelName": "green"})
    one = {"Type": "INSTANCE_COUNT", "Value": 1}
    for config, deployment, reason in (
        ("other", make_canary(), "the same variant names, one; found two"),
        (
            "green",
            make_canary(AutoRollbackConfiguration={"Alarms": [{"AlarmName": "none"}]}),
            "alarm 'none' does not exist",
        ),
        (
            "green",
            {"RollingUpdatePolicy": {"MaximumBatchSize": one, "WaitIntervalInSeconds": 0}},
            "found 1 of the 1 of variant one",
        ),
    ):
        code, message = refuse(
            aws.sagemaker.update_endpoint,
            EndpointName=guarded,
            EndpointConfigName=config,
            DeploymentConfig=deployment,
        )
        assert (code, reason in message) == ("ValidationException", True), message
    assert aws.sagemaker.describe_endpoint(EndpointName=guarded)["EndpointStatus"] == "InService"


def test_weights_that_are_all_0_need_a_target(aws: LocalAws) -> None:
    variants = [
        {"VariantName": name, "ModelName": "blue", "InitialVariantWeight": 0} for name in "ab"
    ]
    make_config(aws, "weightless", *variants)
    aws.sagemaker.create_endpoint(EndpointName="weightless", EndpointConfigName="weightless")
    wait_until_settled(aws, "weightless")
    code, message = refuse(aws.runtime.invoke_endpoint, EndpointName="weightless", Body=b"x")
    assert (code, "weights of all variants are 0" in message) == ("ValidationError", True)
    assert invoke(aws, "weightless", TargetVariant="b")["variant"] == "b"
    delete_endpoint(aws, "weightless")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "down"])
def test_an_endpoint_comes_back_on_the_version_that_had_all_traffic(
    tmp_path: Path, how: str
) -> None:
    with LocalAws(tmp_path / "state").running() as aws:
        for name in ("blue", "green"):
            make_model(aws, name)
            make_config(aws, name, {"VariantName": "one", "ModelName": name})
        aws.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="blue")
        wait_until_settled(aws, "e")
        for wait_s, termination_s, stage, config in (
            (3600, 0, "canary capacity", "blue"),
            (0, 3600, "full capacity", "green"),
        ):
            aws.sagemaker.update_endpoint(
                EndpointName="e",
                EndpointConfigName="green",
                DeploymentConfig=make_canary(wait_s, termination_s),
            )
            wait_for_stage(aws, "e", stage)
            if how == "kill":
                os.kill(aws.pid, signal.SIGKILL)
            else:
                aws.run("down")
            aws.up()
            described = wait_until_settled(aws, "e")
            assert described["EndpointConfigName"] == config
            assert ("FailureReason" in described) == (config == "blue")
            assert invoke(aws, "e")["model"] == {"name": config}
