"""A request to the core of the server, and its answer, whichever shell hosts it."""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from container.serving.bodies import media_types

Pieces: TypeAlias = Any
"""An `Iterator[bytes]`, an `AsyncIterator[bytes]` of asynchronous user code, or None."""
ENVIRON_KEY: Final = "container.response"
"""Where our Flask application leaves its `Response` in a request's environment, for the log."""
FAULTS: Final = (Exception, SystemExit)
"""What user code may raise without ending the thread that calls it."""


class Request(NamedTuple):
    """A request to `/invocations`: its body, and its headers under lower-case names."""

    body: bytes
    headers: Mapping[str, str]
    can_stream: bool = False
    """Whether the shell can send an answer piece by piece, as it is computed (ST-1)."""


class CustomTotals(NamedTuple):
    """The metrics of a model's handlers, added up where they run."""

    time_s: float = -math.inf
    """When, by `time.monotonic`."""
    values: Mapping[str, tuple[float, float]] = {}
    """The number and the sum of each name's values."""
    left_out: float = 0


class Response(NamedTuple):
    """An answer: its status, its body, the body's media type, and any other headers."""

    status: int
    body: bytes = b""
    content_type: str = media_types.JSON
    headers: tuple[tuple[str, str], ...] = ()
    rest: Pieces = None
    """Pieces that follow `body`, for a shell that `can_stream`; `take_piece` computes the next."""
    request_id: str = ""
    """Of an error, as in its body and its log line."""
    seconds: Mapping[str, float] | None = None
    """Of each stage that an invocation has reached; of a stream, so far."""
    custom: CustomTotals | None = None
    """Metrics of the handlers so far, if a process of their own has made the answer."""
    is_held: bool = False
    """Whether the thread that has made `body` also makes the other pieces, one after the other."""
