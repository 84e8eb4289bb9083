"""Alarms that outlive the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.cloudwatch.models import CloudWatchBackend, Dimension, Metric, MetricDataQuery, MetricStat

from local_test.aws.account.store import Store
from local_test.aws.moto.alarm_records import AlarmRecords
from local_test.data.disk import DiskError

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
STAT = MetricStat(Metric("m", "n", [Dimension("a", "b")]), "60", "Sum", "Count")


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[], CloudWatchBackend]]:
    """Return what starts another process on the same file, as far as alarms know."""
    stores: list[Store] = []

    def start() -> CloudWatchBackend:
        for store in stores:
            store.close()
        backend = CloudWatchBackend("us-east-1", "1" * 12)
        stores.append(Store(tmp_path / "state.sqlite"))
        AlarmRecords(backend, stores[-1])
        return backend

    yield start
    stores[-1].close()


def show(value: Any) -> Any:
    """Return all that an alarm consists of, without its history."""
    if isinstance(value, list):
        return [show(item) for item in value]
    if hasattr(value, "__dict__"):
        return {key: show(item) for key, item in vars(value).items() if key != "history"}
    return value


def test_alarms_outlive_the_process(begin: Callable[[], CloudWatchBackend]) -> None:
    backend = begin()
    alarm = backend.put_metric_alarm(name="x", tags=[{"Key": "k", "Value": "v"}], **PLAIN)
    query = MetricDataQuery("q", "label", "60", "true", metric_stat=STAT)
    backend.put_metric_alarm(name="math", **{**PLAIN, "metric_data_queries": [query]})
    backend.put_metric_alarm(name="gone", **PLAIN)
    backend.set_alarm_state("x", "why", "{}", "ALARM")
    backend.disable_alarm_actions(["math"])
    backend.tag_resource(alarm.alarm_arn, {"team": "a"})
    backend.delete_alarms(["gone"])
    before = {name: show(item) for name, item in backend.alarms.items()}

    again = begin()
    assert {name: show(item) for name, item in again.alarms.items()} == before
    assert again.alarms["x"].state_value == "ALARM"
    assert again.list_tags_for_resource(alarm.alarm_arn) == {"k": "v", "team": "a"}
    again.delete_alarms(["x", "math"])
    assert begin().alarms == {}


def test_a_new_alarm_has_no_data_and_an_old_one_keeps_its_state(
    begin: Callable[[], CloudWatchBackend],
) -> None:
    backend = begin()
    assert backend.put_metric_alarm(name="x", **PLAIN).state_value == "INSUFFICIENT_DATA"
    backend.set_alarm_state("x", "why", "{}", "ALARM")
    alarm = backend.put_metric_alarm(name="x", **{**PLAIN, "threshold": 3.0})
    assert (alarm.state_value, alarm.state_reason, alarm.threshold) == ("ALARM", "why", 3.0)


def test_an_alarm_that_cannot_be_written_is_not_made(
    begin: Callable[[], CloudWatchBackend], tmp_path: Path
) -> None:
    backend = CloudWatchBackend("us-east-1", "1" * 12)
    closed = Store(tmp_path / "closed.sqlite")
    AlarmRecords(backend, closed)
    closed.close()
    with pytest.raises(DiskError):
        backend.put_metric_alarm(name="x", **PLAIN)
    assert backend.alarms == {}
    begin()
