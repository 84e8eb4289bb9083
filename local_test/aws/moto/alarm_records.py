"""CloudWatch's alarms as records, since moto keeps them in memory only.

A change is on disk before its answer leaves. The history of an alarm is not kept.
"""

import contextlib
import datetime as dt
import functools
import threading
from collections.abc import Callable
from typing import Any, Final

from local_test.aws.account.kinds import ALARM
from local_test.aws.account.store import Store
from local_test.data.disk import DiskError

_CHANGES: Final = (
    *("delete_alarms", "set_alarm_state", "enable_alarm_actions", "disable_alarm_actions"),
    *("tag_resource", "untag_resource"),
)
"""The methods of moto's backend that change alarms, besides `put_metric_alarm`."""
_STATE: Final = ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp")
_PARTS: Final = ("Dimension", "Metric", "MetricStat", "MetricDataQuery")
"""The classes of moto that an alarm consists of."""
_NEEDED: Final = (
    *("namespace", "metric_name", "comparison_operator", "statistic", "evaluation_periods"),
    *("period", "threshold", "description", "dimensions", "alarm_actions"),
)
"""What `put_metric_alarm` must be given."""


class AlarmRecords:
    """The records of one account's alarms; `backend` is moto's."""

    def __init__(self, backend: Any, store: Store) -> None:
        """Bring the recorded alarms back, and record every change from now on."""
        self._backend = backend
        self._store = store
        self._written: dict[str, Any] = {}
        self._lock = threading.RLock()
        backend.alarms.clear()
        for record in store.list(ALARM):
            self._restore(record)
        for name in _CHANGES:
            change = functools.partial(getattr(type(backend), name), backend)
            setattr(backend, name, functools.partial(self._record, change))
        backend.put_metric_alarm = functools.partial(self._record, self._put)

    def write(self) -> None:
        """Write what has changed. Raises: DiskError."""
        with self._lock:
            alarms = dict(self._backend.alarms)
            for name, alarm in alarms.items():
                record = self._describe(alarm)
                if record != self._written.get(name):
                    if not self._store.insert(ALARM, name, record):
                        self._store.update(ALARM, name, **record)
                    self._written[name] = record
            for name in self._written.keys() - alarms.keys():
                self._store.delete(ALARM, name)
                del self._written[name]

    def write_later(self) -> None:
        """Write what has changed, or leave it to the next change if the disk is full."""
        with contextlib.suppress(DiskError):
            self.write()

    def _record(self, change: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Make a change, and undo what it did to the list of alarms if it cannot be written."""
        with self._lock:
            before = dict(self._backend.alarms)
            result = change(*arguments, **options)
            try:
                self.write()
            except DiskError:
                self._backend.alarms = before
                raise
            return result

    def _put(self, **options: Any) -> Any:
        """Put an alarm: a new one has no data yet, and one that is put again keeps its state.

        Source: the API reference of PutMetricAlarm.
        """
        old = self._backend.alarms.get(options["name"])
        alarm = type(self._backend).put_metric_alarm(self._backend, **options)
        alarm.state_value = "INSUFFICIENT_DATA"
        for member in _STATE if old else ():
            setattr(alarm, member, getattr(old, member))
        return alarm

    def _describe(self, alarm: Any) -> dict[str, Any]:
        members = {key: _encode(item) for key, item in vars(alarm).items() if key != "history"}
        tags = self._backend.tagger.list_tags_for_resource(alarm.alarm_arn)["Tags"]
        return {
            "AlarmName": alarm.name,
            "AlarmArn": alarm.alarm_arn,
            "_alarm": members,
            "Tags": tags,
        }

    def _restore(self, record: dict[str, Any]) -> None:
        name = record["AlarmName"]
        backend = self._backend
        blank = dict.fromkeys(_NEEDED, "")
        alarm = type(backend).put_metric_alarm(backend, name=name, **blank, tags=record["Tags"])
        vars(alarm).update({key: _decode(item) for key, item in record["_alarm"].items()})
        self._written[name] = self._describe(alarm)


def _encode(value: Any) -> Any:
    """Return a value of moto's as JSON values."""
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, dt.datetime):
        return {"datetime": value.isoformat()}
    if type(value).__name__ in _PARTS:
        return {type(value).__name__: {key: _encode(item) for key, item in vars(value).items()}}
    return value


def _decode(value: Any) -> Any:
    """Return the value that `_encode` was given."""
    from moto.cloudwatch import models  # noqa: PLC0415 - takes long to import

    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, members),) = value.items()
    if kind == "datetime":
        return dt.datetime.fromisoformat(members)
    part = object.__new__(getattr(models, kind))
    vars(part).update({key: _decode(item) for key, item in members.items()})
    return part
