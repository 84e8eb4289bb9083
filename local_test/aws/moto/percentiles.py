"""CloudWatch's extended statistics, such as p99 and tm90, which moto does not have."""

import functools
import re
from collections.abc import Sequence
from typing import Any, Final

from local_test.aws.protocol.messages import AwsError

_PLAIN: Final = ("Sum", "Average", "Minimum", "Maximum", "SampleCount")
_PERCENTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")
_TRIMMED: Final = re.compile(r"tm(\d{1,2}(?:\.\d{1,10})?|100)")
_NARROW: Final = 1.1
"""A statistic set counts as values of one size if its maximum is at most this times its minimum."""

Weighted = list[tuple[float, float]]
"""Values with the number of times that each occurs, in ascending order."""


@functools.cache
def install() -> None:
    """Let moto's statistics compute the extended ones; nothing else in moto changes."""
    from moto.cloudwatch.models import Statistics  # noqa: PLC0415 - takes long to import

    compute_plain = Statistics.get_statistics_for_type

    def compute(self: Any, stat: str) -> Any:
        if stat in _PLAIN:
            return compute_plain(self, stat)
        _check(stat)  # before the values are
        return summarize(stat, _weigh(self.metric_single_values_list, self.metric_aggregated_list))

    Statistics.get_statistics_for_type = compute


def _check(stat: str) -> None:
    if not (_PERCENTILE.fullmatch(stat) or _TRIMMED.fullmatch(stat)):
        message = (
            f"The local AWS does not emulate the statistic {stat!r}; use {', '.join(_PLAIN)}, "
            "a percentile such as p99, or a trimmed mean such as tm90"
        )
        raise AwsError("InvalidParameterValue", message)


def _weigh(values: Sequence[float], sets: Sequence[Any]) -> Weighted:
    weighted = [(float(value), 1.0) for value in values]
    for item in sets:
        if item.sample_count <= 0:
            continue
        if item.sample_count > 1 and item.max > item.min * _NARROW:
            message = (
                "percentiles need values; the data of this metric are statistic sets that hold "
                "only their minimum, maximum and sum"
            )
            raise AwsError("InvalidParameterValue", message)
        weighted.append((item.sum / item.sample_count, float(item.sample_count)))
    return sorted(weighted)


def summarize(stat: str, values: Weighted) -> float:
    """Return a percentile (`p99`) or a trimmed mean (`tm90`) of at least one value.

    Raises: AwsError for any other statistic.
    """
    _check(stat)
    if match := _PERCENTILE.fullmatch(stat):
        return _find_percentile(values, float(match[1]))
    return _find_trimmed_mean(values, float(stat.removeprefix("tm")))


def _find_percentile(values: Weighted, percent: float) -> float:
    """Return the smallest value that at least `percent` of all values do not exceed."""
    wanted = sum(weight for _, weight in values) * percent / 100
    passed = 0.0
    for value, weight in values:
        passed += weight
        if passed >= wanted:
            return value
    return values[-1][0]


def _find_trimmed_mean(values: Weighted, percent: float) -> float:
    """Return the mean of the lowest `percent` of all values."""
    left = max(1.0, sum(weight for _, weight in values) * percent / 100)
    kept = left
    total = 0.0
    for value, weight in values:
        taken = min(weight, left)
        total += value * taken
        left -= taken
    return total / kept
