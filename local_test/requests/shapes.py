"""The services' own shapes, from botocore's models: read a request by them and list its faults.

A fault is data: where it is, which rule is broken, what was found, and what the rule allows.
`validation` words faults for people who write requests; `aws.protocol.messages` words them as the
service does. A constraint is read from the model, never written here.
"""

import base64
import datetime as dt
import functools
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

Rule = Literal[
    "type",
    "32 bits",
    "64 bits",
    "required",
    "unknown",
    "minimum",
    "maximum",
    "choice",
    "pattern",
    "one member",
]

_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float, str),
    "blob": str,
}
_S3_URI_PATTERN: Final = "(https|s3)://"
_MARKS: Final = r"!-/:-@\[-`{-~\u00a1-\u00bf\u2010-\u2bff\u3000-\u303f"
_JAVA_SPELLINGS: Final = {
    r"\p{ASCII}*": r"[\x00-\x7f]*",
    r"\z": r"\Z",
    r"[\p{Print}]": r"[\x20-\x7e]",
    r"\p{Print}": r"[\x20-\x7e]",
    r"\p{P}": _MARKS,
    r"\p{S}": _MARKS,
    r"[\w-_]": r"[\w\-_]",
    r"\p{L}": r"\w",
    r"\p{M}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{ASCII}": r"\x00-\x7f",
    # Java writes the characters beyond 16 bits as surrogates.
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",
}


class Step(NamedTuple):
    """A step on the path to a value: a member, an item's index, a map's key, or its value."""

    kind: Literal["member", "item", "key", "value"]
    name: str | int


Path = tuple[Step, ...]


@dataclass(frozen=True)
class Fault:
    """One thing in a request that the model does not allow."""

    path: Path
    rule: Rule
    found: Any
    bound: Any = None
    """What the rule allows: a type's name, a limit, the choices, a pattern, the known members."""


@functools.cache
def service_model(name: str = "sagemaker") -> Any:
    """Load the model of one service, such as `sagemaker-runtime` (a quarter of a second, once)."""
    from botocore import loaders, model  # noqa: PLC0415 - takes 0.2 s to import

    return model.ServiceModel(loaders.Loader().load_service_model(name, "service-2"))


def input_shape(operation: str, service: str = "sagemaker") -> Any:
    """Return the shape of an operation's request, or None if it takes no input."""
    return service_model(service).operation_model(operation).input_shape


def find_input_shape(operation: str) -> Any:
    """Return the shape of a request of SageMaker, its runtime or its metrics."""
    for service in ("sagemaker", "sagemaker-runtime", "sagemaker-metrics"):
        if operation in service_model(service).operation_names:
            return input_shape(operation, service)
    raise KeyError(operation)


def read(shape: Any, value: Any, *, is_handwritten: bool = False) -> tuple[Any, list[Fault]]:
    """Read a request by its shape.

    Return it with times as seconds since the epoch, blobs as bytes and without null members, and
    every fault; with faults, the request is incomplete. In a handwritten request nothing may be
    null, and `file:///...` may replace an `s3://` URI.
    """
    reader = _Reader(is_handwritten=is_handwritten)
    return reader.read(shape, value, ()), reader.faults


class _Reader:
    def __init__(self, *, is_handwritten: bool) -> None:
        self._is_handwritten = is_handwritten
        self.faults: list[Fault] = []

    def read(self, shape: Any, value: Any, path: Path) -> Any:
        kind = shape.type_name
        if not _is_of_type(kind, value):
            self.faults.append(Fault(path, "type", value, kind))
            return None
        if kind == "structure":
            return self._read_structure(shape, value, path)
        if kind == "list":
            self._check_size(shape, len(value), value, path)
            return [
                self.read(shape.member, item, (*path, Step("item", index)))
                for index, item in enumerate(value)
            ]
        if kind == "map":
            self._check_size(shape, len(value), value, path)
            for key in value:
                self.read(shape.key, key, (*path, Step("key", key)))
            return {
                key: self.read(shape.value, item, (*path, Step("value", key)))
                for key, item in value.items()
            }
        return self._read_scalar(shape, value, path)

    def _read_structure(self, shape: Any, value: dict[str, Any], path: Path) -> dict[str, Any]:
        result = {}
        for name in shape.required_members:
            if name not in value or (value[name] is None and not self._is_handwritten):
                self.faults.append(Fault((*path, Step("member", name)), "required", None))
        for name, item in value.items():
            place = (*path, Step("member", name))
            if name not in shape.members:
                # The service itself drops what it does not know; here nothing is dropped silently.
                if name != "__type":
                    self.faults.append(Fault(place, "unknown", item, tuple(shape.members)))
            elif item is not None or self._is_handwritten:
                result[name] = self.read(shape.members[name], item, place)
        if getattr(shape, "is_tagged_union", False) and len(result) != 1:
            self.faults.append(Fault(path, "one member", value, tuple(shape.members)))
        return result

    def _read_scalar(self, shape: Any, value: Any, path: Path) -> Any:
        kind = shape.type_name
        if kind in _CONVERSIONS:
            try:
                return _CONVERSIONS[kind](value)
            except (ValueError, OverflowError, OSError):
                self.faults.append(Fault(path, "type", value, kind))
        elif kind == "string":
            self._check_text(shape, value, path)
        elif kind == "integer" and not -(2**31) <= value < 2**31:
            self.faults.append(Fault(path, "32 bits", value))
        elif kind in ("float", "double") and abs(value) > sys.float_info.max:
            self.faults.append(Fault(path, "64 bits", value))
        elif kind != "boolean":
            self._check_size(shape, value, value, path)
        return value

    def _check_size(self, shape: Any, size: float, value: Any, path: Path) -> None:
        low = shape.metadata.get("min")
        high = shape.metadata.get("max")
        if low is not None and size < low:
            self.faults.append(Fault(path, "minimum", value, low))
        if high is not None and size > high:
            self.faults.append(Fault(path, "maximum", value, high))

    def _check_text(self, shape: Any, value: str, path: Path) -> None:
        self._check_size(shape, len(value), value, path)
        if shape.enum and value not in shape.enum:
            self.faults.append(Fault(path, "choice", value, tuple(shape.enum)))
        pattern = shape.metadata.get("pattern")
        if pattern is None or compile_pattern(pattern).fullmatch(value):
            return
        is_file = pattern.startswith(_S3_URI_PATTERN) and value.startswith("file:///")
        if not (is_file and self._is_handwritten):
            self.faults.append(Fault(path, "pattern", value, pattern))


def _is_of_type(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _read_time(value: float | str) -> float:
    if isinstance(value, str):
        parsed = dt.datetime.fromisoformat(value)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)).timestamp()
    return dt.datetime.fromtimestamp(value, dt.UTC).timestamp()  # refuses what no calendar has


_CONVERSIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "timestamp": _read_time,
    "blob": functools.partial(base64.b64decode, validate=True),
}


@functools.cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of the model, which is written for Java: `re` has no Unicode classes."""
    for java, python in _JAVA_SPELLINGS.items():
        pattern = pattern.replace(java, python)
    # Some patterns of the model end with a length that does not belong to them.
    return re.compile(re.sub(r"\$\{\d+,\d+\}$", "", pattern), re.DOTALL)
