"""What one asynchronous request adds to the metrics of its variant (ASY-1).

Source: the developer guide, "Monitor asynchronous endpoint".
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from local_test.endpoints.invocation import Answer, VariantError

Count = Callable[..., None]
"""Called as `Meter.count` is, for each answer of a container."""
Note = Callable[[str, str, dict[str, float]], None]
"""Called with a variant, its endpoint configuration, and values by the names of metrics."""


def ignore(*_: object, **__: object) -> None:
    """Count nothing."""


@dataclass
class Tally:
    """The values of one request; times are microseconds but for TotalProcessingTime."""

    variant: str
    """The first one, until another one has answered."""
    config: str = ""
    values: dict[str, float] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Count an event."""
        self.values[name] = 1.0

    @contextlib.contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add the time that something takes."""
        begun_s = time.perf_counter()
        try:
            yield
        finally:
            self.values[name] = (time.perf_counter() - begun_s) * 1e6

    def note_answer(self, count: Count, answer: Answer) -> None:
        """Count what a container has answered."""
        self.variant = answer.variant
        self.config = answer.config
        times_s = (answer.first_byte_s, answer.total_s)
        count(answer.variant, answer.status, *times_s, config=answer.config)

    def note_silence(self, count: Count, error: VariantError, passed_s: float) -> None:
        """Count a container that got a request and did not answer."""
        self.variant = error.variant
        self.config = error.config
        count(error.variant, 0, passed_s, passed_s, config=error.config)

    def finish(self, note: Note, received_s: float, *, is_failure: bool) -> None:
        """Hand over the values of a request that has ended."""
        if is_failure:
            self.add("InvocationFailures")
        if "ExpiredRequests" not in self.values:
            self.add("InvocationsProcessed")
        self.values["TotalProcessingTime"] = max(0.0, time.time() - received_s) * 1e3
        note(self.variant, self.config, self.values)
