"""A shadow variant: it gets copies of the requests, and its answers reach nobody.

A copy is sent after the caller has the production variant's answer. What is dropped is counted and
reported: copies that find the queue full, and those that are not answered.
"""

import functools
import random
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from container.errors import RequestError
from local_test.endpoints.invocation import Answer
from local_test.endpoints.variants.variant import Variant

_WORKERS: Final = 4
_QUEUE: Final = 64  # how many copies may wait or be under way
_QUEUE_BYTES: Final = 64 * 1024**2
"""How many bytes their bodies may have in all; one copy is always taken."""


OnCopy = Callable[[bytes, Mapping[str, str], Answer], None]
"""Called with the body and headers of a copy, and its answer."""


@dataclass
class Counts:
    """What became of the requests that were to be copied."""

    sent: int = 0
    failed: int = 0
    dropped: int = 0


class Shadow:
    """Sends copies of requests to a shadow variant; safe to use from several threads."""

    def __init__(self, variant: Variant, share: float, record: OnCopy) -> None:
        """`share` of all requests are copied; `record` takes each that was answered."""
        self.variant = variant
        self.counts = Counts()
        self._share = share
        self._record = record
        self._held = 0
        """How many copies wait or are under way."""
        self._held_bytes = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix=f"shadow {variant.name}")

    def copy(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a copy of a request in the background, if sampling selects it."""
        if random.random() >= self._share:  # noqa: S311 - sampling
            return
        with self._lock:
            is_full = self._held == _QUEUE or self._held_bytes + len(body) > _QUEUE_BYTES
            is_dropped = is_full and self._held > 0
            is_first = is_dropped and not self.counts.dropped
            found = f"{self._held} with {self._held_bytes} bytes wait already"
            self.counts.dropped += is_dropped
            if not is_dropped:
                self._held += 1
                self._held_bytes += len(body)
        if is_first:
            self._report(f"a copy was dropped: {found}; later ones are counted")
        if is_dropped:
            return
        finish = functools.partial(self._finish, len(body))
        try:
            self._pool.submit(self._send, body, headers).add_done_callback(finish)
        except RuntimeError:  # it was closed meanwhile
            self._give_back(len(body))
            with self._lock:
                self.counts.dropped += 1

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._held -= 1
            self._held_bytes -= size

    def _finish(self, size: int, done: Future[None]) -> None:
        self._give_back(size)
        if done.cancelled():
            with self._lock:
                self.counts.dropped += 1
        elif (error := done.exception()) is not None:
            self._report(f"a copy was not recorded: {error!r}")

    def _send(self, body: bytes, headers: Mapping[str, str]) -> None:
        try:
            with self.variant.lease() as replica:
                answer = replica.answer(body, headers)
        except RequestError as error:
            self._count(is_answered=False)
            self._report(f"a copy was not answered: {error}")
            return
        self._count(is_answered=answer.status < 400)
        self._record(body, headers, answer)

    def _count(self, *, is_answered: bool) -> None:
        with self._lock:
            self.counts.sent += 1
            self.counts.failed += not is_answered

    def _report(self, text: str) -> None:
        self.variant.starter.on_line(f"{self.variant.name}-1", f"[platform] {text}")

    def close(self) -> None:
        """Drop the copies that wait, and finish those that are under way."""
        self._pool.shutdown(cancel_futures=True)
        if self.counts.dropped:
            self._report(f"{self.counts.dropped} copies were dropped in all")

    def summarize(self) -> dict[str, str]:
        """Return what the console shows of it."""
        (title, healthy), *_ = self.variant.summarize().items()
        counts = self.counts
        copies = f"{counts.sent} sent, {counts.failed} failed, {counts.dropped} dropped"
        return {title: f"{healthy}; copies: {copies}"}
