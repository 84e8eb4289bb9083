"""The ranges of hyperparameters, and their scales.

Every strategy searches the same cube: a point has one number in [0, 1) for each range, in the order
of the request, and the ranges turn it into the strings that a training job gets.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_LOGARITHMIC_FROM: Final = 100  # Auto: ratio of a range's ends from which its scale is logarithmic
_MOST: Final = 1 - 1e-12  # the greatest position
_SCALES: Final[Mapping[str, tuple[Callable[[float], float], Callable[[float], float]]]] = {
    "Linear": (float, float),
    "Logarithmic": (math.log, math.exp),
    "ReverseLogarithmic": (lambda value: math.log(1 - value), lambda scaled: 1 - math.exp(scaled)),
}
"""The function from values to a scale on which they are equally likely, and its inverse."""


@dataclass(frozen=True)
class Range:
    """The range of one hyperparameter."""

    name: str
    kind: str
    """`Integer`, `Continuous` or `Categorical`."""
    low: float = 0
    high: float = 0
    scaling: str = "Linear"
    values: tuple[str, ...] = ()

    def format(self, position: float) -> str:
        """Return the value at a position in [0, 1), as a training job gets it."""
        if self.kind == "Categorical":
            return self.values[min(int(position * len(self.values)), len(self.values) - 1)]
        start, end = self._scaled_ends()
        _, unscale = _SCALES[self.scaling]
        value = min(max(unscale(start + position * (end - start)), self.low), self.high)
        return str(round(value)) if self.kind == "Integer" else repr(value)

    def locate(self, text: str) -> float | None:
        """Return the position of a value, or None if the range does not contain it."""
        if self.kind == "Categorical":
            if text not in self.values:
                return None
            return (self.values.index(text) + 0.5) / len(self.values)
        value = float(text)
        if not self.low <= value <= self.high:
            return None
        start, end = self._scaled_ends()
        scale, _ = _SCALES[self.scaling]
        position = (scale(value) - start) / ((end - start) or 1)
        return min(max(position, 0.0), _MOST)

    def _scaled_ends(self) -> tuple[float, float]:
        low, high = self.low, self.high
        if self.kind == "Integer":
            # An integer owns the values around it, so that both ends are as likely as the rest.
            low, high = low - 0.5, high + 0.5
        if self.scaling == "Logarithmic":
            low = max(low, self.low / 2)
        scale, _ = _SCALES[self.scaling]
        return scale(low), scale(high)


def parse_ranges(request: Mapping[str, Any], faults: list[str]) -> list[Range]:
    """Read `ParameterRanges`; add what is wrong with them to `faults`."""
    ranges = []
    for kind in ("Integer", "Continuous"):
        for item in request.get(f"{kind}ParameterRanges", ()):
            try:
                ranges.append(_parse_numeric(kind, item))
            except ValueError as error:
                faults.append(f"{item['Name']}: {error}")
    ranges += [
        Range(item["Name"], "Categorical", values=tuple(item["Values"]))
        for item in request.get("CategoricalParameterRanges", ())
    ]
    counts = Counter(item.name for item in ranges)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    faults += [f"{name}: has more than one range" for name in repeated]
    return ranges


def _parse_numeric(kind: str, item: Mapping[str, Any]) -> Range:
    """Read the range of a number. Raises: ValueError that says what is wrong."""
    convert = int if kind == "Integer" else float
    try:
        low = convert(item["MinValue"])
        high = convert(item["MaxValue"])
    except ValueError as error:
        found = f"MinValue {item['MinValue']!r} and MaxValue {item['MaxValue']!r}"
        raise ValueError(f"{found} are not {kind} values") from error
    fault = ""
    scaling = _resolve_scaling(item.get("ScalingType", "Auto"), low, high)
    if not low <= high or not math.isfinite(high - low):
        fault = f"MinValue {low} must not be greater than MaxValue {high}"
    elif scaling == "Logarithmic" and low <= 0:
        fault = f"Logarithmic scaling needs MinValue > 0, found {low}"
    elif scaling == "ReverseLogarithmic" and (kind == "Integer" or not 0 <= low <= high < 1):
        fault = "ReverseLogarithmic scaling needs a Continuous range in [0, 1)"
    if fault:
        raise ValueError(fault)
    return Range(item["Name"], kind, low, high, scaling)


def _resolve_scaling(scaling: str, low: float, high: float) -> str:
    if scaling != "Auto":
        return scaling
    return "Logarithmic" if low > 0 and high / low >= _LOGARITHMIC_FROM else "Linear"
