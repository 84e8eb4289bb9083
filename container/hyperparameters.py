"""Parses the platform's strings into a frozen dataclass, by the types of its fields.

A hyperparameter's text may be raw (`adam`), JSON (`"adam"`, `[1, 2]`, `true`) or Python's `str()`
(`True`, `None`, `[1, 2]`): the platform, its SDKs and its tuner write all of them (HP-2, HP-6). A
string field keeps `007` and `1e3` unchanged.

Rules of this file: standard library only; pure; knows no hyperparameter by name.
"""

import ast
import contextlib
import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from container import contract
from container.errors import UserError

T = TypeVar("T")

_NOUNS: Final = {str: "text", bool: "true or false", int: "an integer", float: "a number"}
_OTHER_NOUN: Final = "a list of integers"
_NO_LITERAL: Final = (ValueError, SyntaxError, MemoryError, RecursionError)
BOOLEANS: Final = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
_EXACT_MAXIMUM: Final = 1 << 53  # from it on, a float may be another integer


@dataclasses.dataclass(frozen=True)
class Rule:
    """A hyperparameter's effect and possible values; the `rule` metadata of its field."""

    effect: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: Sequence[Any] = ()
    default_words: str = ""
    """What the default means, if its value does not say so."""

    def describe(self, kind: str) -> str:
        """Describe the possible values, such as `an integer from 1 to 64`."""
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        if self.low is not None and self.high is not None:
            return f"{kind} from {_format_number(self.low)} to {_format_number(self.high)}"
        if self.low is not None:
            return f"{kind} of at least {_format_number(self.low)}"
        if self.high is not None:
            return f"{kind} of at most {_format_number(self.high)}"
        return kind


def _format_number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def field(default: Any, effect: str, **rule: Any) -> Any:
    """Declare a hyperparameter with its default, its effect and the other fields of `Rule`."""
    return dataclasses.field(default=default, metadata={"rule": Rule(effect, **rule)})


def parse(cls: type[T], raw: Mapping[str, str]) -> tuple[T, list[str]]:
    """Build `cls` from the platform's strings; also return a warning for each unknown name.

    Raises: UserError that names every wrong value, what was found and what is possible, and the
    unknown names.
    """
    values, faults, warnings = read(cls, raw)
    if faults:
        raise complain(faults, warnings)
    return values, warnings


def complain(faults: Sequence[str], warnings: Sequence[str]) -> UserError:
    """Return an error that names wrong values and unknown names."""
    found = [*faults, *warnings]
    return UserError.from_faults("wrong hyperparameter" + "s" * (len(found) > 1), found)


def read(cls: type[T], raw: Mapping[str, str]) -> tuple[T, list[str], list[str]]:
    """Build `cls` without the wrong values; also return these, and a warning for unknown names."""
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    values, faults, warnings = {}, [], []
    for name, text in raw.items():
        if name in fields:
            try:
                values[name] = _decode(text, hints[name], fields[name].metadata["rule"])
            except ValueError as error:
                default = fields[name].metadata["rule"].default_words or repr(fields[name].default)
                faults.append(f"{name}={text!r}: expected {error} (default {default})")
        elif not contract.is_platform_hyperparameter(name):
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            warnings.append(f"hyperparameter {name!r} is unknown and has no effect{hint}")
    return cls(**values), faults, warnings


def format_table(cls: type) -> str:
    """Format the fields of `cls` as a Markdown table: name, type, range, default, unit, effect."""
    hints = typing.get_type_hints(cls)
    lines = ["| name | type and range | default | unit | effect |", "|---|---|---|---|---|"]
    for field in dataclasses.fields(cls):
        rule = field.metadata["rule"]
        possible = rule.describe(_NOUNS.get(_split_optional(hints[field.name])[0], _OTHER_NOUN))
        default = rule.default_words or f"`{json.dumps(field.default)}`".replace('"', "")
        lines.append(f"| `{field.name}` | {possible} | {default} | {rule.unit} | {rule.effect} |")
    return "\n".join(lines) + "\n"


def _split_optional(hint: Any) -> tuple[Any, bool]:
    """Return the type in `type | None`, and whether None is allowed."""
    if not isinstance(hint, types.UnionType):
        return hint, False
    return next(part for part in typing.get_args(hint) if part is not type(None)), True


def _decode(text: str, hint: Any, rule: Rule) -> Any:
    """Read `text` as `hint`: str, bool, int, float, tuple[int, ...], or one of them `| None`.

    Raises: ValueError whose message names the possible values.
    """
    kind, optional = _split_optional(hint)
    text = _unquote(text)
    value = _loads(text)
    if value is None and optional:
        return None
    value = _convert(value, text, kind)
    if value is None or not _obeys(value, rule):
        raise ValueError(rule.describe(_NOUNS.get(kind, _OTHER_NOUN)))
    return value


def _convert(value: Any, text: str, kind: type) -> Any:
    """Convert a decoded value to the type of its field, or None if that is impossible."""
    if kind is str:
        return text
    if isinstance(value, str) and kind in (int, float):
        value = _read_number(value)
    if kind is bool:
        return BOOLEANS.get(str(value).strip().lower())
    if kind is int:
        is_exact = isinstance(value, float) and abs(value) < _EXACT_MAXIMUM and value.is_integer()
        return int(value) if is_exact or type(value) is int else None
    return _to_float(value) if kind is float else _decode_integers(value)


def _to_float(value: Any) -> float | None:
    with contextlib.suppress(OverflowError):  # an integer that no float can hold
        if _is_number(value) and math.isfinite(value):
            return float(value)
    return None


def _loads(text: str) -> Any:
    """Decode one of the encodings of HP-2; what is none of them is text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _evaluate(text)


def _evaluate(text: str) -> Any:
    """Read what Python's `str()` writes of a constant or a collection; other text is itself."""
    if text in ("True", "False", "None") or text.startswith(("[", "(", "{")):
        with contextlib.suppress(*_NO_LITERAL):
            return ast.literal_eval(text)
    return text


def _read_number(text: str) -> int | float | None:
    """Read a number that is not JSON, such as `.5`, `5.` or `+5`, or return None."""
    if "_" in text:
        return None
    try:
        return int(text)
    except ValueError:
        with contextlib.suppress(ValueError):
            return float(text)
    return None


def _unquote(text: str) -> str:
    """Remove the quotes of JSON or Python around a text, as often as it is quoted."""
    text = text.strip()
    for read in (json.loads, ast.literal_eval):
        if text.startswith(("'", '"')):
            with contextlib.suppress(*_NO_LITERAL):
                value = read(text)
                if isinstance(value, str):
                    return _unquote(value)
    return text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _decode_integers(value: Any) -> tuple[int, ...] | None:
    if isinstance(value, str):  # 28,28,1
        value = [int(part) if part.strip().isdecimal() else part for part in value.split(",")]
    if isinstance(value, (list, tuple)) and value and all(type(part) is int for part in value):
        return tuple(value)
    return None


def _obeys(value: Any, rule: Rule) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    if rule.choices:
        return all(part in rule.choices for part in parts)
    return all(
        (rule.low is None or part >= rule.low) and (rule.high is None or part <= rule.high)
        for part in parts
        if _is_number(part)
    )
