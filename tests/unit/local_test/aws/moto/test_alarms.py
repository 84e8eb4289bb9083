"""Alarms and the states that CloudWatch gives them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from moto.cloudwatch.models import CloudWatchBackend, Dimension, Metric, MetricDataQuery, MetricStat

from local_test.aws.moto import percentiles
from local_test.aws.moto.alarms import Alarms, Terms, install, judge

PLAIN: dict[str, Any] = {
    "namespace": "AWS/SageMaker",
    "metric_name": "Invocation5XXErrors",
    "comparison_operator": "GreaterThanThreshold",
    "evaluation_periods": 1,
    "period": 60,
    "threshold": 2.0,
    "statistic": "Sum",
    "description": "",
    "dimensions": [{"Name": "EndpointName", "Value": "e"}],
    "alarm_actions": ["arn:aws:sns:us-east-1:1:topic"],
}
X, U, N = True, False, None  # breaching, unsuspicious, no data
ALARM, OK, NO_DATA, KEPT = "ALARM", "OK", "INSUFFICIENT_DATA", "kept"
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


@pytest.mark.parametrize(
    ("points", "needed", "states"),
    [  # CloudWatch User Guide: tables of 3 and of 2 out of 3 periods; five are looked at
        ([U, N, X, N, X], 3, (OK, OK, OK, OK)),
        ([N, N, N, N, U], 3, (OK, OK, OK, OK)),
        ([N, N, N, N, N], 3, (NO_DATA, KEPT, ALARM, OK)),
        ([U, X, X, N, X], 3, (ALARM, ALARM, ALARM, ALARM)),
        ([N, N, X, N, N], 3, (ALARM, KEPT, ALARM, OK)),
        ([U, N, X, N, X], 2, (ALARM, ALARM, ALARM, ALARM)),
        ([U, U, X, U, X], 2, (ALARM, ALARM, ALARM, ALARM)),
        ([U, N, X, N, N], 2, (OK, OK, ALARM, OK)),
        ([N, N, N, N, U], 2, (OK, OK, ALARM, OK)),
        ([N, N, N, X, N], 2, (ALARM, KEPT, ALARM, OK)),
    ],
)
def test_missing_data_is_treated_as_the_table_says(
    points: list[bool | None], needed: int, states: tuple[str, ...]
) -> None:
    found = [judge(points, Terms(3, needed, missing), KEPT) for missing in TREATMENTS]
    assert tuple(found) == states


class Play:
    """A backend of moto with one alarm, at a time that a test sets."""

    def __init__(self, **members: Any) -> None:
        self.now_s = 600_030.0  # half a minute into a minute
        self.backend = CloudWatchBackend("us-east-1", "1" * 12)
        self.alarms = Alarms(lambda: self.backend, lambda: self.now_s)
        self.put(**members)

    def put(self, name: str = "x", **members: Any) -> None:
        """Make the alarm: more than two errors in a minute."""
        self.backend.put_metric_alarm(
            **{
                **PLAIN,
                "name": name,
                "alarm_actions": [],
                "treat_missing_data": "notBreaching",
                **members,
            }
        )

    def add(self, value: float, ago_s: float = 0, *others: str) -> None:
        """Add a value of the metric, with more dimensions."""
        moment = dt.datetime.fromtimestamp(self.now_s - ago_s, dt.UTC).replace(tzinfo=None)
        dimensions = [{"Name": "EndpointName", "Value": "e"}]
        dimensions += [{"Name": name, "Value": name} for name in others]
        datum = {
            "MetricName": "Invocation5XXErrors",
            "Value": value,
            "Timestamp": moment,
            "Dimensions": dimensions,
        }
        self.backend.put_metric_data("AWS/SageMaker", [datum])

    def state(self) -> str:
        """Return the alarm's state after an evaluation."""
        self.alarms.evaluate()
        return str(self.backend.alarms["x"].state_value)


def test_an_alarm_follows_its_metric() -> None:
    play = Play()
    assert play.state() == OK
    play.add(2)
    assert play.state() == OK
    play.add(1)
    assert play.state() == ALARM  # before the minute is over: a sum of errors does not fall
    assert "GreaterThanThreshold 2.0" in play.backend.alarms["x"].state_reason
    play.now_s += 300
    assert play.state() == OK


def test_another_metric_does_not_count() -> None:
    play = Play()
    play.add(9, 0, "VariantName")
    assert play.state() == OK


@pytest.mark.parametrize(
    ("statistic", "operator", "early"),
    [
        ("Sum", "GreaterThanThreshold", True),
        ("Maximum", "GreaterThanThreshold", True),
        ("SampleCount", "GreaterThanThreshold", True),
        ("Average", "GreaterThanThreshold", False),
        ("Minimum", "GreaterThanThreshold", False),
        ("Minimum", "LessThanThreshold", True),
        ("Sum", "LessThanThreshold", False),
        ("Average", "LessThanOrEqualToThreshold", False),
    ],
)
def test_a_period_that_is_not_over_counts_only_if_nothing_can_change_it(
    statistic: str, operator: str, *, early: bool
) -> None:
    threshold = {"Greater": 0.5, "LessTha": 1.5}[operator[:7]]
    play = Play(statistic=statistic, comparison_operator=operator, threshold=threshold)
    play.add(1)
    assert play.state() == (ALARM if early else OK)
    play.now_s += 60
    assert play.state() == ALARM


def make_query(stat: str) -> MetricDataQuery:
    metric = Metric("Invocation5XXErrors", "AWS/SageMaker", [Dimension("EndpointName", "e")])
    query = MetricStat(metric, "60", stat, "")
    return MetricDataQuery("m", "", "", "true", metric_stat=query)


@pytest.mark.parametrize(
    "members",
    [
        {"statistic": None, "extended_statistic": "p90"},
        {"metric_name": None, "metric_data_queries": [make_query("p90")]},
    ],
)
def test_percentiles_and_queries_of_one_metric_are_evaluated(members: dict[str, Any]) -> None:
    percentiles.install()
    play = Play(**members)
    assert play.alarms.find_faults(["x"]) == []
    for value in (1, 1, 9):
        play.add(value, 60)
    assert play.state() == ALARM


def test_what_set_alarm_state_says_is_seen_also_for_a_moment() -> None:
    play = Play()
    before_s = dt.datetime.now(dt.UTC).timestamp()
    assert play.alarms.find_tripped(["x"], before_s) == []
    play.backend.set_alarm_state("x", "a test", "{}", ALARM)
    assert play.alarms.find_tripped(["x"], before_s) == ["x"]
    assert play.state() == OK  # as its metric says
    assert play.alarms.find_tripped(["x"], before_s) == ["x"]
    assert play.alarms.find_tripped(["x"], before_s + 3600) == []
    play.backend.delete_alarms(["x"])
    assert play.alarms.find_tripped(["x"], before_s) == []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"rule": "ALARM(y)"}, "composite alarm"),
        ({"metric_name": None}, "metric math"),
        ({"comparison_operator": "GreaterThanUpperThreshold"}, "detects anomalies"),
    ],
)
def test_what_is_not_evaluated_is_named_and_left_alone(
    members: dict[str, Any], reason: str
) -> None:
    play = Play(**members)
    (fault,) = play.alarms.find_faults(["x"])
    assert reason in fault
    play.backend.set_alarm_state("x", "a test", "{}", ALARM)
    assert play.state() == ALARM


def test_an_alarm_that_does_not_exist_is_named() -> None:
    (fault,) = Play().alarms.find_faults(["x", "y"])
    assert fault.startswith("alarm 'y' does not exist")


def test_an_odd_alarm_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    play = Play()
    play.backend.alarms.clear()
    play.put("odd", period="often")
    play.put()
    play.add(9)
    assert play.state() == ALARM
    assert "often" in capsys.readouterr().err


def test_a_new_alarm_has_no_data_and_an_old_one_keeps_its_state() -> None:
    install()
    backend = CloudWatchBackend("us-east-1", "1" * 12)
    assert backend.put_metric_alarm(name="x", **PLAIN).state_value == "INSUFFICIENT_DATA"
    backend.set_alarm_state("x", "why", "{}", "ALARM")
    alarm = backend.put_metric_alarm(name="x", **{**PLAIN, "threshold": 3.0})
    assert (alarm.state_value, alarm.state_reason, alarm.threshold) == ("ALARM", "why", 3.0)


def test_an_alarm_says_how_far_its_metric_is_beyond_the_threshold() -> None:
    play = Play(alarm_actions=["arn:policy"])
    assert play.alarms.find_excess("arn:policy") == {}
    play.backend.set_alarm_state("x", "why", "{}", "ALARM")
    assert play.alarms.find_excess("arn:policy") == {"x": 0.0}  # without data
    assert play.alarms.find_excess("arn:other") == {}
    play.add(9, 60)
    play.add(5)
    assert play.alarms.find_excess("arn:policy") == {"x": 3.0}
    play.put(alarm_actions=["arn:policy"], actions_enabled=False)
    assert play.alarms.find_excess("arn:policy") == {}
