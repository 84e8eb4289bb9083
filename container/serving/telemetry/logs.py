"""The server's log: lines of text, or one JSON object a line, and what they say of a request.

Rules of this file: no line holds a body, a query, or a header's value but the media type and the
ids.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gunicorn.glogging import Logger

if TYPE_CHECKING:
    from container.serving.inference import Response

_INFERENCE_ID: Final = "x-amzn-sagemaker-inference-id"
_ID_CHARACTERS: Final = 64
_MEDIA_TYPE_CHARACTERS: Final = 100
_PATH_CHARACTERS: Final = 500

log = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """Makes a JSON object of a record; the mapping `fields` of one stands in its message's place."""

    def format(self, record: logging.LogRecord) -> str:
        """Give one line."""
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
        """Take gunicorn's handlers and change what they write."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter())


def configure(level: str, log_format: str) -> None:
    """Send the program's lines from `level` on to stdout, as text or `json`."""
    handler = logging.StreamHandler(sys.stdout)
    text = logging.Formatter("%(asctime)s %(levelname)s %(process)d %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    package = logging.getLogger("container")
    package.handlers[:] = [handler]
    package.setLevel(level.upper())
    package.propagate = False


def has_requests() -> bool:
    """Tell whether there is a line for each request."""
    return log.isEnabledFor(logging.DEBUG)


def log_request(  # noqa: PLR0913 - each by name
    response: Response,
    *,
    method: str,
    target: str,
    headers: Mapping[str, str],
    started: float,
    bytes_in: int,
    bytes_out: int,
) -> None:
    """Write the line of one request that has been answered.

    `headers` are the request's, under lower-case names; it `started` at that second of `time.monotonic`.
    """
    stages = {"total": time.monotonic() - started, **(response.seconds or {})}
    fields: dict[str, Any] = {
        "request_id": response.request_id or uuid.uuid4().hex,
        "method": method,
        "path": target.partition("?")[0][:_PATH_CHARACTERS],
        "status": response.status,
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
        "content_type": headers.get("content-type", "")
        .partition(";")[0]
        .strip()[:_MEDIA_TYPE_CHARACTERS],
        "answer_type": response.content_type,
        "ms": {stage: round(seconds * 1000, 3) for stage, seconds in stages.items()},
    }
    if _INFERENCE_ID in headers:
        fields["inference_id"] = headers[_INFERENCE_ID][:_ID_CHARACTERS]
    log.debug("request %s", json.dumps(fields), extra={"fields": {"message": "request", **fields}})
