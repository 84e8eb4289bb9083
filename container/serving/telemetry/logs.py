"""The server's log: lines of text or JSON, and the line of a request.

Rules of this file: no line holds a body, a query, or the value of a header other than the media
type and the ids. Whatever a record says is one line of bounded length, since names, paths, headers
and error texts are the client's; only a traceback has more, and these are indented.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gunicorn.glogging import Logger

from container.serving.telemetry.line_handler import LineHandler
from container.serving.telemetry.redaction import Trace, describe

if TYPE_CHECKING:
    from container.serving.exchange import Response

_INFERENCE_ID: Final = "x-amzn-sagemaker-inference-id"
_ID_CHARACTERS: Final = 64
_MEDIA_TYPE_CHARACTERS: Final = 100
_PATH_CHARACTERS: Final = 500
_MESSAGE_CHARACTERS: Final = 4000
_STDOUT: Final = 1
_STDERR: Final = 2
_TEXT_FORMAT: Final = "%(asctime)s %(levelname)s %(process)d %(message)s"

log = logging.getLogger(__name__)


class TextFormatter(logging.Formatter):
    """Formats a record as one line; the lines of a traceback follow, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines, none of which a client can forge."""
        message, trace = _split(record)
        record.message = escape(message)
        record.asctime = self.formatTime(record, self.datefmt)
        lines = [escape(line) for line in trace.split("\n")] if trace else []
        return "\n    ".join([self.formatMessage(record), *lines])


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object; the record's `fields`, if any, replace its message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        message, trace = _split(record)
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": record.process,
            **(getattr(record, "fields", None) or {"message": message}),
        }
        if trace:
            document["exception"] = trace
        return json.dumps(document)


def escape(text: str) -> str:
    """Escape line ends, control characters and others that are not printable, as Python does."""
    if text.isprintable():
        return text
    pieces = []
    for character in text:
        is_plain = character.isprintable()
        pieces.append(character if is_plain else character.encode("unicode_escape").decode())
    return "".join(pieces)


def _split(record: logging.LogRecord) -> tuple[str, str]:
    """Return a record's bounded message, and the traceback that it ends with or comes with."""
    trace = ""
    message = record.getMessage()
    if isinstance(record.args, tuple) and record.args and isinstance(record.args[-1], Trace):
        trace = record.args[-1]
        message = message.removesuffix(trace).rstrip()
    elif record.exc_info and record.exc_info[1] is not None:
        trace = describe(record.exc_info[1])
    left_out = len(message) - _MESSAGE_CHARACTERS
    if left_out > 0:
        message = f"{message[:_MESSAGE_CHARACTERS]} [{left_out} characters left out]"
    return message, trace


class _Drops:
    """Who counts the lines that nobody read."""

    count: Callable[[], None] = staticmethod(lambda: None)


class GunicornLogger(Logger):
    """gunicorn's own lines, which never wait for a reader either."""

    def setup(self, cfg: Any) -> None:
        """Set up gunicorn's handlers, then put ours in their place."""
        super().setup(cfg)
        text = TextFormatter(self.error_fmt, self.datefmt)
        self.error_log.handlers[:] = [_make_handler(_STDERR, text)]


class GunicornJsonLogger(GunicornLogger):
    """gunicorn's own lines as JSON."""

    def setup(self, cfg: Any) -> None:
        """Set up gunicorn's handlers, then their format."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter())


def configure(level: str, log_format: str) -> None:
    """Write the program's lines of at least `level` to stdout, as text or `json`."""
    is_json = log_format == "json"
    handler = _make_handler(_STDOUT, JsonFormatter() if is_json else TextFormatter(_TEXT_FORMAT))
    package = logging.getLogger("container")
    package.handlers[:] = [handler]
    package.setLevel(level.upper())
    package.propagate = False


def _make_handler(descriptor: int, formatter: logging.Formatter) -> LineHandler:
    handler = LineHandler(descriptor, lambda: _Drops.count())  # noqa: PLW0108 - replaced later
    handler.setFormatter(formatter)
    return handler


def count_drops_with(count: Callable[[], None]) -> None:
    """Have `count` called for each line that is dropped because nobody reads the log."""
    _Drops.count = staticmethod(count)


def flush() -> None:
    """Write the lines that wait for a reader, as far as they are taken now."""
    for name in ("container", "gunicorn.error"):
        for handler in logging.getLogger(name).handlers:
            handler.flush()


def has_requests() -> bool:
    """Return whether each request has a line."""
    return log.isEnabledFor(logging.DEBUG)


class Exchange(NamedTuple):
    """A request that has been answered, as its line describes it."""

    method: str
    target: str
    headers: Mapping[str, str]
    """Of the request, under lower-case names."""
    bytes_in: int
    bytes_out: int
    started: float
    """By `time.monotonic`."""


def log_request(exchange: Exchange, response: Response) -> None:
    """Write the line of one request that has been answered."""
    headers = exchange.headers
    media_type = headers.get("content-type", "").partition(";")[0].strip()
    stages = {"total": time.monotonic() - exchange.started, **(response.seconds or {})}
    fields: dict[str, Any] = {
        "request_id": response.request_id or uuid.uuid4().hex,
        "method": exchange.method,
        "path": exchange.target.partition("?")[0][:_PATH_CHARACTERS],
        "status": response.status,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
        "content_type": media_type[:_MEDIA_TYPE_CHARACTERS],
        "answer_type": response.content_type,
        "ms": {stage: round(seconds * 1000, 3) for stage, seconds in stages.items()},
    }
    if _INFERENCE_ID in headers:
        fields["inference_id"] = headers[_INFERENCE_ID][:_ID_CHARACTERS]
    log.debug("request %s", json.dumps(fields), extra={"fields": {"message": "request", **fields}})
