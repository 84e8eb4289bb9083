"""Validate a request once: its shapes, what is emulated here, the rules between its fields.

A `ValidRequest` is the proof: jobs take nothing else, and only this module makes one.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from container.errors import UserError
from local_test.requests import rules, shapes, treatments
from local_test.requests.shapes import Fault, Path

_NOUNS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("structure", "map"), "an object"),
    **dict.fromkeys(("integer", "long"), "an integer"),
    **dict.fromkeys(("float", "double"), "a number"),
    **{kind: f"a {kind}" for kind in ("list", "string")},
    "boolean": "true or false",
    "timestamp": "a time",
    "blob": "base64 text",
}
_UNITS: Final[Mapping[type, str]] = {str: " characters", list: " items", dict: " entries"}
_SHOWN_CHOICES: Final = 8


@dataclass(frozen=True)
class ValidRequest:
    """A request that this machine can run; made by `validate` and `admit` only."""

    operation: str
    """The operation that it is for, such as `CreateTrainingJob`."""
    fields: Mapping[str, Any]
    """The request itself."""
    notes: tuple[str, ...]
    """A line for each field that it sets without effect here."""


def validate(operation: str, request: Any) -> ValidRequest:
    """Validate a request that a person or a program of this machine wrote.

    Raises: UserError that lists every fault.
    """
    _, faults = shapes.read(shapes.input_shape(operation), request, is_handwritten=True)
    if faults:
        raise _refuse(operation, [describe(fault) for fault in faults])
    return admit(operation, request)


def check(operation: str, request: Any) -> None:
    """Check a request for AWS by the API's shapes and rules, whatever is emulated here.

    Raises: UserError that lists every fault.
    """
    _, found = shapes.read(shapes.input_shape(operation), request, is_handwritten=True)
    faults = [describe(fault) for fault in found] or rules.find_faults(operation, request)
    if faults:
        raise _refuse(operation, faults)


def admit(operation: str, fields: Mapping[str, Any]) -> ValidRequest:
    """Check a request that has been read by its shape already, as requests of the API are.

    Raises: UserError that lists every field that is refused and every rule that is broken.
    """
    notes = []
    faults = []
    for path, treatment in treatments.treat(operation, fields).items():
        if treatment.kind == "without effect":
            notes.append(f"{path} has no effect here: {treatment.note}")
        elif treatment.kind != "emulated":
            faults.append(f"{path}: refused here: {treatment.note}")
    faults += rules.find_faults(operation, fields)
    if faults:
        raise _refuse(operation, faults)
    return ValidRequest(operation, fields, tuple(notes))


def _refuse(operation: str, faults: list[str]) -> UserError:
    return UserError.from_faults(f"{operation} is refused", faults)


def describe(fault: Fault) -> str:
    """Word a fault for the person who wrote the request."""
    return f"{_format_path(fault.path)}: {_describe_rule(fault)}"


def _describe_rule(fault: Fault) -> str:  # noqa: PLR0911 - one for each rule
    found = fault.found
    match fault.rule:
        case "type":
            return f"expected {_NOUNS[fault.bound]}, found {found!r}"
        case "required":
            return "is required"
        case "unknown":
            name = str(fault.path[-1].name)
            return f"no such field; {_suggest(name, fault.bound)}"
        case "choice":
            return f"unknown value {found!r}; {_suggest(found, fault.bound)}"
        case "minimum" | "maximum":
            unit = _UNITS.get(type(found), "")
            size = len(found) if unit else found
            limit = "least" if fault.rule == "minimum" else "most"
            return f"expected at {limit} {fault.bound}{unit}, found {size}"
        case "pattern":
            return f"{found!r} does not match {fault.bound}"
        case "one member":
            return f"expected exactly one of {', '.join(fault.bound)}; found {', '.join(found)}"
        case "32 bits" | "64 bits":
            return f"{str(found)[:40]} does not fit in {fault.rule}"


def _suggest(name: str, choices: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, choices, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    if len(choices) <= _SHOWN_CHOICES:
        return f"choose one of {', '.join(choices)}"
    return f"there are {len(choices)} others, such as {', '.join(choices[:_SHOWN_CHOICES])}"


def _format_path(path: Path) -> str:
    text = ""
    for step in path:
        if step.kind == "member":
            text += f".{step.name}" if text else str(step.name)
        else:
            text += f"[{step.name!r}]"
            if step.kind == "key":
                text += " name"
    return text or "request"
