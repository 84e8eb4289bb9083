"""Sets runs side by side: facts, parameters, metrics, curves and confusion matrices."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from container.user_packages.masking import hide_secrets
from local_test.cli.runs.selection import to_number
from local_test.runs import run_files
from local_test.runs.run_files import Point, Run
from local_test.times import format_date, format_duration

_LOWER_IS_BETTER: Final = frozenset(
    {"loss", "error", "time", "stall", "rmse", "mae", "mse", "latency", "perplexity"}
)
_NEUTRAL: Final = ("epoch", "step", "iteration", "learning_rate", "eta_s")


@dataclass(frozen=True)
class Row:
    """One value of all runs, in their order."""

    name: str
    values: Sequence[str]
    """Empty where a run has no such value."""
    differs: bool
    best: Sequence[bool] = ()
    """Which of the runs have the best value of a metric."""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side."""

    runs: Sequence[Run]
    facts: Sequence[Row]
    parameters: Sequence[Row]
    metrics: Sequence[Row]
    curves: Mapping[str, Sequence[Sequence[Point]]]
    """By metric: the points of each run, none if it has no such curve."""
    confusions: Sequence[tuple[list[str], list[list[int]]] | None]

    def list_curves(self) -> dict[str, Sequence[Sequence[Point]]]:
        """Return the curves of several values, without those of the steps themselves."""
        return {
            name: lines
            for name, lines in self.curves.items()
            if name not in run_files.STEP_NAMES and max(map(len, lines)) > 1
        }

    def describe(self) -> dict[str, Any]:
        """Return the comparison for programs."""
        matrices = [
            found and dict(zip(("classes", "matrix"), found, strict=True))
            for found in self.confusions
        ]
        return {
            "runs": [run.describe() for run in self.runs],
            "parameters": [dataclasses.asdict(row) for row in self.parameters],
            "metrics": [dataclasses.asdict(row) for row in self.metrics],
            "curves": self.curves,
            "confusion_matrices": matrices,
        }


def compare(runs: Sequence[Run]) -> Comparison:
    """Compare runs; only here their logs are read."""
    curves = [run_files.read_curves(run.directory) for run in runs]
    return Comparison(
        runs=runs,
        facts=[
            _make_row("status", [run.status for run in runs]),
            _make_row("kind", [run.kind for run in runs]),
            Row("created", [format_date(run.created_s) for run in runs], differs=False),
            _make_row("duration", [format_duration(run.duration_s) for run in runs]),
        ],
        parameters=_make_rows([run.parameters for run in runs], _make_row),
        metrics=_make_rows([run.metrics for run in runs], _make_metric_row),
        curves={name: [found.get(name, []) for found in curves] for name in _merge(curves)},
        confusions=[run_files.read_confusion(run.directory) for run in runs],
    )


def _make_rows(
    mappings: Sequence[Mapping[str, Any]], make: Callable[[str, list[Any]], Row]
) -> list[Row]:
    return [make(name, [mapping.get(name) for mapping in mappings]) for name in _merge(mappings)]


def _merge(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _make_row(name: str, values: Sequence[str | None]) -> Row:
    """Make a row of texts; `1e-3` and `0.001` do not differ. Secrets differ, but are hidden."""
    meant = {value if value is None else to_number(value) for value in values}
    shown = [hide_secrets({name: value or ""})[name] for value in values]
    return Row(name, shown, differs=len(meant) > 1)


def _make_metric_row(name: str, values: Sequence[float | None]) -> Row:
    known = [value for value in values if value is not None]
    differs = len(set(values)) > 1
    best = [False] * len(values)
    if len(set(known)) > 1 and name not in _NEUTRAL:
        is_lower = not _LOWER_IS_BETTER.isdisjoint(re.split("[^a-z]+", name.lower()))
        target = min(known) if is_lower else max(known)
        best = [value == target for value in values]
    return Row(name, [format_number(value) for value in values], differs=differs, best=best)


def format_number(value: float | None) -> str:
    """Format a number with six significant digits."""
    if value is None:
        return ""
    return f"{value:.6g}"
