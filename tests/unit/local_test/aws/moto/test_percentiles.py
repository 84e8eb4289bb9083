"""Extended statistics of CloudWatch."""

from __future__ import annotations

import pytest

from local_test.aws.moto.percentiles import summarize
from local_test.aws.protocol.messages import AwsError

VALUES = [(float(value), 1.0) for value in range(1, 101)]


@pytest.mark.parametrize(
    ("stat", "expected"),
    [("p99", 99), ("p50", 50), ("p0", 1), ("p100", 100), ("p99.9", 100), ("tm50", 25.5)],
)
def test_a_statistic_is_that_of_all_values(stat: str, expected: float) -> None:
    assert summarize(stat, VALUES) == expected


def test_a_value_counts_as_often_as_it_occurs() -> None:
    assert summarize("p90", [(1.0, 89.0), (2.0, 11.0)]) == 2.0
    assert summarize("tm50", [(1.0, 1.0), (3.0, 3.0)]) == 2.0


@pytest.mark.parametrize("stat", ["p101", "p", "IQM", "wm90", "Median", "PR(0:1)"])
def test_what_is_not_emulated_is_refused_by_name(stat: str) -> None:
    with pytest.raises(AwsError, match="does not emulate the statistic"):
        summarize(stat, VALUES)
