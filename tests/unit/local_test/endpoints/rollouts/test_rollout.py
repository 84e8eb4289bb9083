"""Deployments step by step, with servers and time that are played."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any, cast

import pytest

from container.errors import UserError
from local_test.endpoints.deployment import Deployment
from local_test.endpoints.rollouts.guard import (
    RollbackError,
    RollbackFailedError,
    StoppedError,
    Terms,
)
from local_test.endpoints.rollouts.rollout import Rollout
from tests.unit.local_test.endpoints.played import (
    PlayedStarter,
    PlayedTime,
    make_config,
    make_deployment,
)

INSTANCES = {"Type": "INSTANCE_COUNT", "Value": 1}
ALARMS = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "x"}]}}


def shift(kind: str, **sizes: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": 100, **sizes}
    policy = {
        "TrafficRoutingConfiguration": routing,
        "TerminationWaitInSeconds": 50,
        "MaximumExecutionTimeoutInSeconds": 1000,
    }
    return {"BlueGreenUpdatePolicy": policy, **ALARMS}


def roll(**members: Any) -> dict[str, Any]:
    policy = {"MaximumBatchSize": INSTANCES, "WaitIntervalInSeconds": 100, **members}
    return {"RollingUpdatePolicy": policy, **ALARMS}


CANARY = shift("CANARY", CanarySize=INSTANCES)
LINEAR = shift("LINEAR", LinearStepSize=INSTANCES)


class Play:
    """A deployment to configuration `new`, and what is seen of it at each look at the alarms."""

    def __init__(self, config: dict[str, Any], **counts: int) -> None:
        self.deployment, self.starter = make_deployment(**(counts or {"a": 4}))
        self.time = PlayedTime()
        self.tripped: list[str] = []
        self.shifted: list[bool] = []
        self.seen: list[tuple[float, str, str, float, int, int]] = []
        self.terms = Terms(config, self._look, self.shifted.append, self.time.clock)
        self.requests: Any = SimpleNamespace(config=make_config("new", **(counts or {"a": 4})))

    def _look(self, names: Any) -> list[str]:
        assert list(names) == ["x"]
        progress = self.deployment.progress
        assert progress is not None
        stage = progress.stage
        fresh = self.deployment.pending
        counts = [
            sum(len(variant.replicas) for variant in version.variants) if version else 0
            for version in (self.deployment.current, fresh)
        ]
        seen = (self.time.now_s, stage.status, stage.message, self.share(), *counts)
        self.seen.append(cast("Any", seen))
        return self.tripped

    def share(self) -> float:
        """Return the new version's share of the requests for variant a."""
        weighed = [item for lane in self.deployment.lanes for item in lane.weigh("a")]
        found = {variant.starter.config: part for variant, part in weighed}
        return round(found.get("new", 0.0), 4)

    def run(self) -> None:
        """Make the deployment."""
        rollout = Rollout(self.deployment, self.requests, self.terms, self.time)
        rollout.end(rollout.run())

    def bakings(self) -> list[tuple[float, float]]:
        """Return when each wait began, and the new version's share in it."""
        found: dict[str, tuple[float, float]] = {}
        for time_s, status, message, share, *_ in self.seen:
            if status == "Baking":
                found.setdefault(message, (time_s, share))
        return list(found.values())

    def in_service(self) -> list[str]:
        """Return the configurations whose servers run, one entry for each."""
        started = [event[6:] for event in self.starter.events if event.startswith("start")]
        for event in self.starter.events:
            if event.startswith("stop"):
                started.remove(event[5:])
        return [name.split()[0] for name in started]


def test_a_canary_bakes_then_all_traffic_bakes_then_the_old_fleet_ends() -> None:
    play = Play(CANARY)
    play.run()
    assert play.bakings() == [(0, 0.25), (100, 1.0)]
    assert play.time.now_s == 150
    activating, baking, activating_all, baking_all = dict.fromkeys(entry[2] for entry in play.seen)
    canary = "traffic enabled on canary capacity of 1 instance(s)."
    everything = "traffic enabled on full capacity of 4 instance(s)."
    assert activating == "Activating traffic on canary capacity of 1 instance(s)."
    assert baking == f"Baking for 100 seconds (WaitIntervalInSeconds) with {canary}"
    assert activating_all == "Activating traffic on full capacity of 4 instance(s)."
    assert baking_all == f"Baking for 50 seconds (TerminationWaitInSeconds) with {everything}"
    assert play.in_service() == ["new"] * 4
    assert play.shifted == [True]
    assert play.deployment.choose_variant(None).starter.config == "new"


def test_linear_steps_raise_the_share() -> None:
    play = Play(LINEAR)
    play.run()
    assert play.bakings() == [(0, 0.25), (100, 0.5), (200, 0.75), (300, 1.0)]
    assert play.time.now_s == 350


def test_nothing_waits_without_a_policy() -> None:
    play = Play({})
    play.run()
    assert (play.time.now_s, play.in_service()) == (0, ["new"] * 4)


@pytest.mark.parametrize("config", [CANARY, LINEAR])
@pytest.mark.parametrize("when_s", [0.5, 99.5, 100.5, 149.5])
def test_an_alarm_at_any_time_gives_the_old_fleet_all_traffic(
    config: dict[str, Any], when_s: float
) -> None:
    play = Play(config)
    play.time.plans.append((when_s, lambda: play.tripped.append("x")))
    with pytest.raises(RollbackError, match=r"in ALARM state: x\.$"):
        play.run()
    assert play.in_service() == ["old"] * 4
    assert play.share() == 0
    assert play.deployment.choose_variant(None).starter.config == "old"
    assert play.shifted[-1] is False
    assert play.deployment.pending is None
    assert play.time.now_s < when_s + 2  # it does not wait for the end of the step


def test_an_alarm_that_is_tripped_already_lets_no_traffic_through() -> None:
    play = Play(CANARY)
    play.tripped.append("x")
    with pytest.raises(RollbackError):
        play.run()
    assert [share for _, _, _, share, *_ in play.seen] == [0]
    assert play.in_service() == ["old"] * 4


@pytest.mark.parametrize("config", [CANARY, LINEAR, roll()])
def test_servers_that_do_not_become_healthy_leave_the_old_fleet(config: dict[str, Any]) -> None:
    play = Play(config)
    play.starter.failing = "new"
    with pytest.raises(UserError, match="new is broken"):
        play.run()
    assert play.in_service() == ["old"] * 4
    assert play.seen == []


def test_the_time_limit_rolls_back() -> None:
    config = shift("CANARY", CanarySize=INSTANCES)
    config["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] = 120
    play = Play(config)
    with pytest.raises(RollbackError, match="MaximumExecutionTimeoutInSeconds, 120 seconds"):
        play.run()
    assert (play.in_service(), play.time.now_s) == (["old"] * 4, 121)


@pytest.mark.parametrize("config", [CANARY, LINEAR, roll()])
@pytest.mark.parametrize("when_s", [0.5, 100.5])
def test_an_endpoint_that_is_stopped_meanwhile_is_left_to_who_stops_it(
    config: dict[str, Any], when_s: float
) -> None:
    play = Play(config)
    play.time.plans.append((when_s, play.time.set))
    with pytest.raises(StoppedError):
        play.run()
    assert play.time.now_s < when_s + 2
    assert {server.name for server in play.deployment.servers()} >= {"a-1"}
    before = [*play.starter.events]
    assert not [event for event in before if event.startswith("stop new")]


def test_a_rolling_deployment_replaces_one_batch_after_the_other() -> None:
    play = Play(roll())
    play.run()
    assert play.bakings() == [(0, 0.25), (100, 0.5), (200, 0.75), (300, 1.0)]
    assert play.time.now_s == 400
    counts = [(old, new) for _, status, _, _, old, new in play.seen if status == "Baking"]
    assert list(dict.fromkeys(counts)) == [(4, 1), (3, 2), (2, 3), (1, 4)]
    assert max(old + new for old, new in counts) == 5  # never more than a batch beyond the fleet
    assert play.in_service() == ["new"] * 4
    assert play.deployment.current.variants[0].describe()["DesiredInstanceCount"] == 4


@pytest.mark.parametrize(
    ("members", "restarts"),
    [({}, 1), ({"RollbackMaximumBatchSize": INSTANCES}, 2)],
)
def test_a_rolling_deployment_is_rolled_back_in_batches(
    members: dict[str, Any], restarts: int
) -> None:
    play = Play(roll(**members))
    play.time.plans.append((250, lambda: play.tripped.append("x")))
    with pytest.raises(RollbackError):
        play.run()
    assert play.in_service() == ["old"] * 4
    assert play.share() == 0
    events = play.starter.events
    again = events[events.index("stop old a-3") :]
    assert len([event for event in again if event.startswith("start old")]) == 2
    first_stop = next(i for i, event in enumerate(again) if event.startswith("stop new"))
    begun = [event for event in again[:first_stop] if event.startswith("start old")]
    assert len(begun) == 3 - restarts


def test_a_rollback_that_fails_leaves_both_versions_in_service() -> None:
    play = Play(roll())

    def trip() -> None:
        play.tripped.append("x")
        play.starter.failing = "old"

    play.time.plans.append((150, trip))
    with pytest.raises(RollbackFailedError, match=r"both endpoint configurations .* old is broken"):
        play.run()
    assert sorted(play.in_service()) == ["new", "new", "old", "old", "old"]
    assert 0 < play.share() < 1
    assert len(play.deployment.monitored_servers()) == 5

    # The next update replaces both.
    play.starter.failing = ""
    later = SimpleNamespace(config=make_config("later", a=1))
    update = Rollout(play.deployment, cast("Any", later), Terms(), play.time)
    update.end(update.run())
    assert play.in_service() == ["later"]


def test_capacity_that_was_changed_since_is_what_a_rollback_restores() -> None:
    play = Play(roll())
    play.deployment.resize(play.deployment.current.variants[0], 6)
    play.time.plans.append((150, lambda: play.tripped.append("x")))
    with pytest.raises(RollbackError):
        play.run()
    assert play.in_service() == ["old"] * 6


@pytest.mark.parametrize("config", [CANARY, LINEAR, roll()])
def test_an_old_fleet_without_an_instance_has_no_share(config: dict[str, Any]) -> None:
    for trips_s, fleet in ((50, []), (1000, ["new"] * 4)):
        play = Play(config)
        play.deployment.resize(play.deployment.current.variants[0], 0)
        play.time.plans.append((trips_s, lambda played=play: played.tripped.append("x")))
        with contextlib.suppress(RollbackError):
            play.run()
        assert {share for _, share in play.bakings()} == {1.0}
        assert "start old a-5" not in play.starter.events
        assert play.in_service() == fleet
        assert play.share() == bool(fleet)


@pytest.mark.parametrize("config", [CANARY, LINEAR, roll()])
def test_a_new_fleet_without_an_instance_takes_over_at_once(config: dict[str, Any]) -> None:
    play = Play(config, a=0)
    play.run()
    assert (play.share(), play.time.now_s, play.in_service()) == (1.0, 0, [])


def test_describe_shows_what_is_pending() -> None:
    play = Play(CANARY)
    shown: list[Any] = []
    play.time.plans.append((0.5, lambda: shown.append(play.deployment.describe_pending())))
    play.run()
    (pending,) = shown
    assert pending["EndpointConfigName"] == "new"
    (variant,) = pending["ProductionVariants"]
    (status,) = variant.pop("VariantStatus")
    assert status["Status"] == "Baking"
    assert variant == {
        "VariantName": "a",
        "CurrentWeight": 1.0,
        "DesiredWeight": 1.0,
        "CurrentInstanceCount": 4,
        "DesiredInstanceCount": 4,
    }


def test_requests_are_answered_during_every_step() -> None:
    """Ask once at each look at the alarms: the replica that answers is never one that stopped."""
    for config in (CANARY, LINEAR, roll()):
        play = Play(config)
        look = play.tripped

        def ask(
            deployment: Deployment = play.deployment, played: PlayedStarter = play.starter
        ) -> None:
            for _ in range(20):
                with deployment.lease(deployment.choose_variant(None), {}) as replica:
                    assert f"stop {replica.config} {replica.name}" not in played.events

        play.time.plans += [(float(second), ask) for second in range(400)]
        play.run()
        assert look == []
