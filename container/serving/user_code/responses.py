"""What user code answers, checked once, where it becomes a response (SEC-7).

A value that HTTP cannot carry would otherwise fail on the event loop, or be read by the client as
another response.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from container.serving.exchange import Response

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OF_THE_SERVER: Final = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_WITHOUT_BODY: Final = frozenset({204, 205, 304})


class ResponseError(Exception):
    """User code answered what no HTTP response can be."""


def make(
    status: int | None, body: bytes, content_type: Any, headers: Mapping[Any, Any]
) -> Response:
    """Build the response; a status of None is 200.

    Raises: ResponseError naming the status or the header that cannot be sent.
    """
    if status is None:
        status = 200
    if not 200 <= status <= 599:
        message = f"the handler set the status {status}; 200 to 599 are possible"
        raise ResponseError(message)
    if body and status in _WITHOUT_BODY:
        message = f"the handler set the status {status} and returned a body, which it cannot have"
        raise ResponseError(message)
    if not isinstance(content_type, str):
        found = type(content_type).__name__
        message = f"the handler returned a {found} as the content type; a string is expected"
        raise ResponseError(message)
    _check_value("Content-Type", content_type)
    checked = []
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            message = f"the handler set a header named {str(name)[:80]!r}, which is not a name"
            raise ResponseError(message)
        if name.lower() in _OF_THE_SERVER:
            message = f"the handler set the header {name}, which only the server may set"
            raise ResponseError(message)
        text = str(value)
        _check_value(name, text)
        if name.lower() != "content-type":  # the handler's result decides that
            checked.append((name, text))
    return Response(status, body, content_type, tuple(checked))


def _check_value(name: str, value: str) -> None:
    if not _VALUE.fullmatch(value):
        # The value may come from a client's body, which no log holds.
        message = (
            f"the handler set the header {name} to a text that a header cannot hold: "
            "only latin-1 characters and no control characters"
        )
        raise ResponseError(message)
