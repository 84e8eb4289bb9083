"""What user code answers, checked once, where it becomes a response (SEC-7).

A value that HTTP cannot carry would otherwise fail on the event loop, or be read by the client as
another response.
"""

import logging
import operator
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

from container.errors import RequestError
from container.serving import inference
from container.serving.bodies import media_types
from container.serving.exchange import FAULTS, Request, Response
from container.serving.records import json_values
from container.serving.telemetry.redaction import Redaction, describe
from container.serving.user_code import inference_toolkit
from container.serving.user_code.steps import Run
from container.serving.user_code.streams import Stream

log = logging.getLogger(__name__)

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
    try:
        status = operator.index(status)
    except TypeError as error:
        message = f"the handler set the status {status!r}; an integer is expected"
        raise ResponseError(message) from error
    if not 200 <= status <= 599:
        raise ResponseError(f"the handler set the status {status}; 200 to 599 are possible")
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
            raise ResponseError(f"the handler set the header {name}, which only the server may set")
        text = str(value)
        _check_value(name, text)
        if name.lower() != "content-type":  # the handler's result decides that
            checked.append((name, text))
    return Response(status, body, content_type, tuple(checked))


def _check_value(name: str, value: str) -> None:
    if not _VALUE.fullmatch(value):
        # The value may come from a client's body, which no log holds.
        raise ResponseError(
            f"the handler set the header {name} to a text that a header cannot hold: "
            "only latin-1 characters and no control characters"
        )


def answer_error(error: BaseException, body: bytes) -> Response:
    """Answer with the status of an error of ours or the toolkit's; never a traceback (SEC-4)."""
    if isinstance(error, RequestError):
        if not 400 <= error.status <= 599:  # user code's own
            return inference.fail(error, body)
        return inference.refuse(error.status, str(error), body)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "UnsupportedFormatError" in kinds:
        return inference.refuse(415, str(error), body)
    status = getattr(error, "status_code", None)
    if "BaseInferenceToolkitError" not in kinds or not isinstance(status, int):
        return inference.fail(error, body)
    if not 400 <= status <= 599:
        return inference.fail(error, body)
    if status >= 500:
        trace = describe(error, Redaction(body))
        log.error("the handler failed with status %d\n%s", status, trace)
    return inference.refuse(int(status), str(getattr(error, "message", error)), body)


def choose_encoding(accept: str, default: str) -> str:
    """Return the media type that `accept` prefers among those that need no `output_fn`.

    Raises: RequestError 406 if none of them is acceptable.
    """
    offered: tuple[str, ...] = inference_toolkit.ENCODED_TYPES
    if default in offered:
        offered = (default, *(name for name in offered if name != default))
    chosen = media_types.choose(accept, offered)
    if chosen is None:
        possible = ", ".join(inference_toolkit.ENCODED_TYPES)
        message = f"Accept {accept[:200]!r} needs an output_fn; without one: {possible}"
        raise RequestError(406, message)
    return chosen


def to_bytes(body: Any, answer_type: Any) -> bytes:
    """Return bytes and text as they are, and anything else as JSON.

    JSON has null for NaN and infinity, whoever wrote it.
    """
    is_json = isinstance(answer_type, str) and "json" in answer_type.lower()
    if isinstance(body, (bytes, bytearray, memoryview)):
        content = bytes(body)
        if not is_json or (b"NaN" not in content and b"Infinity" not in content):
            return content
        try:
            return json_values.replace_constants(content.decode()).encode()
        except UnicodeDecodeError:  # of another type than it says
            return content
    if not isinstance(body, str):
        return json_values.dump(body).encode()
    text: str = body
    if is_json:
        text = json_values.replace_constants(body)
    return text.encode()


def finish(run: Run, request: Request) -> Response:
    """Return the response of a run without calls that are due; begin a stream."""
    if run.response is None:
        return answer_error(run.error or RuntimeError("no response"), request.body)
    stream = run.response.rest
    if not isinstance(stream, Stream):
        return run.response
    pieces = iter(stream)
    try:
        body = next(pieces, b"")
        if not request.can_stream:
            body += b"".join(pieces)
    except FAULTS as error:
        return answer_error(error, request.body)
    return begin_stream(run.response, stream, body, pieces, request)


def begin_stream(
    response: Response,
    stream: Stream,
    body: bytes,
    pieces: Iterator[bytes] | AsyncIterator[bytes],
    request: Request,
) -> Response:
    """Answer with the first piece of a stream, and with the others after it."""
    rest = pieces if body and request.can_stream else None
    content_type = response.content_type or stream.content_type
    return response._replace(
        body=body, content_type=content_type, rest=rest, is_held=rest is not None
    )
