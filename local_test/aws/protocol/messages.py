"""AWS's JSON protocols, driven by botocore's service models: requests in, answers and errors out.

An operation is a function from a validated `dict` to a `dict`, in the names of the API; times are
seconds since the epoch. This module words faults as the service does, and shapes the answers.
"""

import base64
import datetime as dt
import html
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from local_test.requests import shapes
from local_test.requests.shapes import Fault, Path

_DEPTH = 50  # the API's own documents have a dozen levels
_BODY_BYTES = 128 * 1024**2  # kept in memory; objects of S3 are not
JSON_1_1 = "application/x-amz-json-1.1"
_JSON_TYPES = {
    dict: "a structure",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    type(None): "null",
}
_WANTED = {
    **dict.fromkeys(("structure", "map"), "a structure"),
    **dict.fromkeys(("integer", "long"), "a whole number"),
    **dict.fromkeys(("float", "double"), "a number"),
    **{kind: f"a {kind}" for kind in ("list", "string", "boolean")},
    "timestamp": "a time",
    "blob": "bytes in base64",
}


class AwsError(Exception):
    """What a client sees of a refused request."""

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        """`code` is the API's name of the error; `members` are further fields of its shape."""
        super().__init__(message)
        self.code, self.message, self.status, self.members = code, message, status, members


def reject(message: str) -> NoReturn:
    """Refuse a request that is well-formed and wrong. Raises: AwsError ValidationException."""
    raise AwsError("ValidationException", message)


def refuse_excerpt(request: Mapping[str, Any]) -> None:
    """Refuse to leave out what a KMS key protects on AWS."""
    if request.get("IncludedData", "AllData") != "AllData":
        reject("IncludedData MetadataOnly is not emulated; leave it out.")


@dataclass
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def read_body(environ: Mapping[str, Any]) -> bytes:
    """Return the body of a WSGI request, which can be read again.

    Raises: AwsError RequestEntityTooLarge before it takes more memory than any API needs.
    """
    size = int(environ.get("CONTENT_LENGTH") or 0)
    if size > _BODY_BYTES:
        message = f"the body has {size} bytes; at most {_BODY_BYTES} are allowed"
        raise AwsError("RequestEntityTooLarge", message, 413)
    body: bytes = environ["wsgi.input"].read(size)
    environ["wsgi.input"].seek(0)
    return body


def parse(service: str, operation: str, body: bytes) -> dict[str, Any]:
    """Validate the body of a JSON 1.1 request; times become seconds since the epoch.

    Raises: AwsError SerializationException for a body that is not JSON or a value of another type,
    ValidationException for broken constraints; it lists all of them.
    """
    request = load(body)
    shape = shapes.input_shape(operation, service)
    if shape is None:
        return {}
    return validate(shape, request)


def load(body: bytes) -> dict[str, Any]:
    """Load a request body that must be a JSON object.

    Raises: AwsError SerializationException if it is not.
    """
    try:
        request = json.loads(body or b"{}", parse_constant=_refuse_constant)
        if b"\\ud" in body.lower() or b"\xed" in body:  # half of a pair of surrogates is not text
            json.dumps(request, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise AwsError(
            "SerializationException", f"the request body is not JSON: {error}"
        ) from error
    if isinstance(request, dict | list) and _is_deeper(request, _DEPTH):
        message = f"the request body is nested more than {_DEPTH} levels deep"
        raise AwsError("SerializationException", message)
    if not isinstance(request, dict):
        raise AwsError(
            "SerializationException", f"Start of structure expected, found {_name_type(request)}"
        )
    return request


def _is_deeper(value: Any, depth: int) -> bool:
    """Return whether lists and objects are nested more than `depth` levels deep."""
    level = [value]
    for _ in range(depth):
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


def validate(shape: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Check an input against its shape; see `parse`."""
    value, faults = shapes.read(shape, request)
    for fault in faults:
        if fault.rule in ("type", "32 bits", "64 bits"):
            raise AwsError("SerializationException", _describe_type(fault))
    if faults:
        count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected"
        reject(f"{count}: {'; '.join(map(_describe, faults))}")
    parsed: dict[str, Any] = value
    return parsed


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _name_type(value: Any) -> str:
    return _JSON_TYPES.get(type(value), "a number")


def _describe_type(fault: Fault) -> str:
    path = _format_path(fault.path)
    if fault.rule != "type":
        return f"{path}: {str(fault.found)[:40]} does not fit {fault.rule}"
    return f"{path}: {_name_type(fault.found)} can not be converted to {_WANTED[fault.bound]}"


def _describe(fault: Fault) -> str:
    """Word a fault as the service does."""
    found = fault.found
    if fault.rule in ("required", "unknown", "one member"):
        shown = "Value null" if fault.rule == "required" else "Value"
    else:
        text = found if isinstance(found, str) else json.dumps(found, default=str)
        shown = f"Value '{text if len(text) <= 256 else text[:253] + '...'}'"
    noun = "length" if isinstance(found, str | list | dict) else "value"
    constraint = {
        "required": "Member must not be null",
        "unknown": "Member is unknown to this version of the API",
        "one member": "Exactly one member must be set",
        "minimum": f"Member must have {noun} greater than or equal to {fault.bound}",
        "maximum": f"Member must have {noun} less than or equal to {fault.bound}",
        "pattern": f"Member must satisfy regular expression pattern: {fault.bound}",
    }
    if fault.rule == "choice":
        constraint["choice"] = f"Member must satisfy enum value set: [{', '.join(fault.bound)}]"
    place = f"{shown} at '{_format_path(fault.path)}'"
    return f"{place} failed to satisfy constraint: {constraint[fault.rule]}"


def _format_path(path: Path) -> str:
    parts = []
    for step in path:
        if step.kind == "member":
            name = str(step.name)
            parts.append(name[:1].lower() + name[1:])
        elif step.kind == "item":
            parts.append(f"{int(step.name) + 1}.member")
        else:
            parts.append(f"{step.name}.{step.kind}")
    return ".".join(parts)


def pick(shape: Any, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a record that are members of a shape."""
    return {name: record[name] for name in shape.members if record.get(name) is not None}


def output_shape(operation: str, service: str = "sagemaker") -> Any:
    """Return the shape of an operation's answer."""
    return shapes.service_model(service).operation_model(operation).output_shape


def summary_shape(operation: str, member: str) -> Any:
    """Return the shape of one entry of a list answer."""
    return output_shape(operation).members[member].member


def serialize(shape: Any, value: Any) -> Any:
    """Turn an answer into JSON values: times as numbers, bytes as base64.

    Raises: ValueError if the answer has a member that the shape does not.
    """
    kind = shape.type_name
    if kind == "structure":
        unknown = value.keys() - shape.members.keys()
        if unknown:
            raise ValueError(f"{shape.name} has no member {sorted(unknown)}")
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
    """Return a time, as seconds or in ISO 8601, as seconds since the epoch."""
    return dt.datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)


def answer(service: str, operation: str, result: Mapping[str, Any] | None) -> Reply:
    """Make the JSON 1.1 answer of an operation; one without output has an empty body."""
    shape = output_shape(operation, service)
    body = b""
    if shape is not None:
        body = json.dumps(serialize(shape, result or {}), allow_nan=False).encode()
    return Reply(200, body, {"Content-Type": JSON_1_1, "x-amzn-RequestId": str(uuid.uuid4())})


def refuse_as_xml(error: AwsError, service: str) -> Reply:
    """Make the answer of an error of S3, or of a service of the older query protocol."""
    request_id = str(uuid.uuid4())
    code, message = html.escape(error.code), html.escape(error.message, quote=False)
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
    """Make the answer of an error: REST names it in a header, JSON 1.1 in the body."""
    headers = {"Content-Type": JSON_1_1, "x-amzn-RequestId": str(uuid.uuid4())}
    document: dict[str, Any] = {"message": error.message, **error.members, "__type": error.code}
    if is_rest:
        headers |= {"Content-Type": "application/json", "x-amzn-ErrorType": error.code}
        document = {"Message": error.message, **error.members}
    return Reply(error.status, json.dumps(document).encode(), headers)
