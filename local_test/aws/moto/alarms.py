"""CloudWatch's alarms, which moto keeps and never evaluates.

An alarm on one metric gets its state from the metric's data, as CloudWatch sets it. Composite
alarms, metric math and anomaly detection are not evaluated: their state is the one that
SetAlarmState sets.

Source: CloudWatch User Guide, `alarm-evaluation` and `alarms-and-missing-data`.
"""

import datetime as dt
import functools
import math
import operator
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_FINAL: Final = {"Greater": ("Sum", "SampleCount", "Maximum"), "Less": ("Minimum",)}
"""Statistics that stay beyond a threshold, whatever the rest of the period brings."""
_MORE_PERIODS: Final = 2  # than are evaluated, for data that are missing
_NO_DATA: Final = "INSUFFICIENT_DATA"
_STATE: Final = ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp")


@functools.cache
def install() -> None:
    """Let moto's PutMetricAlarm make alarms without data, and keep the state of one put again.

    Source: the API reference of PutMetricAlarm.
    """
    from moto.cloudwatch.models import CloudWatchBackend  # noqa: PLC0415 - takes long to import

    put: Callable[..., Any] = CloudWatchBackend.put_metric_alarm

    def put_with_state(backend: Any, **options: Any) -> Any:
        old = backend.alarms.get(options["name"])
        alarm = put(backend, **options)
        alarm.state_value = _NO_DATA
        for member in _STATE if old else ():
            setattr(alarm, member, getattr(old, member))
        return alarm

    setattr(CloudWatchBackend, put.__name__, put_with_state)


@dataclass(frozen=True)
class Measure:
    """What a metric alarm compares."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    stat: str
    period_s: int


@dataclass(frozen=True)
class Terms:
    """When an alarm goes into ALARM state."""

    periods: int
    """How many periods are evaluated."""
    needed: int
    """How many of them have to be breaching."""
    missing: str = "missing"
    """TreatMissingData."""


def judge(points: Sequence[bool | None], terms: Terms, current: str) -> str:
    """Return an alarm's state for whether each period was breaching; None stands for no data.

    The newest is the last. `points` has some more periods than are evaluated: with enough data in
    them, what is missing is left out; otherwise it is treated as `terms` say.
    """
    found = [point for point in points if point is not None]
    if len(found) >= terms.periods:
        breaching = sum(found[-terms.periods :])
        return "ALARM" if breaching >= terms.needed else "OK"
    if terms.missing in ("breaching", "notBreaching"):
        filled = [*found, *[terms.missing == "breaching"] * (terms.periods - len(found))]
        return "ALARM" if sum(filled) >= terms.needed else "OK"
    if not found and terms.missing == "missing":
        return _NO_DATA
    return _judge_few(points, found, terms, current)


def _judge_few(
    points: Sequence[bool | None], found: Sequence[bool], terms: Terms, current: str
) -> str:
    """Return the state for fewer data than are evaluated, with nothing in place of the others."""
    if found and sum(found) >= terms.needed:
        return "ALARM"
    if not all(found):
        return "OK"
    if found and terms.missing == "missing":
        age = len(points) - points.index(True)  # of the oldest, in periods
        return "ALARM" if age >= terms.needed else current
    return current


class Alarms:
    """The alarms of one account and region."""

    def __init__(
        self,
        find_backend: Callable[[], Any],
        clock: Callable[[], float] = time.time,
        record: Callable[[], None] = lambda: None,
    ) -> None:
        """`find_backend` may import moto; `record` is called after states have changed."""
        self._find_backend = find_backend
        self._clock = clock
        self._record = record

    def evaluate(self) -> None:
        """Set the state of every alarm by its metric."""
        if "moto.cloudwatch.models" not in sys.modules:  # nobody has made one
            return
        for alarm in list(self._find_backend().alarms.values()):
            try:
                self._evaluate(alarm)
            except Exception:  # noqa: BLE001 - an odd alarm must not stop the others
                traceback.print_exc(file=sys.stderr)
        self._record()

    def _evaluate(self, alarm: Any) -> None:
        measure = _read_measure(alarm)
        if measure is None or alarm.comparison_operator not in _OPERATORS:
            return
        periods = int(alarm.evaluation_periods)
        needed = int(alarm.datapoints_to_alarm or periods)
        terms = Terms(periods, needed, alarm.treat_missing_data or "missing")
        points = self._list_points(alarm, measure, periods + _MORE_PERIODS)
        state = judge(points, terms, alarm.state_value)
        if state != alarm.state_value:
            breaching = sum(point is True for point in points)
            reason = (
                f"Threshold Crossed: {breaching} of the last {len(points)} datapoints were "
                f"breaching: {alarm.comparison_operator} {alarm.threshold}."
            )
            alarm.update_state(reason, "{}", state)

    def _list_points(self, alarm: Any, measure: Measure, count: int) -> list[bool | None]:
        """Return whether each of the last periods was breaching, the newest last.

        The period that is not over counts only if what follows cannot change the result.
        """
        compare = _OPERATORS[alarm.comparison_operator]
        threshold = float(alarm.threshold)
        now = math.floor(self._clock() / measure.period_s)
        data = self._collect(measure)
        points: list[bool | None] = []
        for number in range(now - count, now):
            value = _summarize(data.get(number, ()), measure.stat)
            points.append(None if value is None else compare(value, threshold))
        direction = "Greater" if alarm.comparison_operator.startswith("Greater") else "Less"
        value = _summarize(data.get(now, ()), measure.stat)
        if measure.stat in _FINAL[direction] and value is not None and compare(value, threshold):
            points.append(True)
        return points[-count:]

    def _collect(self, measure: Measure) -> dict[int, list[Any]]:
        """Return the data of a metric by the number of their period."""
        data: dict[int, list[Any]] = {}
        for datum in list(self._find_backend().metric_data):
            if _fits(datum, measure):
                number = math.floor(_to_seconds(datum.timestamp) / measure.period_s)
                data.setdefault(number, []).append(datum)
        return data

    def find_excess(self, action: str) -> dict[str, float]:
        """Return the alarms in ALARM state that have an action: each metric minus its threshold.

        It is that of the newest period with data; 0 without any, as after SetAlarmState.
        """
        return {
            alarm.name: self._measure_excess(alarm)
            for alarm in list(self._find_backend().alarms.values())
            if _starts(alarm, action)
        }

    def _measure_excess(self, alarm: Any) -> float:
        measure = _read_measure(alarm)
        if measure is None or alarm.comparison_operator not in _OPERATORS:
            return 0.0
        data = self._collect(measure)
        value = _summarize(data.get(max(data, default=0), ()), measure.stat)
        return 0.0 if value is None else value - float(alarm.threshold)

    def find_faults(self, names: Sequence[str]) -> list[str]:
        """Return a line for each alarm that does not exist, or is not evaluated here."""
        return [fault for name in names if (fault := self._find_fault(name))]

    def _find_fault(self, name: str) -> str:
        alarm = self._find_backend().alarms.get(name)
        if alarm is None:
            return f"alarm {name!r} does not exist; create it with PutMetricAlarm"
        if alarm.rule is not None:
            return f"alarm {name!r} is a composite alarm, which is not evaluated here"
        if _read_measure(alarm) is None:
            return f"alarm {name!r} uses metric math, which is not evaluated here"
        if alarm.comparison_operator not in _OPERATORS:
            return f"alarm {name!r} detects anomalies, which is not evaluated here"
        return ""

    def find_tripped(self, names: Sequence[str], since_s: float) -> list[str]:
        """Return the alarms that are in ALARM state, or were since a time in seconds.

        An alarm that was deleted meanwhile has not tripped.
        """
        alarms = [self._find_backend().alarms.get(name) for name in names]
        return [alarm.name for alarm in alarms if alarm and _has_tripped(alarm, since_s)]


def _starts(alarm: Any, action: str) -> bool:
    is_on = alarm.state_value == "ALARM" and alarm.actions_enabled
    return is_on and action in alarm.alarm_actions


def _has_tripped(alarm: Any, since_s: float) -> bool:
    if alarm.state_value == "ALARM":
        return True
    return any(  # each entry has the state that an update ended, and when it began
        state == "ALARM" and _to_seconds(begun) >= since_s
        for _, _, _, state, begun in alarm.history
    )


def _read_measure(alarm: Any) -> Measure | None:
    """Return what an alarm on one metric compares, or None for any other."""
    if alarm.rule is not None:
        return None
    if alarm.metric_name:
        stat = alarm.statistic or alarm.extended_statistic
        dimensions = frozenset((item.name, item.value) for item in alarm.dimensions)
        names = (alarm.namespace, alarm.metric_name)
        return Measure(*names, dimensions, stat, int(alarm.period))
    if len(alarm.metric_data_queries) != 1:
        return None
    found = alarm.metric_data_queries[0].metric_stat
    if found is None:
        return None
    metric = found.metric
    dimensions = frozenset((item.name, item.value) for item in metric.dimensions)
    names = (metric.namespace, metric.metric_name)
    return Measure(*names, dimensions, found.stat, int(found.period))


def _fits(datum: Any, measure: Measure) -> bool:
    return (
        datum.name == measure.name
        and datum.namespace == measure.namespace
        and frozenset((item.name, item.value) for item in datum.dimensions) == measure.dimensions
    )


def _summarize(data: Sequence[Any], stat: str) -> float | None:
    """Return a statistic of the data of one period, or None if there are none."""
    from moto.cloudwatch.models import Statistics  # noqa: PLC0415 - takes long to import

    if not data:
        return None
    statistics = Statistics([stat], data[0].timestamp)
    statistics.metric_data = list(data)
    value = statistics.get_statistics_for_type(stat)
    return None if value is None else float(value)


def _to_seconds(moment: dt.datetime) -> float:
    """Return a time of moto, which is UTC without saying so, in seconds since the epoch."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
