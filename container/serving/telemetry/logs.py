"""The server's log: lines of text or JSON, and the line of a request.

Rules of this file: no line holds a body, a query, or the value of a header other than the media
type and the ids.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gunicorn.glogging import Logger

if TYPE_CHECKING:
    from container.serving.exchange import Response

_INFERENCE_ID: Final = "x-amzn-sagemaker-inference-id"
_ID_CHARACTERS: Final = 64
_MEDIA_TYPE_CHARACTERS: Final = 100
_PATH_CHARACTERS: Final = 500

log = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object; the record's `fields`, if any, replace its message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": record.process,
            **(getattr(record, "fields", None) or {"message": record.getMessage()}),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document)


class GunicornJsonLogger(Logger):
    """gunicorn's own lines as JSON."""

    def setup(self, cfg: Any) -> None:
        """Set up gunicorn's handlers, then their format."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter())


def configure(level: str, log_format: str) -> None:
    """Write the program's lines of at least `level` to stdout, as text or `json`."""
    handler = logging.StreamHandler(sys.stdout)
    text = logging.Formatter("%(asctime)s %(levelname)s %(process)d %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    package = logging.getLogger("container")
    package.handlers[:] = [handler]
    package.setLevel(level.upper())
    package.propagate = False


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
