"""Threads that run jobs in turn, and the answers that they have for the loop."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from container.serving.event_worker.connection import COMPUTING, Connection
from container.serving.exchange import Response
from container.serving.handover.feeds import Feed


class Lane:
    """Threads that run jobs in turn behind a bounded queue."""

    def __init__(self, name: str, threads: int, jobs_maximum: int) -> None:
        self.waiting = 0
        """Jobs queued, running, or done but not yet collected; only the loop may change it."""
        self.started: dict[int, float] = {}
        """When each running job began, by `time.monotonic`, by thread."""
        self._jobs_maximum = jobs_maximum
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._name = name
        self.add_threads(threads)

    def add_threads(self, count: int) -> None:
        """Run `count` more jobs at the same time."""
        for number in range(count):
            threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True).start()

    @property
    def is_full(self) -> bool:
        """Whether no more requests may wait."""
        return self.waiting >= self._jobs_maximum

    def submit(self, job: Callable[[], None], *, has_begun: bool = False) -> bool:
        """Queue a job that never raises; return False if the queue is full.

        The next step of a request that `has_begun` is always accepted.
        """
        if self.is_full and not has_begun:
            return False
        self.waiting += 1
        self._jobs.put(job)
        return True

    def run_aside(self, job: Callable[[], None]) -> None:
        """Queue a job that does not belong to a request: it may take as long as it likes."""

        def take_time() -> None:
            self.pause()
            job()

        self._jobs.put(take_time)

    def pause(self) -> None:
        """Let this thread's job wait for a client: it does not count as stuck meanwhile."""
        self.started.pop(threading.get_ident(), None)

    def go_on(self) -> None:
        """Measure the time of this thread's job from now on."""
        self.started[threading.get_ident()] = time.monotonic()

    def _run(self) -> None:
        thread = threading.get_ident()
        while True:
            job = self._jobs.get()
            self.started[thread] = time.monotonic()
            job()
            self.started.pop(thread, None)
            del job  # it holds a body, or a stream that its client has left


class Answers:
    """What has been computed, on its way to the loop. Thread-safe."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` ends the loop's wait."""
        self._done: deque[tuple[Lane | None, Connection | None, Response | None]] = deque()
        self._wake = wake

    def put(
        self, lane: Lane | None, connection: Connection | None, response: Response | None
    ) -> None:
        """Answer a client, unless it has gone; `lane` has a job less from now on."""
        self._done.append((lane, connection, response))
        self._wake()

    def take(self) -> Iterator[tuple[Connection, Response]]:
        """Yield what there is for clients that are still there; only the loop calls it."""
        for _ in range(len(self._done)):
            lane, connection, response = self._done.popleft()
            if lane is not None:
                lane.waiting -= 1
            if connection is None or response is None:
                continue
            if connection.state is COMPUTING:
                yield connection, response
            elif isinstance(response.rest, Feed):
                response.rest.abandon()
