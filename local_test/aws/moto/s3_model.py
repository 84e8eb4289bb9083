"""Requests of S3 checked by botocore's model before moto sees them, as moto fails on wrong ones.

Checked are the XML of bodies, and the types of what is in the address and in headers.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from xml.etree import ElementTree as ET
from xml.parsers import expat

from botocore.utils import parse_timestamp

from local_test.aws.moto.turns import Target
from local_test.aws.protocol.messages import AwsError
from local_test.requests import shapes

_BODY_BYTES: Final = 8 * 1024**2  # ten thousand parts take two
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_IGNORED_IF_WRONG: Final = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE")
_NO_BODY_NEEDED: Final = ("CreateBucket",)
_STATEMENT: Final = ("Effect", "Principal", "Action", "Resource")
"""What each statement of a bucket policy has, or its opposite such as `NotAction`."""


@dataclass(frozen=True)
class _Operation:
    """How a request of an operation looks."""

    name: str
    method: str
    level: int
    """0 for the service, 1 for a bucket, 2 for an object."""
    words: frozenset[str]
    """What must be in the address: its own words, and the names of required members."""
    headers: frozenset[str]
    """Names of required headers, as in WSGI."""
    shape: Any


def check(target: Target, environ: dict[str, Any]) -> None:
    """Check a request, and leave out headers that S3 ignores when they are wrong.

    Raises: AwsError.
    """
    operation = _find(target, environ)
    if operation is None or operation.shape is None:
        return
    for shape, name, value in _list_arguments(operation.shape, target, environ):
        if name == "Range":
            if not _is_range(value):
                del environ["HTTP_RANGE"]
        elif fault := _find_fault(shape, value):
            key = "HTTP_" + name.upper().replace("-", "_")
            if key not in _IGNORED_IF_WRONG:
                raise AwsError("InvalidArgument", f"{name}: {fault}")
            del environ[key]
    if "HTTP_X_AMZ_COPY_SOURCE" in environ and not all(target.source.partition("/")):
        message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
        raise AwsError("InvalidArgument", message)
    _check_body(operation, environ)


def _find(target: Target, environ: Mapping[str, Any]) -> _Operation | None:
    """Return the operation that fits a request best."""
    level = 2 if target.key else min(len(target.bucket), 1)
    fitting = [
        operation
        for operation in _list_operations()
        if (operation.method, operation.level) == (target.method, level)
        and operation.words <= target.query.keys()
        and all(environ.get(name) for name in operation.headers)
    ]
    if not fitting:
        return None
    return max(fitting, key=lambda item: (len(item.words), len(item.headers)))


@functools.cache
def _list_operations() -> list[_Operation]:
    model = shapes.service_model("s3")
    found = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        path, _, query = operation.http["requestUri"].partition("?")
        words = {word.partition("=")[0] for word in query.split("&") if word}
        headers = set()
        shape = operation.input_shape
        for member in shape.required_members if shape else ():
            place = shape.members[member].serialization
            if place.get("location") == "querystring":
                words.add(place["name"])
            elif place.get("location") == "header":
                headers.add("HTTP_" + place["name"].upper().replace("-", "_"))
        level = path.count("{")
        found.append(
            _Operation(
                name, operation.http["method"], level, frozenset(words), frozenset(headers), shape
            )
        )
    return found


def _list_arguments(
    shape: Any, target: Target, environ: Mapping[str, Any]
) -> Iterator[tuple[Any, str, str]]:
    """Yield the arguments in the address and in headers: shape, name and value."""
    for member in shape.members.values():
        name = member.serialization.get("name", "")
        location = member.serialization.get("location")
        if location == "querystring":
            for value in target.query.get(name, ()):
                yield member, name, value
        elif location == "header":
            value = environ.get("HTTP_" + name.upper().replace("-", "_"))
            if value is not None and name not in ("Content-Length", "Content-Type"):
                yield member, name, value


def _is_range(value: str) -> bool:
    found = _RANGE.fullmatch(value)
    if found is None or found.groups() == ("", ""):
        return False
    first, last = found.groups()
    return not (first and last) or int(first) <= int(last)


def _find_fault(shape: Any, text: str) -> str | None:
    """Return what is wrong with a value, or None."""
    kind = shape.type_name
    if kind in ("integer", "long") and not _INTEGER.fullmatch(text):
        return f"{text[:100]!r} is not a whole number"
    if kind in ("integer", "long") and int(text) < 0:
        return f"{text} is negative"
    if kind == "boolean" and text.lower() not in ("true", "false"):
        return f"{text[:100]!r} is not true or false"
    if kind == "timestamp":
        try:
            parse_timestamp(text)
        except (ValueError, OverflowError):
            return f"{text[:100]!r} is not a time"
    if kind == "string" and text not in (shape.enum or [text]):
        return f"{text[:100]!r} is not one of {', '.join(shape.enum)}"
    return None


def _check_body(operation: _Operation, environ: dict[str, Any]) -> None:
    """Check the body of an operation that takes a document. Raises: AwsError."""
    payload = operation.shape.serialization.get("payload")
    if operation.name == "PutBucketPolicy":
        _check_policy(_read(environ))
        return
    if payload is None:
        members = [item for item in operation.shape.members.values() if not _location(item)]
        if members:
            _refuse_faults(operation.shape, _parse(_read(environ)))
        return
    shape = operation.shape.members[payload]
    if shape.type_name != "structure":
        return
    body = _read(environ)
    if body or not _needs_no_body(operation.name, environ):
        root = _parse(body)
        wanted = shape.serialization.get("name", payload)
        if _strip(root.tag) != wanted:
            _malformed(f"the root is {_strip(root.tag)[:100]!r}, expected {wanted!r}")
        _refuse_faults(shape, root)


def _needs_no_body(operation: str, environ: Mapping[str, Any]) -> bool:
    if operation.endswith("Acl"):
        return any(name.startswith(("HTTP_X_AMZ_ACL", "HTTP_X_AMZ_GRANT")) for name in environ)
    return operation in _NO_BODY_NEEDED


def _read(environ: dict[str, Any]) -> bytes:
    if int(environ.get("CONTENT_LENGTH") or 0) > _BODY_BYTES:
        raise AwsError("EntityTooLarge", f"a document has at most {_BODY_BYTES} bytes")
    stream = environ["wsgi.input"]
    body: bytes = stream.read(_BODY_BYTES)
    stream.seek(0)
    return body


def _check_policy(body: bytes) -> None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise AwsError("MalformedPolicy", "Policies must be valid JSON and the first byte '{'")
    if missing := _find_missing(document):
        raise AwsError("MalformedPolicy", f"Missing required field {missing}")


def _find_missing(policy: Mapping[str, Any]) -> str:
    """Return the first field that a bucket policy lacks; moto fails on it in later requests."""
    found = policy.get("Statement")
    statements: list[Any] = found if isinstance(found, list) else [found]
    if not statements or not all(isinstance(item, dict) for item in statements):
        return "Statement"
    for statement in statements:
        for name in _STATEMENT:
            if name not in statement and f"Not{name}" not in statement:
                return name
    return ""


def _parse(body: bytes) -> ET.Element:
    """Parse a document in UTF-8 without a document type, as S3 takes no other.

    Raises: AwsError MalformedXML.
    """

    def refuse_type(*_: Any) -> NoReturn:
        _malformed("a document type is not accepted")

    try:
        body.decode()
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = refuse_type
        parser.Parse(body, True)  # noqa: FBT003 - positional in expat
        return ET.fromstring(body)  # noqa: S314 - entities need a document type
    except (expat.ExpatError, ET.ParseError, ValueError) as error:
        _malformed(str(error))


def _malformed(what: str) -> NoReturn:
    message = f"The XML you provided was not well-formed or did not validate: {what}"
    raise AwsError("MalformedXML", message)


def _refuse_faults(shape: Any, element: ET.Element) -> None:
    fault = next(_find_faults(shape, element, _strip(element.tag)), None)
    if fault is not None:
        _malformed(fault)


def _find_faults(shape: Any, element: ET.Element, path: str) -> Iterator[str]:
    """Yield what is wrong with an element and below; no deeper than the shape."""
    if shape.type_name == "structure":
        yield from _find_faults_of_members(shape, element, path)
    elif shape.type_name == "list":
        name = shape.member.serialization.get("name", "member")
        for child in element:
            if _strip(child.tag) != name:
                yield f"{path}: expected {name!r}, found {_strip(child.tag)[:100]!r}"
            yield from _find_faults(shape.member, child, f"{path}/{name}")
    elif len(element):
        yield f"{path}: has children"
    elif fault := _find_fault(shape, (element.text or "").strip()):
        yield f"{path}: {fault}"


def _find_faults_of_members(shape: Any, element: ET.Element, path: str) -> Iterator[str]:
    known = {
        _element_name(name, member): (name, member)
        for name, member in shape.members.items()
        if not _location(member) and "xmlAttribute" not in member.serialization
    }
    found = {_strip(child.tag) for child in element}
    for name, (member, _) in known.items():
        if member in shape.required_members and name not in found:
            yield f"{path}: {name} is missing"
    for child in element:
        name = _strip(child.tag)
        if name not in known:
            yield f"{path}: {name[:100]!r} is not known"
            continue
        member = known[name][1]
        if member.type_name == "list" and member.serialization.get("flattened"):
            member = member.member
        yield from _find_faults(member, child, f"{path}/{name}")


def _element_name(name: str, shape: Any) -> str:
    """Return the element of a member; a flattened list is a repeated element."""
    if shape.type_name == "list" and shape.serialization.get("flattened"):
        name = shape.member.serialization.get("name") or shape.serialization.get("name", name)
        return str(name)
    return str(shape.serialization.get("name", name))


def _location(shape: Any) -> Any:
    return shape.serialization.get("location")


def _strip(tag: str) -> str:
    return tag.rpartition("}")[2]
