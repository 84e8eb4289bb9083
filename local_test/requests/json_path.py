"""The JSONPath subset of batch transform's filters (BT-12).

A path starts with `$`; steps are `.name`, `['a','b']`, `[1,-1]`, `[start:end]` and `*`. A path that
can name several values selects a list, any other the one value.
"""

import re
from typing import Any, Final

from container.errors import UserError

LONGEST_PATH: Final = 63
_NAME = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*|\*)")
_BRACKET = re.compile(r"\[([^\]]*)\]")
# AWS refuses an underscore in a name in brackets, and takes it after a dot.
_QUOTED_NAMES = re.compile(r"\s*'[^'_]*'\s*(,\s*'[^'_]*'\s*)*")
_INDEXES = re.compile(r"\s*-?\d+\s*(,\s*-?\d+\s*)*")
_SLICE = re.compile(r"\s*(-?\d*)\s*:\s*(-?\d*)\s*")

Step = list[str] | list[int] | slice | None
"""Names, indexes, a slice, or None for `*`."""


def parse(path: str) -> list[Step]:
    """Read a path into steps.

    Raises: UserError that says where it is wrong, and which steps there are.
    """
    if not path.startswith("$") or len(path) > LONGEST_PATH:
        message = f"{path!r}: a filter must start with $ and have at most {LONGEST_PATH} characters"
        raise UserError(message)
    steps: list[Step] = []
    position = 1
    while position < len(path):
        match = _NAME.match(path, position) or _BRACKET.match(path, position)
        step = _parse_step(match) if match else ...
        if match is None or step is ...:
            raise UserError(
                f"{path!r} is invalid from {path[position:]!r} on; a step is one of "
                ".name ['a','b'] [1,-1] [start:end] *; a name in brackets has no underscore"
            )
        steps.append(step)
        position = match.end()
    return steps


def _parse_step(match: re.Match[str]) -> Any:
    text = match[1]
    if text.strip() == "*":
        return None
    if match.re is _NAME:
        return [text]
    if _QUOTED_NAMES.fullmatch(text):
        return re.findall(r"'([^']*)'", text)
    if _INDEXES.fullmatch(text):
        return [int(part) for part in text.split(",")]
    bounds = _SLICE.fullmatch(text)
    if bounds:
        return slice(*(int(bound) if bound else None for bound in bounds.groups()))
    return ...


def select(value: Any, steps: list[Step]) -> Any:
    """Return what the steps select in `value`.

    Raises: UserError if a name or index does not exist, or a step does not fit the value.
    """
    is_many = any(step is None or isinstance(step, slice) or len(step) > 1 for step in steps)
    values = [value]
    for step in steps:
        values = [found for item in values for found in _select_step(item, step)]
    if is_many:
        return values
    return values[0]


def _select_step(value: Any, step: Step) -> list[Any]:
    try:
        if step is None:
            return list(value.values() if isinstance(value, dict) else value)
        if isinstance(step, slice):
            return list(value[step])
        return [value[key] for key in step]
    except (KeyError, IndexError, TypeError) as error:
        raise UserError(
            f"the filter finds no {step!r} in {str(value)[:80]!r}: {type(error).__name__}: {error}"
        ) from error
