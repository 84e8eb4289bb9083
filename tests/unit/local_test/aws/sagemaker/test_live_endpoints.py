"""Deployments that a local AWS leaves behind, and what the next one makes of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from container.errors import UserError
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT
from local_test.aws.sagemaker import live_endpoints
from local_test.endpoints.rollouts.guard import RollbackError, RollbackFailedError
from local_test.requests.endpoint_requests import EndpointRequests


def make_requests(config: str) -> dict[str, Any]:
    variants = [{"VariantName": "a", "ModelName": "m", "InitialInstanceCount": 1}]
    return {
        "config": {"EndpointConfigName": config, "ProductionVariants": variants},
        "models": {"m": {"ModelName": "m", "PrimaryContainer": {"Image": "i"}}},
    }


class PlayedEndpoint:
    """Takes what it is to run."""

    error: Exception | None = None

    def __init__(self, requests: Any, *_: Any) -> None:
        self.configs = [requests.config["EndpointConfigName"]]
        self.status = "InService"
        self.terms: Any = None
        self.deployment = SimpleNamespace()
        self.links = SimpleNamespace()

    def start(self) -> None:
        """Start at once."""

    def update(self, requests: Any, terms: Any) -> None:
        """Update at once, or fail."""
        self.terms = terms
        if self.error is not None:
            raise self.error
        self.configs.append(requests.config["EndpointConfigName"])


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_endpoints, "Endpoint", PlayedEndpoint)
    monkeypatch.setattr(PlayedEndpoint, "error", None)


def put(account: Account, **members: Any) -> None:
    record = {
        "EndpointName": "e",
        "EndpointArn": "arn",
        "EndpointStatus": "Updating",
        "EndpointConfigName": "old",
        "_requests": make_requests("old"),
        "_next_requests": make_requests("new"),
        **members,
    }
    account.store.insert(ENDPOINT, "e", record)


def come_back(account: Account) -> tuple[list[str], Any]:
    """Start the endpoint as the next local AWS does; return what it ran, and its record."""
    live_endpoints.recover(account)
    assert account.wait_for_threads(30)
    live = live_endpoints.find_live(account, "e")
    assert live is not None
    return cast("Any", live).configs, account.store.find(ENDPOINT, "e")


DEPLOYMENT = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "x"}]}}


def test_an_update_without_guards_is_made_again(account: Account) -> None:
    put(account)
    configs, record = come_back(account)
    assert configs == ["old", "new"]
    assert (record["EndpointStatus"], record["EndpointConfigName"]) == ("InService", "new")
    assert not [name for name in ("_next_requests", "_shifted", "_deployment") if name in record]


def test_a_deployment_whose_traffic_was_shared_is_rolled_back(account: Account) -> None:
    put(account, _deployment=DEPLOYMENT)
    configs, record = come_back(account)
    assert configs == ["old"]
    assert (record["EndpointStatus"], record["EndpointConfigName"]) == ("InService", "old")
    assert "ended before endpoint configuration new had all traffic" in record["FailureReason"]
    assert not [name for name in ("_next_requests", "_shifted", "_deployment") if name in record]


@pytest.mark.parametrize("guards", [{}, {"_deployment": DEPLOYMENT}])
def test_a_deployment_that_had_shifted_all_traffic_is_done(
    account: Account, guards: dict[str, Any]
) -> None:
    put(account, _shifted=True, **guards)
    configs, record = come_back(account)
    assert configs == ["new"]
    assert (record["EndpointStatus"], record["EndpointConfigName"]) == ("InService", "new")
    assert record["_requests"] == make_requests("new")
    assert not [
        name
        for name in ("_next_requests", "_shifted", "_deployment", "FailureReason")
        if name in record
    ]


def change(account: Account, status: str = "InService") -> tuple[Any, Any]:
    """Make the update of a running endpoint."""
    endpoint = PlayedEndpoint(SimpleNamespace(config={"EndpointConfigName": "old"}))
    endpoint.status = status
    account.live[ENDPOINT.name, "e"] = endpoint
    live_endpoints.start_change(account, "e")
    assert account.wait_for_threads(30)
    return endpoint, account.store.find(ENDPOINT, "e")


def test_alarms_and_the_shift_reach_the_account(account: Account) -> None:
    put(account, _deployment=DEPLOYMENT)
    cast("Any", account.alarms).tripped.append("x")
    endpoint, _ = change(account)
    assert endpoint.terms.config == DEPLOYMENT
    assert endpoint.terms.find_tripped(["x", "y"]) == ["x"]
    for is_shifted in (True, False):
        endpoint.terms.note_shifted(is_shifted)
        record = account.store.find(ENDPOINT, "e")
        assert record is not None
        assert record.get("_shifted", False) is is_shifted


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (RollbackError("an alarm"), "InService", "an alarm"),
        (RollbackFailedError("no way back"), "UpdateRollbackFailed", "no way back"),
        (UserError("it is broken"), "InService", "it is broken. Please check CloudWatch logs"),
    ],
)
def test_a_deployment_that_fails_says_why(
    account: Account, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, reason: str
) -> None:
    monkeypatch.setattr(PlayedEndpoint, "error", error)
    put(account, _deployment=DEPLOYMENT)
    _, record = change(account, status)
    assert (record["EndpointStatus"], record["EndpointConfigName"]) == (status, "old")
    assert record["FailureReason"].startswith(reason)
    assert "_next_requests" not in record


def test_a_local_aws_that_is_stopping_leaves_the_deployment_to_the_next(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlayedEndpoint, "error", UserError("the server ended"))
    put(account, _deployment=DEPLOYMENT)
    account.is_closing.set()
    _, record = change(account)
    assert (record["EndpointStatus"], record["_deployment"]) == ("Updating", DEPLOYMENT)
    assert "FailureReason" not in record


def test_an_endpoint_without_an_instance_comes_back_and_is_updated() -> None:
    requests: Any = make_requests("old")
    requests["models"]["m"]["ExecutionRoleArn"] = "arn:aws:iam::000000000000:role/x"
    (variant,) = requests["config"]["ProductionVariants"]
    variant["InitialInstanceCount"] = 0
    with pytest.raises(UserError, match="InitialInstanceCount"):  # it answers at once, or never
        live_endpoints._make_requests("e", requests).validate()  # noqa: SLF001 - as below
    requests["config"]["AsyncInferenceConfig"] = {"OutputConfig": {"S3OutputPath": "s3://b/out"}}
    made = live_endpoints._make_requests("e", requests)  # noqa: SLF001 - no process starts
    made.validate()
    assert made.config["ProductionVariants"] == [variant]
    with pytest.raises(UserError, match="InitialInstanceCount"):
        EndpointRequests(made.models, made.config, made.endpoint).validate()
