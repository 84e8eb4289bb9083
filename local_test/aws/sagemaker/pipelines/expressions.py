"""The expressions of a pipeline definition: references, Join, JsonGet, and conditions.

Source: the pipeline definition's JSON schema, version 2020-12-01.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from container.errors import UserError

FUNCTIONS: Final = ("Get", "Std:Join", "Std:JsonGet")
COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "Equals": lambda left, right: bool(left == right),
    "GreaterThan": lambda left, right: bool(left > right),
    "GreaterThanOrEqualTo": lambda left, right: bool(left >= right),
    "LessThan": lambda left, right: bool(left < right),
    "LessThanOrEqualTo": lambda left, right: bool(left <= right),
}
_STEP: Final = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")

Lookup = Callable[[str], Any]
"""Returns the value of a reference such as `Steps.Train.ModelArtifacts.S3ModelArtifacts`."""


def is_function(value: Any) -> bool:
    """Return whether a value of a definition stands for another."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in FUNCTIONS


def list_references(value: Any) -> Iterator[str]:
    """Yield what a part of a definition refers to."""
    if isinstance(value, list):
        for item in value:
            yield from list_references(item)
    elif isinstance(value, dict):
        if is_function(value) and "Get" in value:
            yield str(value["Get"])
            return
        for item in value.values():
            yield from list_references(item)


def evaluate(value: Any, look_up: Lookup, read_json: Callable[[Any], Any]) -> Any:
    """Return a part of a definition with every function replaced by its value.

    `read_json` returns the document that the argument of a JsonGet names.

    Raises: UserError for what does not exist.
    """
    if isinstance(value, list):
        return [evaluate(item, look_up, read_json) for item in value]
    if not isinstance(value, dict):
        return value
    if not is_function(value):
        return {key: evaluate(item, look_up, read_json) for key, item in value.items()}
    [(function, argument)] = value.items()
    if function == "Get":
        return look_up(argument)
    if function == "Std:Join":
        values = [evaluate(item, look_up, read_json) for item in argument["Values"]]
        return str(argument.get("On", "")).join(to_text(item) for item in values)
    document = read_json({key: item for key, item in argument.items() if key != "Path"})
    path = evaluate(argument["Path"], look_up, read_json)
    return follow(document, path, "the JSON document")


def to_text(value: Any) -> str:
    """Return a value as Join writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def follow(value: Any, path: str, label: str) -> Any:
    """Return what is at a path such as `a.b[0]['c']`.

    Raises: UserError that names the path and what there is instead.
    """
    rest = path.removeprefix("$")
    rest = rest if rest.startswith((".", "[")) or not rest else f".{rest}"
    while rest:
        match = _STEP.match(rest)
        if match is None:
            raise UserError(f"the path {path!r} of {label} cannot be read at {rest!r}")
        name, index, *quoted = match.groups()
        key = next((item for item in (name, *quoted) if item is not None), None)
        try:
            value = value[int(index)] if key is None and isinstance(value, list) else value[key]
        except (KeyError, IndexError, TypeError) as error:
            found = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)[:100]
            message = f"{label} has nothing at {path!r}: {match[0]!r} is not in {found}"
            raise UserError(message) from error
        rest = rest[match.end() :]
    return value


def holds(condition: Mapping[str, Any], compute: Callable[[Any], Any]) -> bool:
    """Return whether a condition holds; `compute` evaluates its operands.

    Raises: UserError for values that cannot be compared.
    """
    kind = condition["Type"]
    if kind == "Not":
        return not holds(condition["Condition"], compute)
    if kind == "Or":
        return any(holds(item, compute) for item in condition["Conditions"])
    if kind == "In":
        return compute(condition["QueryValue"]) in compute(condition["Values"])
    left = compute(condition["LeftValue"])
    right = compute(condition["RightValue"])
    try:
        return COMPARISONS[kind](left, right)
    except TypeError as error:
        raise UserError(f"{kind} cannot compare {left!r} with {right!r}") from error
