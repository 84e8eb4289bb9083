"""The requests of a queue that are not answered, and which of them is next (ASY-1).

As many are under way as the healthy instances take; the others wait, also while there is no
instance. A request that has waited too long is next at once, so that its sender hears of it.
"""

import collections
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from container.errors import RequestError
from local_test.endpoints.asynchronous.accepted import Accepted

_LOOK_S: Final = 0.2  # for an instance, a request that has waited too long, and the end


@dataclass(frozen=True)
class Size:
    """How many requests are not answered."""

    count: int = 0
    oldest_s: float = 0.0
    """When the oldest one was received; 0 if there is none."""


class Backlog:
    """Safe to use from any thread."""

    def __init__(self, count_instances: Callable[[], int], clock: Callable[[], float]) -> None:
        self._count_instances = count_instances
        self._clock = clock
        self._waiting: collections.deque[Accepted] = collections.deque()
        self._taken: dict[str, Accepted] = {}
        self._changed = threading.Condition()
        self._is_closed = False

    def add(self, accepted: Accepted) -> None:
        """Let a request wait for its turn. Raises: RequestError 503 after `close`."""
        with self._changed:
            if self._is_closed:
                raise RequestError(503, "the endpoint is being stopped; it queues no more (HO-4)")
            self._waiting.append(accepted)
            self._changed.notify_all()

    def take(self, has_ended: Callable[[], bool]) -> Accepted | None:
        """Wait for the next request; return None at the end.

        At the end, those that wait are returned first, unless `has_ended` returns True.
        """
        with self._changed:
            while not has_ended():
                accepted = self.poll()
                if accepted is not None or (self._is_closed and not self._waiting):
                    return accepted
                self._changed.wait(_LOOK_S if self._waiting else None)
            return None

    def poll(self) -> Accepted | None:
        """Return the next request if it may begin now."""
        with self._changed:
            if not self._waiting or not self._may_begin():
                return None
            accepted = self._waiting.popleft()
            self._taken[accepted.key] = accepted
            return accepted

    def _may_begin(self) -> bool:
        """Return whether one that waits may begin; it is the first one then."""
        instances = self._count_instances()
        if self._is_closed:  # without an instance, the requests fail
            instances = max(1, instances)
        if len(self._taken) < self._waiting[0].per_instance * instances:
            return True
        now_s = self._clock()
        if not self._waiting[0].is_expired(now_s):  # all that waited too long go to the front
            ordered = sorted(self._waiting, key=lambda item: not item.is_expired(now_s))
            self._waiting = collections.deque(ordered)
        return self._waiting[0].is_expired(now_s)

    def put_back(self, accepted: Accepted) -> bool:
        """Let a request that no instance took be the next one; return False after `close`."""
        with self._changed:
            if self._changed.wait_for(lambda: self._is_closed, _LOOK_S):
                return False
            del self._taken[accepted.key]
            self._waiting.appendleft(accepted)
            self._changed.notify_all()
            return True

    def finish(self, accepted: Accepted) -> None:
        """Note that a request was answered."""
        with self._changed:
            self._taken.pop(accepted.key, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Let no request wait any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def measure(self) -> Size:
        """Return how many requests wait or are under way."""
        with self._changed:
            received_s = [item.received_s for item in (*self._waiting, *self._taken.values())]
        return Size(len(received_s), min(received_s, default=0.0))
