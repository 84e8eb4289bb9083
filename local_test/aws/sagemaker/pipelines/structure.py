"""Whether the parts of a pipeline definition are of the types that reading it takes for granted."""

from collections.abc import Iterator
from typing import Any, Final

_NOUNS: Final = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
_OPERANDS: Final = {"In": ("QueryValue", "Values"), "Not": ("Condition",), "Or": ("Conditions",)}
"""The members of each condition; comparisons have a left and a right value."""
_ENTRIES: Final = {
    "PropertyFiles": ("PropertyFileName", "OutputName", "FilePath"),
    "OutputParameters": ("OutputName", "OutputType"),
}
"""The members, texts all of them, of the entries of a step's lists."""


def find_faults(document: Any) -> list[str]:
    """Return a line for each part of another type, or that is missing."""
    return list(_check_document(document))


def _check(parent: Any, name: str, wanted: type, label: str, *, is_required: bool) -> list[str]:
    if name not in parent:
        return [f"{label} has no {name}"] if is_required else []
    value = parent[name]
    if isinstance(value, wanted):
        return []
    return [f"{name} of {label} must be {_NOUNS[wanted]}; found {value!r:.100}"]


def _check_document(document: Any) -> Iterator[str]:
    label = "the definition"
    if not isinstance(document, dict):
        yield f"{label} must be an object; found {document!r:.100}"
        return
    faults = _check(document, "Steps", list, label, is_required=True)
    faults += _check(document, "Parameters", list, label, is_required=False)
    yield from faults
    if faults:
        return
    for parameter in document.get("Parameters", []):
        yield from _check_entry(parameter, "a parameter", ("Name", "Type"))
    yield from _check_steps(document["Steps"])


def _check_entry(entry: Any, label: str, names: tuple[str, ...]) -> list[str]:
    if not isinstance(entry, dict):
        return [f"{label} must be an object; found {entry!r:.100}"]
    return [fault for name in names for fault in _check(entry, name, str, label, is_required=True)]


def _check_steps(bodies: list[Any]) -> Iterator[str]:
    for body in bodies:
        faults = _check_entry(body, "a step", ("Name", "Type"))
        if not faults:
            label = f"step {body['Name']!r}"
            faults += _check(body, "Arguments", dict, label, is_required=True)
            is_function = body["Type"] == "Lambda"
            faults += _check(body, "FunctionArn", str, label, is_required=is_function)
            for name in ("DependsOn", *_ENTRIES):
                faults += _check(body, name, list, label, is_required=False)
            faults += _check(body, "CacheConfig", dict, label, is_required=False)
        yield from faults
        if faults:
            continue
        yield from _check_lists(body, label)
        if body["Type"] == "Condition":
            yield from _check_branches(body["Arguments"], label)


def _check_lists(body: dict[str, Any], label: str) -> Iterator[str]:
    for name in body.get("DependsOn", []):
        if not isinstance(name, str):
            yield f"DependsOn of {label} must list names of steps; found {name!r:.100}"
    for member, names in _ENTRIES.items():
        for entry in body.get(member, []):
            yield from _check_entry(entry, f"an entry of {member} of {label}", names)
    expiry = body.get("CacheConfig", {})
    yield from _check(expiry, "ExpireAfter", str, f"CacheConfig of {label}", is_required=False)


def _check_branches(arguments: dict[str, Any], label: str) -> Iterator[str]:
    faults = _check(arguments, "Conditions", list, label, is_required=True)
    for name in ("IfSteps", "ElseSteps"):
        branch = _check(arguments, name, list, label, is_required=False)
        faults += branch
        if not branch:
            faults += _check_steps(arguments.get(name, []))
    yield from faults
    if isinstance(arguments.get("Conditions"), list):
        for condition in arguments["Conditions"]:
            yield from _check_condition(condition, label)


def _check_condition(condition: Any, label: str) -> Iterator[str]:
    faults = _check_entry(condition, f"a condition of {label}", ("Type",))
    yield from faults
    if faults:
        return
    names = _OPERANDS.get(condition["Type"], ("LeftValue", "RightValue"))
    missing = [name for name in names if name not in condition]
    if missing:
        yield f"a condition of {label} has no {' and no '.join(missing)}"
        return
    if condition["Type"] == "Not":
        yield from _check_condition(condition["Condition"], label)
    if condition["Type"] == "Or":
        faults = _check(condition, "Conditions", list, label, is_required=True)
        yield from faults
        for item in [] if faults else condition["Conditions"]:
            yield from _check_condition(item, label)
