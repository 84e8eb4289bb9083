"""The metrics of an interval as one log line in CloudWatch's embedded metric format, from which it makes metrics.

Source: "Specification: Embedded metric format" of the CloudWatch user guide. A line is one JSON
object with nothing around it; `_aws` names the members of the root that are metrics or dimensions.

Rules of this file: the master alone writes, so that no request is told twice; nothing that it does
may end the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from container.serving.telemetry.metrics import SECONDS, Metrics, Totals

_VALUES_MAXIMUM: Final = 100  # of one metric in a line
_ERRORS: Final = {
    "Refused": "refused",
    "Failed": "failed",
    "Busy": "busy",
    "Late": "late",
    "Unreadable": "unreadable",
    "Gone": "gone",
}
_GAUGES: Final = {
    "Workers": "serving_workers",
    "Connections": "serving_connections",
    "RequestsInFlight": "serving_requests_in_flight",
    "QueueRequests": "serving_queue_requests",
}


class Emf:
    """Writes what has happened since its last line."""

    def __init__(self, metrics: Metrics, namespace: str, dimensions: Mapping[str, str]) -> None:
        """`dimensions` are those of every metric, by name."""
        self._metrics = metrics
        self._namespace = namespace
        self._dimensions = dict(dimensions)
        self._told = metrics.read()

    def write(self) -> None:
        """Write one line to stdout, past the log's locks: this runs in a signal handler."""
        totals = self._metrics.read()
        document = describe(
            self._told, totals, self._namespace, self._dimensions, int(time.time() * 1000)
        )
        document |= {
            "model": self._metrics.labels.get("model", ""),
            "toolkit": self._metrics.labels.get("toolkit", ""),
        }
        with contextlib.suppress(OSError):  # nobody reads the log any more: the server goes on
            os.write(1, json.dumps(document).encode() + b"\n")
            self._told = totals


def describe(
    before: Totals, after: Totals, namespace: str, dimensions: Mapping[str, str], now_ms: int
) -> dict[str, Any]:
    """Give the document of what has happened between two readings; `now_ms` is of the Unix epoch."""
    requests = {status: count - before.requests[status] for status, count in after.requests.items()}
    errors = {kind: count - before.errors[kind] for kind, count in after.errors.items()}
    seconds = [
        count - told
        for count, told in zip(after.request_seconds, before.request_seconds, strict=True)
    ]
    values: dict[str, tuple[str, float | list[float]]] = {
        "Requests": ("Count", sum(requests.values())),
        "Images": ("Count", after.images - before.images),
        **{name: ("Count", errors[kind]) for name, kind in _ERRORS.items()},
        **{
            name: ("Count", after.gauges[gauge])
            for name, gauge in _GAUGES.items()
            if gauge in after.gauges
        },
    }
    latency_ms = [round(value * 1000, 3) for value in spread(seconds, SECONDS, _VALUES_MAXIMUM)]
    if latency_ms:
        values["Latency"] = ("Milliseconds", latency_ms)
    directive = {
        "Namespace": namespace,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": unit} for name, (unit, _) in values.items()],
    }
    return {
        "_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [directive]},
        **dimensions,
        **{name: value for name, (_, value) in values.items()},
    }


def spread(counts: Sequence[float], bounds: Sequence[float], values_maximum: int) -> list[float]:
    """Give as many values as a histogram counts, at most so many, that lie as it says: evenly within each bucket.

    `counts` has one bucket more than `bounds`: what is beyond the last of them is given as that.
    """
    total = int(sum(counts))
    reached = list(accumulate(counts))
    values = []
    size = min(total, values_maximum)
    bucket = 0
    for number in range(size):
        rank = (number + 0.5) / size * total
        while reached[bucket] < rank:
            bucket += 1
        low = bounds[bucket - 1] if bucket else 0.0
        high = bounds[bucket] if bucket < len(bounds) else low
        values.append(high - (high - low) * (reached[bucket] - rank) / counts[bucket])
    return values
