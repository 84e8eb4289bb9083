"""Counts of an endpoint's requests, by variant and minute, for CloudWatch and the scaler.

The last requests of each form are kept, too: the console's playground offers them.
"""

import collections
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

_MINUTES_KEPT = 180
_LATENCIES_KEPT = 512
_MOMENTS_KEPT_S = 60
_EXAMPLES_KEPT = 5
_EXAMPLE_BYTES = 64 * 1024
_LEAST_S = 1e-6
_PARTS_PER_LOG = 20.5  # 5 % each


@dataclass
class Statistic:
    """Sum and extremes of some values."""

    total: float = 0.0
    least: float = float("inf")
    most: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """Add a value."""
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)


@dataclass
class Distribution:
    """Some values in parts that are so narrow that percentiles can be read from them."""

    parts: dict[int, Statistic] = field(default_factory=dict)
    """Statistics of values that differ by at most 5 %, by the logarithm of the values."""

    def add(self, value: float) -> None:
        """Add a value."""
        key = math.floor(math.log(max(value, _LEAST_S)) * _PARTS_PER_LOG)
        self.parts.setdefault(key, Statistic()).add(value)


@dataclass
class Minute:
    """The requests of one variant in one minute."""

    invocations: int = 0
    client_errors: int = 0
    server_errors: int = 0
    model_latency_s: Distribution = field(default_factory=Distribution)
    overhead_s: Distribution = field(default_factory=Distribution)
    setup_s: Distribution = field(default_factory=Distribution)
    """Of cold starts only."""
    others: dict[str, Distribution] = field(default_factory=dict)
    """By the name of the metric, in its unit."""

    def add(
        self, status: int, model_latency_s: float, overhead_s: float, setup_s: float = 0.0
    ) -> None:
        """Add one request."""
        self.invocations += 1
        self.client_errors += 400 <= status < 500
        self.server_errors += status >= 500 or status == 0
        self.model_latency_s.add(model_latency_s)
        self.overhead_s.add(overhead_s)
        if setup_s:
            self.setup_s.add(setup_s)


@dataclass(frozen=True)
class Example:
    """A request that was answered."""

    content_type: str
    accept: str
    body: bytes | None
    """None if it was large."""


class Meter:
    """Counts requests; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minutes: dict[str, dict[int, Minute]] = {}
        self._pending: dict[str, dict[tuple[str, int], Minute]] = {}
        """By endpoint configuration and minute for each variant."""
        self._moments: dict[str, collections.deque[float]] = {}
        self._latencies_s: dict[str, collections.deque[float]] = {}
        self._levels: collections.deque[tuple[float, float]] = collections.deque()
        self._examples: dict[tuple[str, str], Example] = {}

    def keep(self, content_type: str, accept: str, body: bytes) -> None:
        """Keep a request as the last one of its content type and accept header."""
        kept = body if len(body) <= _EXAMPLE_BYTES else None
        with self._lock:
            self._examples.pop((content_type, accept), None)
            self._examples[content_type, accept] = Example(content_type, accept, kept)
            if len(self._examples) > _EXAMPLES_KEPT:
                self._examples.pop(next(iter(self._examples)))

    def examples(self) -> list[Example]:
        """Return the last request of each form, newest first."""
        with self._lock:
            return list(reversed(self._examples.values()))

    def count(  # noqa: PLR0913 - one for each measure
        self,
        variant: str,
        status: int,
        model_latency_s: float,
        total_s: float,
        *,
        setup_s: float = 0.0,
        config: str = "",
    ) -> None:
        """Add one request with the container's status; 0 if the container did not answer.

        `config` is the name of the endpoint configuration that the container belongs to.
        """
        now = time.time()
        with self._lock:
            for minute in self._find_minutes(variant, config, int(now // 60)):
                minute.add(status, model_latency_s, total_s - model_latency_s, setup_s)
            moments = self._moments.setdefault(variant, collections.deque())
            moments.append(now)
            while moments[0] < now - _MOMENTS_KEPT_S:
                moments.popleft()
            new = collections.deque[float](maxlen=_LATENCIES_KEPT)
            self._latencies_s.setdefault(variant, new).append(total_s)

    def note(self, variant: str, config: str, values: Mapping[str, float]) -> None:
        """Add values of other metrics, by their names."""
        with self._lock:
            _, pending = self._find_minutes(variant, config, int(time.time() // 60))
            for name, value in values.items():
                pending.others.setdefault(name, Distribution()).add(value)

    def _find_minutes(self, variant: str, config: str, number: int) -> tuple[Minute, Minute]:
        """Return the minute to show, and the one to publish."""
        minutes = self._minutes.setdefault(variant, {})
        if number not in minutes:
            minutes[number] = Minute()
            for old in [old for old in minutes if old < number - _MINUTES_KEPT]:
                del minutes[old]
        pending = self._pending.setdefault(variant, {})
        return minutes[number], pending.setdefault((config, number), Minute())

    def count_recent(self, variant: str, window_s: int) -> int:
        """Return the number of requests in the last `window_s` seconds."""
        since = time.time() - window_s
        with self._lock:
            return sum(moment >= since for moment in self._moments.get(variant, ()))

    def observe(self, level: float, window_s: float) -> float | None:
        """Return the mean of a level that is given every few seconds, over the last `window_s`.

        Return None until it was given for so long.
        """
        now = time.time()
        with self._lock:
            if self._levels and now - self._levels[-1][0] > window_s / 2:
                self._levels.clear()  # it was not given for a while
            self._levels.append((now, level))
            while len(self._levels) > 1 and self._levels[1][0] <= now - window_s:
                self._levels.popleft()
            if self._levels[0][0] > now - window_s:
                return None
            levels = [value for _, value in self._levels]
        return sum(levels) / len(levels)

    def drain(self, variant: str) -> list[tuple[str, float, Minute]]:
        """Return the counts since the last call.

        Each has the name of its endpoint configuration, and the start of its minute in seconds.
        """
        with self._lock:
            pending = self._pending.pop(variant, {})
        return [(config, number * 60.0, minute) for (config, number), minute in pending.items()]

    def minutes(self, variant: str) -> list[Minute]:
        """Return the counts of a variant, oldest minute first."""
        with self._lock:
            return list(self._minutes.get(variant, {}).values())

    def variants(self) -> list[str]:
        """Return the variants that had requests."""
        with self._lock:
            return list(self._minutes)

    def latency_s(self, variant: str, quantile: float) -> float | None:
        """Return a quantile of the recent requests' total times, or None without requests."""
        with self._lock:
            latencies = sorted(self._latencies_s.get(variant, ()))
        if not latencies:
            return None
        return latencies[min(len(latencies) - 1, int(quantile * len(latencies)))]
