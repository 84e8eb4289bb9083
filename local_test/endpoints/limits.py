"""The platform's limits for an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from container import contract

ACCEPT_LIMIT_S: Final = 0.25  # for a connection to be accepted (HO-7)
ASYNC_LIMIT_S: Final = 3600  # for an asynchronous request (ASY-1)
UNHEALTHY_AFTER_PINGS: Final = 3  # not documented by the platform


@dataclass(frozen=True)
class Limits:
    """Limits of time and size; tests shorten them."""

    startup_s: float = 8 * 60
    """From the start to the first successful ping (HO-5)."""
    ping_s: float = contract.PING_LIMIT_S
    ping_interval_s: float = 5
    """Not documented by the platform; the interval of its local modes."""
    invocation_s: float = contract.INVOCATION_LIMIT_S
    stream_s: float = 8 * 60
    """For a response stream from its first to its last byte (HO-8)."""
    payload_bytes: int = contract.REALTIME_PAYLOAD_BYTES
    stop_grace_s: float = contract.SERVING_STOP_GRACE_S
