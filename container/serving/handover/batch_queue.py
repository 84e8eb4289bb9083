"""Requests that wait for a prediction of several, on the one thread of user code.

The policy is that of `batching`: what comes while nothing is computed is computed at once, what
comes meanwhile is computed together, and a batch waits for others only as long as the last one
took, for as many as came the last time. A thread for each request is not needed, since none waits
for its answer; so user code stays on the thread that has loaded it.
"""

import queue
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar("Job")


class BatchQueue(Generic[Job]):
    """Jobs of one worker. The loop puts them, one thread runs them."""

    def __init__(
        self, compute: Callable[[list[Job]], None], *, jobs_maximum: int, delay_s: float
    ) -> None:
        """`compute` gets at most `jobs_maximum` jobs, and must not raise."""
        self._compute = compute
        self._jobs_maximum = jobs_maximum
        self._delay_s = delay_s
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._expected = 1  # jobs that are likely to come
        self._last_s = 0.0  # that the last batch took

    def put(self, job: Job) -> None:
        """Add a job; `run` must be called once for each."""
        self._jobs.put(job)

    def run(self) -> None:
        """Compute one batch; nothing is left to do if an earlier call has taken all jobs."""
        batch = self._gather()
        if not batch:
            return
        started = time.monotonic()
        self._compute(batch)
        self._last_s = time.monotonic() - started
        self._expected = len(batch) + self._jobs.qsize()

    def _gather(self) -> list[Job]:
        batch: list[Job] = []
        deadline = time.monotonic() + min(self._delay_s, self._last_s)
        while len(batch) < self._jobs_maximum:
            wait_s = 0.0
            if batch and len(batch) < self._expected and self._jobs.empty():
                wait_s = deadline - time.monotonic()
            try:
                batch.append(self._jobs.get(wait_s > 0, max(wait_s, 0.0)))
            except queue.Empty:
                break
        return batch
