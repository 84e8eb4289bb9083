"""The rules by which a tuning job stops training jobs early.

Rules of this file: pure. All values are signed so that greater is better, one value for each epoch.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_REDUCTION: Final = 3  # Hyperband keeps one of three, as its paper does
_COMPLETED_BEFORE_STOPPING: Final = 3  # the median of fewer runs means little


@dataclass(frozen=True)
class Run:
    """One training job of a tuning job."""

    name: str
    status: str
    definition: int
    number: int
    """Number among the training jobs of its tuning job."""
    values: Sequence[float]


def is_enabled(config: Mapping[str, Any]) -> bool:
    """Return whether a tuning job stops training jobs early."""
    is_auto = config.get("TrainingJobEarlyStoppingType") == "Auto"
    return is_auto or config["Strategy"] == "Hyperband"


def find_hopeless(config: Mapping[str, Any], runs: Sequence[Run]) -> list[str]:
    """Return the names of the running training jobs that should stop."""
    is_hyperband = config["Strategy"] == "Hyperband"
    band = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    hopeless = []
    for run in runs:
        if run.status != "InProgress":
            continue
        peers = [peer for peer in runs if peer is not run and peer.definition == run.definition]
        if is_hyperband:
            is_hopeless = _is_dropped(run, peers, band)
        else:
            done = [peer.values for peer in peers if peer.status == "Completed"]
            is_hopeless = is_worse_than_median(run.values, done)
        if is_hopeless:
            hopeless.append(run.name)
    return hopeless


def _is_dropped(run: Run, peers: Sequence[Run], band: Mapping[str, Any]) -> bool:
    least = band.get("MinResource", 1)
    most = band.get("MaxResource", 81)
    count = bracket_count(least, most)
    bracket = run.number % count
    others = [peer.values for peer in peers if peer.number % count == bracket]
    levels = rungs(least, most, bracket)
    # Several epochs may have passed since the last look, so every rung up to now counts.
    reached = [level for level in levels if level <= len(run.values)]
    is_at_end = len(run.values) > most
    return is_at_end or any(is_cut(run.values[:level], others, levels) for level in reached)


def is_worse_than_median(values: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """Return whether a run's best value is below the median of the completed runs (Auto).

    Compared are the running averages of the completed runs after the same number of epochs.

    Source: the service's guide, "Stop Training Jobs Early".
    """
    if not values:
        return False
    averages = [statistics.mean(other[: len(values)]) for other in others if other]
    if len(averages) < _COMPLETED_BEFORE_STOPPING:
        return False
    return max(values) < statistics.median(averages)


def rungs(least: int, most: int, bracket: int) -> list[int]:
    """Return the numbers of epochs after which a bracket of Hyperband compares its runs."""
    levels = []
    level = least * _REDUCTION**bracket
    while level < most:
        levels.append(level)
        level *= _REDUCTION
    return levels


def bracket_count(least: int, most: int) -> int:
    """Return the number of Hyperband's brackets; the last one compares nothing."""
    return int(math.log(most / least) / math.log(_REDUCTION) + 1e-9) + 1


def is_cut(
    values: Sequence[float], others: Sequence[Sequence[float]], levels: Sequence[int]
) -> bool:
    """Return whether Hyperband drops a run at the rung that it has just reached.

    A run continues if it is in the best third of the runs of its bracket that have reached the
    rung, itself included. `others` are the values of the other runs of the bracket.
    """
    if len(values) not in levels:
        return False
    rung = len(values)
    reached = sorted((max(other[:rung]) for other in others if len(other) >= rung), reverse=True)
    if len(reached) + 1 < _REDUCTION:
        return False
    kept = (len(reached) + 1) // _REDUCTION
    return max(values[:rung]) < reached[kept - 1]
