"""The headers of the runtime API, checked as members of its operations, which they are."""

import functools
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from container.errors import RequestError
from local_test.endpoints.invocation import FORWARDED_HEADERS, HEADER_PREFIX
from local_test.requests import shapes, treatments, validation

_CONTAINERS_OWN: Final = ("accept", "content-type")
"""Headers that some operations carry with the prefix, and the harness without it."""


class Notes:
    """Reports what has no effect, each line once."""

    def __init__(self, report: Callable[[str], None]) -> None:
        """`report` writes to the endpoint's log."""
        self._report = report
        self._known: set[str] = set()

    def report(self, notes: Sequence[str]) -> None:
        """Report the lines that are new."""
        for note in notes:
            if note not in self._known:
                self._known.add(note)
                self._report(note)


@functools.cache
def list_members(operation: str) -> Mapping[str, str]:
    """Return the members that are headers, by the header's name in lower case."""
    found = {}
    for name, member in shapes.find_input_shape(operation).members.items():
        if member.serialization.get("location") == "header":
            header = member.serialization["name"].lower()
            plain = header.removeprefix(HEADER_PREFIX)
            found[plain if plain in _CONTAINERS_OWN else header] = name
    return found


def admit(operation: str, headers: Mapping[str, str]) -> list[str]:
    """Check headers, whose names are in lower case; return a line for each without effect.

    A header that another operation passes to the container is refused; others are ignored (RQ-2).

    Raises: RequestError 400 that lists every header that the API, or this machine, refuses.
    """
    members = list_members(operation)
    shape = shapes.find_input_shape(operation)
    given = {
        members[name]: _read(shape.members[members[name]], text)
        for name, text in headers.items()
        if name in members
    }
    _, found = shapes.read(shape, given)
    faults = [validation.describe(fault) for fault in found if fault.rule != "required"]
    foreign = sorted((FORWARDED_HEADERS & headers.keys()) - members.keys())
    faults += [f"{name}: {operation} has no such header; leave it out" for name in foreign]
    notes = []
    for member, treatment in treatments.treat(operation, given).items():
        if treatment.kind == "refused":
            faults.append(f"{member}: refused here: {treatment.note}")
        elif treatment.kind == "without effect":
            notes.append(f"{member} has no effect here: {treatment.note}")
    if faults:
        message = f"{operation} is refused: {'; '.join(faults)} (RQ-2)"
        raise RequestError(HTTPStatus.BAD_REQUEST, message)
    return notes


def _read(shape: Any, text: str) -> Any:
    is_number = shape.type_name == "integer" and text.isascii() and text.isdigit()
    return int(text) if is_number and len(text) < 19 else text  # Python reads no endless digits
