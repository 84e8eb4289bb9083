"""AWS's JSON protocols, driven by botocore's service models: requests in, answers and errors out.

An operation is a function of a validated `dict` to a `dict`, in the names of the API; times are
seconds since the epoch. This module does the rest: constraints and their messages as the service
words them, and the shape of answers.

Rules of this file: pure but for loading models; a constraint is read from the model, never written
here.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from xml.sax import saxutils

import botocore.loaders
import botocore.model

from local_test.requests import validation

JSON_1_1 = "application/x-amz-json-1.1"
_NUMBERS = ("integer", "long", "float", "double")
_MARKS = r"!-/:-@\[-`{-~\u00a1-\u00bf\u2010-\u2bff\u3000-\u303f"
_JAVA_SPELLINGS = {
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
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",  # surrogates are Java's spelling of all that is beyond
}


class AwsError(Exception):
    """What a client sees of a refused request."""

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        """`code` is the API's name of the error; `members` are further fields of its shape."""
        super().__init__(message)
        self.code, self.message, self.status, self.members = code, message, status, members


def reject(message: str) -> NoReturn:
    """Refuse a request that is well-formed and wrong.

    Raises: AwsError ValidationException.
    """
    raise AwsError("ValidationException", message)


@dataclass
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@functools.cache
def service_model(name: str) -> botocore.model.ServiceModel:
    """Load the model of one service, such as `sagemaker-runtime`."""
    if name == "sagemaker":
        return validation.service_model()
    return botocore.model.ServiceModel(
        botocore.loaders.Loader().load_service_model(name, "service-2")
    )


def parse(service: str, operation: str, body: bytes) -> dict[str, Any]:
    """Turn the body of a JSON 1.1 request into its validated input; times become seconds since the epoch.

    Raises: AwsError SerializationException for what is no JSON or of another type,
    ValidationException for what breaks constraints; it names all of them.
    """
    request = load(body)
    shape = service_model(service).operation_model(operation).input_shape
    return {} if shape is None else validate(shape, request)


def load(body: bytes) -> dict[str, Any]:
    """Load a request body that must be a JSON object.

    Raises: AwsError SerializationException if it is not.
    """
    try:
        request = json.loads(body or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise AwsError(
            "SerializationException", f"the request body is not JSON: {error}"
        ) from error
    if not isinstance(request, dict):
        raise AwsError(
            "SerializationException", f"Start of structure expected, found {_describe(request)}"
        )
    return request


def validate(shape: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Check an input against its shape; see `parse`."""
    faults: list[str] = []
    value: dict[str, Any] = _walk(shape, request, "", faults)
    if faults:
        count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected"
        reject(f"{count}: {'; '.join(faults)}")
    return value


def _refuse_constant(text: str) -> float:
    message = f"{text} is no JSON number"
    raise ValueError(message)


def _describe(value: Any) -> str:
    names = {
        dict: "a structure",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
    }
    return names.get(type(value), "a number")


def _walk(shape: Any, value: Any, path: str, faults: list[str]) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _walk_structure(shape, _expect(value, dict, path), path, faults)
    if kind == "list":
        items = _expect(value, list, path)
        _check_range(shape, len(items), "length", (value, path), faults)
        return [
            _walk(shape.member, item, f"{path}.{index + 1}.member", faults)
            for index, item in enumerate(items)
        ]
    if kind == "map":
        entries = _expect(value, dict, path)
        _check_range(shape, len(entries), "length", (value, path), faults)
        for key in entries:
            _check_text(shape.key, key, f"{path}.{key}.key", faults)
        return {
            key: _walk(shape.value, item, f"{path}.{key}.value", faults)
            for key, item in entries.items()
        }
    return _walk_scalar(shape, value, path, faults)


def _walk_scalar(shape: Any, value: Any, path: str, faults: list[str]) -> Any:
    kind = shape.type_name
    if kind == "boolean":
        return _expect(value, bool, path)
    if kind == "timestamp":
        return _parse_time(value, path)
    if kind == "blob":
        return _parse_blob(value, path)
    if kind in _NUMBERS:
        _check_range(shape, _expect_number(kind, value, path), "value", (value, path), faults)
        return value
    _check_text(shape, _expect(value, str, path), path, faults)
    return value


def _walk_structure(
    shape: Any, value: dict[str, Any], path: str, faults: list[str]
) -> dict[str, Any]:
    faults += [
        f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
        for name in shape.required_members
        if value.get(name) is None
    ]
    # The service itself drops what it does not know; here nothing is dropped in silence.
    faults += [
        f"Value at '{_join(path, name)}' failed to satisfy constraint: Member is unknown to this version of the API"
        for name in value
        if name not in shape.members and name != "__type"
    ]
    result = {
        name: _walk(shape.members[name], item, _join(path, name), faults)
        for name, item in value.items()
        if name in shape.members and item is not None
    }
    if getattr(shape, "is_tagged_union", False) and len(result) != 1:
        faults.append(
            f"Value at '{path}' failed to satisfy constraint: Exactly one member must be set"
        )
    return result


def _join(path: str, name: str) -> str:
    own = name[:1].lower() + name[1:]
    return f"{path}.{own}" if path else own


def _expect(value: Any, kind: type, path: str) -> Any:
    if not isinstance(value, kind):
        wanted = {dict: "a structure", list: "a list", str: "a string", bool: "a boolean"}[kind]
        raise AwsError(
            "SerializationException", f"{path}: {_describe(value)} can not be converted to {wanted}"
        )
    return value


def _expect_number(kind: str, value: Any, path: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (kind in ("integer", "long") and not isinstance(value, int)):
        wanted = "a whole number" if kind in ("integer", "long") else "a number"
        raise AwsError(
            "SerializationException", f"{path}: {_describe(value)} can not be converted to {wanted}"
        )
    if kind == "integer" and not -(2**31) <= value < 2**31:
        raise AwsError("SerializationException", f"{path}: {value} does not fit 32 bits")
    return float(value)


def _parse_time(value: Any, path: str) -> float:
    try:
        if isinstance(value, str):
            parsed = dt.datetime.fromisoformat(value)
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)).timestamp()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return dt.datetime.fromtimestamp(
                value, dt.UTC
            ).timestamp()  # refuses what no calendar has
    except (ValueError, OverflowError, OSError):
        pass
    raise AwsError("SerializationException", f"{path}: {value!r} can not be converted to a time")


def _parse_blob(value: Any, path: str) -> bytes:
    try:
        return base64.b64decode(_expect(value, str, path), validate=True)
    except binascii.Error as error:
        raise AwsError("SerializationException", f"{path}: {error}") from error


def _check_range(
    shape: Any, size: float, noun: str, place: tuple[Any, str], faults: list[str]
) -> None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    for limit, word, is_broken in (
        (low, "greater", low is not None and size < low),
        (high, "less", high is not None and size > high),
    ):
        if is_broken:
            faults.append(
                f"{_quote(*place)}: Member must have {noun} {word} than or equal to {limit}"
            )


def _check_text(shape: Any, value: str, path: str, faults: list[str]) -> None:
    _check_range(shape, len(value), "length", (value, path), faults)
    if shape.enum and value not in shape.enum:
        faults.append(
            f"{_quote(value, path)}: Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        )
    pattern = shape.metadata.get("pattern")
    if pattern and not compile_pattern(pattern).fullmatch(value):
        faults.append(
            f"{_quote(value, path)}: Member must satisfy regular expression pattern: {pattern}"
        )


def _quote(value: Any, path: str) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    shown = text if len(text) <= 256 else text[:253] + "..."
    return f"Value '{shown}' at '{path}' failed to satisfy constraint"


@functools.cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of the model, which is Java's: `re` knows no Unicode classes."""
    for java, python in _JAVA_SPELLINGS.items():
        pattern = pattern.replace(java, python)
    return re.compile(
        re.sub(r"\$\{\d+,\d+\}$", "", pattern), re.DOTALL
    )  # a length that slipped in behind the end


def pick(shape: Any, record: Mapping[str, Any]) -> dict[str, Any]:
    """Give those entries of a record that a shape has as members."""
    return {name: record[name] for name in shape.members if record.get(name) is not None}


def output_shape(operation: str, service: str = "sagemaker") -> Any:
    """Give the shape of an operation's answer."""
    return service_model(service).operation_model(operation).output_shape


def summary_shape(operation: str, member: str) -> Any:
    """Give the shape of one entry of a list answer."""
    return output_shape(operation).members[member].member


def serialize(shape: Any, value: Any) -> Any:
    """Turn an answer into what JSON can say: times as numbers, bytes as base64; what the shape lacks is a bug.

    Raises: ValueError if the answer has a member that the shape does not.
    """
    kind = shape.type_name
    if kind == "structure":
        unknown = value.keys() - shape.members.keys()
        if unknown:
            message = f"{shape.name} has no member {sorted(unknown)}"
            raise ValueError(message)
        return {
            name: serialize(shape.members[name], item)
            for name, item in value.items()
            if item is not None
        }
    if kind == "list":
        return [serialize(shape.member, item) for item in value]
    if kind == "map":
        return {key: serialize(shape.value, item) for key, item in value.items()}
    if kind == "timestamp":
        return to_seconds(value)
    if kind == "blob":
        return base64.b64encode(value).decode("ascii")
    return value


def to_seconds(value: Any) -> float:
    """Give a time, whether seconds or ISO 8601 as the harness writes it, as seconds since the epoch."""
    return dt.datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)


def answer(service: str, operation: str, result: Mapping[str, Any] | None) -> Reply:
    """Make the JSON 1.1 answer of an operation; one without output has an empty body."""
    shape = output_shape(operation, service)
    body = (
        b""
        if shape is None
        else json.dumps(serialize(shape, result or {}), allow_nan=False).encode()
    )
    return Reply(200, body, {"Content-Type": JSON_1_1, "x-amzn-RequestId": str(uuid.uuid4())})


def refuse_as_xml(error: AwsError, service: str) -> Reply:
    """Make the answer of an error of S3, or of a service of the older query protocol."""
    request_id = str(uuid.uuid4())
    code, message = saxutils.escape(error.code), saxutils.escape(error.message)
    inner = f"<Code>{code}</Code><Message>{message}</Message>"
    document = f"<Error>{inner}<RequestId>{request_id}</RequestId></Error>"
    if service != "s3":
        kind = "Sender" if error.status < 500 else "Receiver"
        body = f"<Error><Type>{kind}</Type>{inner}</Error><RequestId>{request_id}</RequestId>"
        document = f"<ErrorResponse>{body}</ErrorResponse>"
    return Reply(
        error.status,
        document.encode(),
        {"Content-Type": "text/xml", "x-amzn-RequestId": request_id},
    )


def refuse(error: AwsError, *, is_rest: bool = False) -> Reply:
    """Make the answer of an error; the REST protocol names it in a header, the other one in the body."""
    headers = {
        "Content-Type": "application/json" if is_rest else JSON_1_1,
        "x-amzn-RequestId": str(uuid.uuid4()),
    }
    document: dict[str, Any] = {"Message" if is_rest else "message": error.message, **error.members}
    if is_rest:
        headers["x-amzn-ErrorType"] = error.code
    else:
        document["__type"] = error.code
    return Reply(error.status, json.dumps(document).encode(), headers)
