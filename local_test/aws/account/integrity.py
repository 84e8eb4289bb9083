"""Whether a stored record has what the code reads of its kind."""

import functools
import json
import typing
from collections.abc import Mapping
from typing import Any, NotRequired

from local_test.aws.account.kinds import ALL, Kind


def load(kind_name: str, body: str) -> dict[str, Any]:
    """Return the record that a text stands for.

    Raises: ValueError that says what is wrong with it.
    """
    try:
        record = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        message = "not a JSON object"
        raise ValueError(message)  # noqa: TRY004 - the text is wrong, not a type of ours
    if kind_name in ALL:
        wanted = _required(ALL[kind_name])
        wrong = [name for name, types in wanted.items() if not isinstance(record.get(name), types)]
        if wrong:
            raise ValueError(f"missing or of another type: {', '.join(wrong)}")
    return record


@functools.cache
def _required(kind: Kind[Any]) -> Mapping[str, tuple[type, ...]]:
    """Return the members that every record of a kind has, with their types."""
    if not typing.is_typeddict(kind.record):
        return {}
    required: dict[str, tuple[type, ...]] = {}
    for name, hint in typing.get_type_hints(kind.record, include_extras=True).items():
        if typing.get_origin(hint) is not NotRequired:
            required[name] = _accept(typing.get_origin(hint) or hint)
    if kind.status_name:
        required[kind.status_name] = (str,)
    return required


def _accept(wanted: Any) -> tuple[type, ...]:
    if wanted is float:
        return (int, float)
    if typing.is_typeddict(wanted):
        return (dict,)
    return (wanted,)
