"""Reads TOML so that every value has the type that is asked for.

Rules of this file: standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from container.errors import UserError
from container.user_packages.lists import encoded_text

_T = TypeVar("_T")
_NAMES: Final[dict[type, str]] = {str: "a string", dict: "a table", list: "an array"}


@dataclass(frozen=True)
class Table:
    """A table of a TOML file."""

    path: Path
    values: Mapping[str, Any]
    place: str = ""
    """Its key in the file, with a dot after it."""
    advice: str = ""
    """What to do about a damaged file."""

    def __contains__(self, key: str) -> bool:
        """Return whether a key has a value."""
        return key in self.values

    def text(self, key: str) -> str:
        """Return a string; empty if it is missing. Raises: UserError."""
        return self._take(key, str) or ""

    def table(self, key: str) -> Table:
        """Return a table; empty if it is missing. Raises: UserError."""
        return self._make(self._take(key, dict) or {}, key)

    def texts(self, key: str) -> list[str]:
        """Return an array of strings; empty if it is missing. Raises: UserError."""
        values = self._take(key, list) or []
        return [self._check(value, str, f"{key}[{place}]") for place, value in enumerate(values)]

    def tables(self, key: str) -> Iterator[Table]:
        """Yield the tables of an array; none if it is missing. Raises: UserError."""
        for place, value in enumerate(self._take(key, list) or []):
            name = f"{key}[{place}]"
            yield self._make(self._check(value, dict, name), name)

    def refuse(self, fault: str) -> UserError:
        """Return an error about the file."""
        message = f"{self.path} cannot be read: {fault}"
        if self.advice:
            message += f"; {self.advice}"
        return UserError(message)

    def _make(self, values: Mapping[str, Any], key: str) -> Table:
        return Table(self.path, values, f"{self.place}{key}.", self.advice)

    def _take(self, key: str, kind: type[_T]) -> _T | None:
        if key not in self.values:
            return None
        return self._check(self.values[key], kind, key)

    def _check(self, value: Any, kind: type[_T], key: str) -> _T:
        if isinstance(value, kind):
            return value
        shown = repr(value)[:80]
        fault = f"{self.place}{key} is {shown}; {_NAMES[kind]} is expected"
        raise self.refuse(fault)


def read(path: Path, advice: str = "") -> Table:
    """Read a TOML file; empty if it is not there. Raises: UserError if it cannot be read."""
    if not encoded_text.is_there(path):
        return Table(path, {}, advice=advice)
    import tomllib  # no other module needs it at the start of a server

    fault: str | Exception
    try:
        return Table(path, tomllib.loads(encoded_text.read_text(path)), advice=advice)
    except (OSError, ValueError) as error:
        fault = error
    except RecursionError:
        fault = "its values are nested too deep"
    raise Table(path, {}, advice=advice).refuse(str(fault))
