"""Hyperparameters as texts, the way each sender writes them (HP-2, HP-3, HP-6)."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from container.errors import UserError


def guess_value(text: str) -> Any:
    """Return the JSON value that a hyperparameter's text looks like, else the text."""
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except (ValueError, RecursionError):
        return text


def encode_hyperparameters(values: Mapping[str, str], encoding: str) -> dict[str, str]:
    """Write hyperparameters as one of `ENCODINGS` does (HP-2, HP-3, HP-6).

    Raises: UserError for another encoding.
    """
    if encoding not in ENCODINGS:
        raise UserError(f"unknown encoding {encoding!r}; choose one of {', '.join(ENCODINGS)}")
    encode = ENCODINGS[encoding]
    if encode is None:
        return dict(values)
    return {name: encode(guess_value(text)) for name, text in values.items()}


def _encode_number(value: Any) -> str:
    """Write a float as Java does, 1.0E-4, and a category in quotes (HP-6)."""
    if isinstance(value, float):
        mantissa, exponent = f"{value:.15E}".split("E")
        whole, _, fraction = mantissa.rstrip("0").partition(".")
        return f"{whole}.{fraction or 0}E{int(exponent)}"
    return json.dumps(value)


ENCODINGS: dict[str, Callable[[Any], str] | None] = {
    "api": None,
    "sdk2-json": json.dumps,
    "sdk2-str": str,
    "sdk3": lambda value: value if isinstance(value, str) else json.dumps(value),
    "tuner": _encode_number,
}
"""Who writes hyperparameters, and how: the API's caller, an SDK, or a tuning job."""
