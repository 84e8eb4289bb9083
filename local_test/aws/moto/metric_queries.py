"""CloudWatch's queries of metrics, whose cost grows with the data and not with the time span.

A metric is its name and all of its dimensions. moto adds up every metric that has the dimensions of
a query, whatever other ones it has. It looks at every period, whether it has data or not, and
answers nothing to the expressions that it does not know.

Source: the user guide's "CloudWatch quotas" for the limits of data points and alarms.
"""

import copy
import datetime as dt
import functools
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from local_test.aws.protocol.messages import AwsError

_POINTS: Final = 1440
"""How many data points one GetMetricStatistics may ask for."""
_SHORT_PERIODS_S: Final = (1, 5, 10, 20, 30)
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S
_WEEK_S: Final = 7 * _DAY_S


@functools.cache
def install() -> None:
    """Bound moto's queries and alarms; let them read the metrics of exactly their dimensions."""
    from moto.cloudwatch.models import CloudWatchBackend  # noqa: PLC0415 - takes long to import
    from moto.cloudwatch.responses import CloudWatchResponse  # noqa: PLC0415 - takes long to import

    answer_plain = CloudWatchResponse.get_metric_statistics
    read_statistics = CloudWatchBackend.get_metric_statistics
    signature = inspect.signature(read_statistics)
    put_alarm = CloudWatchBackend.put_metric_alarm

    def get_metric_statistics(*arguments: Any, **options: Any) -> Any:
        given = signature.bind(*arguments, **options).arguments
        _check_points(given["start_time"], given["end_time"], given["period"])
        metric = {"Namespace": given["namespace"], "MetricName": given["metric_name"]}
        data = _find_data(given["self"], metric, given["dimensions"])
        seen = copy.copy(given["self"])
        seen.get_all_metrics = lambda: data
        return read_statistics(**{**given, "self": seen, "dimensions": []})

    def get_metric_data(
        self: Any,
        queries: Sequence[Any],
        start_time: dt.datetime,
        end_time: dt.datetime,
        scan_by: str = "TimestampAscending",
    ) -> Any:
        if start_time >= end_time:
            message = "The parameter StartTime must be less than the parameter EndTime."
            raise AwsError("ValidationError", message)
        series = {
            query["Id"]: _evaluate(self, query["MetricStat"], start_time, end_time)
            for query in queries
            if "MetricStat" in query
        }
        step = -1 if scan_by == "TimestampDescending" else 1
        return [
            _describe(query, _find_series(query, series)[::step])
            for query in queries
            if query.get("ReturnData", True)
        ]

    def put_metric_alarm(self: Any, **options: Any) -> Any:
        _check_alarm(options)
        return put_alarm(self, **options)

    def answer_statistics(self: Any) -> Any:
        if self._get_param("ExtendedStatistics"):
            message = (
                "The local AWS does not compute ExtendedStatistics in GetMetricStatistics; use "
                "GetMetricData, whose Stat can be a percentile such as p99"
            )
            raise AwsError("InvalidParameterCombination", message)
        return answer_plain(self)

    CloudWatchResponse.get_metric_statistics = answer_statistics
    CloudWatchBackend.get_metric_statistics = get_metric_statistics
    CloudWatchBackend.get_metric_data = get_metric_data
    CloudWatchBackend.put_metric_alarm = put_metric_alarm


def _check_period(period: int) -> None:
    if not (period in _SHORT_PERIODS_S or (period > 0 and period % _MINUTE_S == 0)):
        message = (
            f"Period must be {', '.join(map(str, _SHORT_PERIODS_S))} or a multiple of {_MINUTE_S} "
            f"seconds; found {period}"
        )
        raise AwsError("InvalidParameterValue", message)


def _check_points(start_time: dt.datetime, end_time: dt.datetime, period: int) -> None:
    _check_period(period)
    count = math.ceil((end_time - start_time).total_seconds() / period)
    if count > _POINTS:
        message = (
            f"You have requested up to {count:,} datapoints, which exceeds the limit of "
            f"{_POINTS:,}. You may reduce the datapoints requested by increasing Period, or "
            "decreasing the time range."
        )
        raise AwsError("InvalidParameterCombination", message)


def _check_alarm(options: Mapping[str, Any]) -> None:
    """Refuse an alarm that would look back for longer than the service lets it."""
    queries = options.get("metric_data_queries") or ()
    found = [query.metric_stat.period for query in queries if query.metric_stat]
    for text in found or [options.get("period")]:
        if not str(text).lstrip("-").isdecimal():  # of an expression, or what moto refuses
            continue
        period = int(text)
        _check_period(period)
        span_s = period * int(options.get("evaluation_periods") or 1)
        most_s = _WEEK_S if period >= _HOUR_S else _DAY_S
        if span_s > most_s:
            message = (
                f"EvaluationPeriods * Period must be <= {most_s} for a Period of {period}; found "
                f"{span_s}"
            )
            raise AwsError("ValidationError", message)


def _find_data(backend: Any, metric: Mapping[str, Any], dimensions: Any) -> list[Any]:
    """Return the data of exactly one metric."""
    exact = frozenset((item["Name"], item["Value"]) for item in dimensions or ())
    names = (metric["Namespace"], metric["MetricName"])
    return [
        datum
        for datum in backend.get_all_metrics()
        if (datum.namespace, datum.name) == names
        and frozenset((item.name, item.value) for item in datum.dimensions) == exact
    ]


_Series = list[tuple[dt.datetime, Any]]
"""The start of each period that has data, in ascending order, and its value."""


def _evaluate(
    backend: Any, stat: Mapping[str, Any], start_time: dt.datetime, end_time: dt.datetime
) -> _Series:
    """Return the periods, counted from the start, that have data of a metric."""
    from moto.cloudwatch.models import Statistics  # noqa: PLC0415 - takes long to import

    period = int(stat["Period"])
    _check_period(period)
    start_time = start_time.replace(microsecond=0)
    end_time = end_time.replace(microsecond=0)
    groups: dict[int, Any] = {}
    for datum in _find_data(backend, stat["Metric"], stat["Metric"].get("Dimensions")):
        is_wanted = stat.get("Unit") in (None, datum.unit)
        if is_wanted and start_time <= datum.timestamp < end_time:
            number = (datum.timestamp - start_time) // dt.timedelta(seconds=period)
            begun = start_time + number * dt.timedelta(seconds=period)
            group = groups.setdefault(number, Statistics([stat["Stat"]], begun))
            group.metric_data.append(datum)
    return [
        (groups[number].timestamp, groups[number].get_statistics_for_type(stat["Stat"]))
        for number in sorted(groups)
    ]


def _find_series(query: Mapping[str, Any], series: Mapping[str, _Series]) -> _Series:
    """Return what a query asks for. Raises: AwsError for an expression that is more than an Id."""
    wanted = query["Id"] if "MetricStat" in query else query["Expression"]
    if wanted not in series:
        message = (
            f"The local AWS does not evaluate the expression {wanted[:256]!r}: metric math and "
            "Metrics Insights are not emulated. Query the metrics and compute with the answer; an "
            "Expression can be the Id of another query"
        )
        raise AwsError("ValidationError", message)
    return series[wanted]


def _describe(query: Mapping[str, Any], found: _Series) -> dict[str, Any]:
    """Return a query's entry in the answer."""
    stat = query.get("MetricStat")
    name = f"{stat['Metric']['MetricName']} {stat['Stat']}" if stat else query["Id"]
    return {
        "id": query["Id"],
        "label": query.get("Label") or name,
        "values": [value for _, value in found],
        "timestamps": [moment for moment, _ in found],
        "status_code": "Complete",
    }
