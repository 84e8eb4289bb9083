"""The parts of a multipart body: what their heads say, and their content."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from container.errors import RequestError
from container.serving.records import counts

_HEAD_BYTES_MAXIMUM: Final = 8192
_TYPE: Final = re.compile(rb"^content-type:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_FILE_NAME: Final = re.compile(
    rb'^content-disposition:[^\r\n]*?;[ \t]*filename="?([^"\r\n;]*)', re.IGNORECASE | re.MULTILINE
)


class Part(NamedTuple):
    """One part of a body."""

    content_type: str
    """As its head says; empty if it says nothing."""
    file_name: str
    content: memoryview


def split(body: bytes, parameters: Mapping[str, str]) -> Iterator[Part]:
    """Yield the parts in their order; `parameters` are those of the body's content type.

    Raises: RequestError 400 if there is no boundary or no part, the head of one is too long, or the
    closing boundary is missing; 413 if there are too many parts.
    """
    boundary = parameters.get("boundary", "")
    if not boundary:
        raise RequestError(400, "the content type multipart/form-data has no boundary")
    for head, content in _split(body, boundary):
        found = _TYPE.search(head)
        file = _FILE_NAME.search(head)
        yield Part(
            found[1].decode("latin-1") if found else "",
            file[1].decode("utf-8", "replace") if file else "",
            content,
        )


def _split(body: bytes, boundary: str) -> Iterator[tuple[bytes, memoryview]]:
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    end = body.find(delimiter)
    if body.startswith(delimiter[2:]):  # nothing, not even a line, comes before the first part
        end = -2
    last = max(end, body.rfind(delimiter))
    if end == last or not body.startswith(b"--", last + len(delimiter)):
        message = "the multipart body holds no part, or its closing boundary is missing"
        raise RequestError(400, message)
    counts.check_parts(body.count(delimiter, max(end, 0), last), "parts")
    number = 0
    while end < last:
        number += 1
        start = end + len(delimiter)
        end = body.find(delimiter, start)
        head_end = body.find(b"\r\n\r\n", start, end)
        head_end = end if head_end < 0 else head_end
        if head_end - start > _HEAD_BYTES_MAXIMUM:
            found = f"part {number} has a head of {head_end - start} bytes"
            raise RequestError(400, f"{found}; {_HEAD_BYTES_MAXIMUM} are allowed")
        yield body[start:head_end], memoryview(body)[head_end + 4 : end]
