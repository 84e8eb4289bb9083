"""Chooses runs: by name, by conditions on their values, and in an order."""

import difflib
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from container.errors import UserError, name_command
from local_test.runs.run_files import Run

_CONDITION: Final = re.compile(r"([^<>=!~]+?)\s*(<=|>=|!=|=|<|>|~)\s*(.*)", re.DOTALL)
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FACTS: Final = {
    **{name: name for name in ("name", "kind", "origin", "status")},
    "created": "created_s",
    "duration": "duration_s",
}
"""What people call an attribute of a run."""

Value = float | str | None


def get_value(run: Run, name: str) -> Value:
    """Return a fact, metric or parameter of a run, or None if it has no such value.

    A metric hides a parameter of the same name; `param.NAME` and `metric.NAME` are exact.
    """
    if name in _FACTS:
        fact: Value = getattr(run, _FACTS[name])
        return fact
    values: dict[str, Value] = {key: to_number(text) for key, text in run.parameters.items()}
    exact = {f"param.{key}": value for key, value in values.items()}
    exact |= {f"metric.{key}": value for key, value in run.metrics.items()}
    return {**values, **run.metrics, **exact}.get(name)


def to_number(text: str) -> float | str:
    """Return a parameter as a number if it is one; `0.10` and `1e-1` are the same."""
    try:
        return float(text)
    except ValueError:
        return text


def filter_runs(runs: Sequence[Run], conditions: Sequence[str]) -> list[Run]:
    """Return the runs that meet all conditions, such as `status=Failed` or `loss<0.1`.

    `~` asks whether a value contains a text. A run without the value meets `!=` only.

    Raises: UserError if a condition has another form, or no run has a value of its name.
    """
    for text in conditions:
        match = _CONDITION.fullmatch(text.strip())
        if match is None:
            message = f"--filter {text!r}: expected NAME=VALUE, or with != < <= > >= ~ (contains)"
            raise UserError(message)
        name, sign, wanted = match[1], match[2], match[3].strip()
        check_name("--filter", name, runs)
        runs = [run for run in runs if _meets(get_value(run, name), sign, wanted)]
    return list(runs)


def _meets(value: Value, sign: str, wanted: str) -> bool:
    if value is None:
        return sign == "!="
    if sign == "~":
        return wanted.lower() in str(value).lower()
    other = to_number(wanted)
    if isinstance(value, str) or isinstance(other, str):
        if sign not in ("=", "!="):
            return False
        return _COMPARISONS[sign](str(value).lower(), wanted.lower())
    return _COMPARISONS[sign](value, other)


def sort_runs(runs: Sequence[Run], key: str) -> list[Run]:
    """Return runs in the order of a value, the smallest first; `-NAME` is the largest first.

    Runs without the value come last.

    Raises: UserError if no run has a value of that name.
    """
    name = key.removeprefix("-")
    check_name("--sort", name, runs)
    known = [run for run in runs if get_value(run, name) is not None]
    unknown = [run for run in runs if get_value(run, name) is None]
    known.sort(key=lambda run: _make_key(get_value(run, name)), reverse=key.startswith("-"))
    return known + unknown


def _make_key(value: Value) -> tuple[bool, float, str]:
    if isinstance(value, str):
        return True, 0.0, value
    return False, value or 0.0, ""


def check_name(flag: str, name: str, runs: Sequence[Run]) -> None:
    """Check that at least one run has a value of a name.

    Raises: UserError that lists the names there are.
    """
    if not runs or any(get_value(run, name) is not None for run in runs):
        return
    names = list(dict.fromkeys(key for run in runs for key in (*run.metrics, *run.parameters)))
    if name in _FACTS:
        return
    near = difflib.get_close_matches(name, [*_FACTS, *names], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    message = f"{flag}: no run has a value {name!r}; {hint}there are {', '.join((*_FACTS, *names))}"
    raise UserError(message)


def choose(runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    """Return the run of each name, in this order; the start of a name is enough if it is unique.

    Raises: UserError if a name fits no run, or several.
    """
    return [_find(runs, name) for name in dict.fromkeys(names)]


def _find(runs: Sequence[Run], name: str) -> Run:
    found = _match(runs, name)
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(run.name for run in found[:5])
        message = f"{name!r} is the start of {len(found)} names: {some}; write more of it"
    else:
        known = [run.name for run in runs]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known[:3]
        hint = f"no job has run yet; `{name_command('train')}` starts one"
        if near:
            hint = f"known runs include {', '.join(near)}"
        message = f"unknown run {name!r}; {hint}"
    raise UserError(message)


def _match(runs: Sequence[Run], name: str) -> list[Run]:
    """Return the runs of a name, a training job before others, or those that start with it."""
    exact = [run for run in runs if run.name == name]
    if len(exact) > 1:
        return [run for run in exact if run.kind == "training"] or exact
    return exact or [run for run in runs if run.name.startswith(name)]
