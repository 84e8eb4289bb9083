"""What an endpoint's requests amount to, by variant and minute: the numbers that CloudWatch and the scaler read."""

from __future__ import annotations

import collections
import threading
import time
from dataclasses import dataclass, field

_MINUTES_KEPT = 180
_LATENCIES_KEPT = 512
_MOMENTS_KEPT_S = 60


@dataclass
class Minute:
    """The requests of one variant in one minute."""

    invocations: int = 0
    client_errors: int = 0
    server_errors: int = 0
    model_latency_s: list[float] = field(default_factory=lambda: [0.0, float("inf"), 0.0])
    """Sum, least, greatest."""
    overhead_s: list[float] = field(default_factory=lambda: [0.0, float("inf"), 0.0])

    def add(self, status: int, model_latency_s: float, overhead_s: float) -> None:
        """Add one request."""
        self.invocations += 1
        self.client_errors += 400 <= status < 500
        self.server_errors += status >= 500 or status == 0
        for sums, value in ((self.model_latency_s, model_latency_s), (self.overhead_s, overhead_s)):
            sums[:] = [sums[0] + value, min(sums[1], value), max(sums[2], value)]


class Meter:
    """Counts requests; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minutes: dict[str, dict[int, Minute]] = {}
        self._pending: dict[str, dict[int, Minute]] = {}
        self._moments: dict[str, collections.deque[float]] = {}
        self._latencies_s: dict[str, collections.deque[float]] = {}

    def count(self, variant: str, status: int, model_latency_s: float, total_s: float) -> None:
        """Add one request with the status that the container gave; 0 if it gave none."""
        minute_number = int(time.time() // 60)
        with self._lock:
            minutes = self._minutes.setdefault(variant, {})
            if minute_number not in minutes:
                minutes[minute_number] = Minute()
                for old in [number for number in minutes if number < minute_number - _MINUTES_KEPT]:
                    del minutes[old]
            pending = self._pending.setdefault(variant, {}).setdefault(minute_number, Minute())
            for minute in (minutes[minute_number], pending):
                minute.add(status, model_latency_s, total_s - model_latency_s)
            moments = self._moments.setdefault(variant, collections.deque())
            moments.append(time.time())
            while moments[0] < moments[-1] - _MOMENTS_KEPT_S:
                moments.popleft()
            latencies = self._latencies_s.setdefault(
                variant, collections.deque(maxlen=_LATENCIES_KEPT)
            )
            latencies.append(total_s)

    def count_recent(self, variant: str, window_s: int) -> int:
        """Give the number of requests in the last seconds."""
        since = time.time() - window_s
        with self._lock:
            return sum(moment >= since for moment in self._moments.get(variant, ()))

    def drain(self, variant: str) -> list[tuple[float, Minute]]:
        """Give what was counted since the last time, with the time of its minute."""
        with self._lock:
            pending = self._pending.pop(variant, {})
        return [(number * 60.0, minute) for number, minute in pending.items()]

    def minutes(self, variant: str) -> dict[int, Minute]:
        """Give the counts of a variant by minute since the epoch."""
        with self._lock:
            return dict(self._minutes.get(variant, {}))

    def variants(self) -> list[str]:
        """Give the variants that had requests."""
        with self._lock:
            return list(self._minutes)

    def latency_s(self, variant: str, quantile: float) -> float | None:
        """Give a quantile of the last requests' total time."""
        with self._lock:
            latencies = sorted(self._latencies_s.get(variant, ()))
        return (
            latencies[min(len(latencies) - 1, int(quantile * len(latencies)))]
            if latencies
            else None
        )
