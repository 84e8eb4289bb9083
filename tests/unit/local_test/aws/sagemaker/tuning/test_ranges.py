"""The ranges of hyperparameters and their scales; no process, no network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.aws.sagemaker.tuning.ranges import Range, parse_ranges

POSITIONS = st.floats(0, 1, exclude_max=True)


@given(POSITIONS, st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_continuous_value_lies_within_its_range(
    position: float, low: float, width: float
) -> None:
    item = Range("x", "Continuous", low, low + width)
    assert low <= float(item.format(position)) <= low + width


@given(
    POSITIONS,
    st.integers(-1000, 1000),
    st.integers(0, 1000),
    st.sampled_from(["Linear", "Logarithmic"]),
)
def test_an_integer_is_whole_within_its_range_and_found_again(
    position: float, low: int, width: int, scaling: str
) -> None:
    if scaling == "Logarithmic":
        low = abs(low) + 1
    item = Range("x", "Integer", low, low + width, scaling)
    text = item.format(position)
    assert low <= int(text) <= low + width
    located = item.locate(text)
    assert located is not None
    assert item.format(located) == text


@given(POSITIONS)
def test_logarithmic_and_reverse_logarithmic_are_mirror_images(position: float) -> None:
    up = Range("x", "Continuous", 0.001, 0.5, "Logarithmic")
    down = Range("x", "Continuous", 0.5, 0.999, "ReverseLogarithmic")
    assert float(down.format(position)) == pytest.approx(1 - 0.5 * (0.001 / 0.5) ** position)
    assert float(up.format(position)) == pytest.approx(0.001 * 500**position)
    assert up.locate(up.format(position)) == pytest.approx(position, abs=1e-9)


def test_a_random_integer_is_as_likely_at_the_ends() -> None:
    item = Range("x", "Integer", 1, 4)
    found = [item.format((index + 0.5) / 1000) for index in range(1000)]
    assert {value: found.count(value) for value in set(found)} == {
        "1": 250,
        "2": 250,
        "3": 250,
        "4": 250,
    }


@pytest.mark.parametrize(
    ("kind", "low", "high", "scaling", "fault"),
    [
        ("Integer", "1.5", "3", "Auto", "are not Integer values"),
        ("Continuous", "2", "1", "Auto", "must not be greater"),
        ("Continuous", "nan", "1", "Auto", "must not be greater"),
        ("Continuous", "0", "1", "Logarithmic", "MinValue > 0"),
        ("Continuous", "0", "1", "ReverseLogarithmic", "[0, 1)"),
    ],
)
def test_a_range_that_makes_no_sense_is_a_fault(
    kind: str, low: str, high: str, scaling: str, fault: str
) -> None:
    faults: list[str] = []
    item = {"Name": "n", "MinValue": low, "MaxValue": high, "ScalingType": scaling}
    assert parse_ranges({f"{kind}ParameterRanges": [item]}, faults) == []
    assert len(faults) == 1
    assert fault in faults[0]


def test_a_name_has_one_range() -> None:
    faults: list[str] = []
    parse_ranges({"CategoricalParameterRanges": [{"Name": "n", "Values": ["a"]}] * 2}, faults)
    assert faults == ["n: has more than one range"]


def test_auto_takes_the_logarithm_of_wide_ranges() -> None:
    ranges = [{"Name": "n", "MinValue": "0.001", "MaxValue": high} for high in ("0.05", "1")]
    scalings = [
        parse_ranges({"ContinuousParameterRanges": [item]}, [])[0].scaling for item in ranges
    ]
    assert scalings == ["Linear", "Logarithmic"]
