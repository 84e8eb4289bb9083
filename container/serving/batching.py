"""Batches: predictions that several threads ask for at the same time, computed as one.

This pays where a call costs much more than an image. A request that comes while nothing is computed
is computed immediately. Those that come meanwhile wait; when the prediction is over, the first of
them computes for all. It waits for others only as long as a prediction takes, and only for as many
as came the last time: a single client never waits.

Rules of this file: first come, first served; a request fails only for its own images.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from container.errors import RequestError
from container.serving.bodies.encoding import Probabilities
from container.serving.bodies.pixels import Images


class _Call:
    """One thread's images, and their probabilities or error."""

    __slots__ = ("error", "images", "leads", "probabilities", "turn")

    def __init__(self, images: Images) -> None:
        self.images = images
        self.leads = False  # its thread computes for all that wait
        self.turn = threading.Event()  # set when it leads, or has been computed
        self.probabilities: Probabilities | None = None
        self.error: Exception | None = None


class Batcher:
    """Computes one prediction at a time, for all that wait. Thread-safe."""

    def __init__(
        self,
        predict: Callable[[Images], Probabilities],
        *,
        images_maximum: int,
        delay_s: float,
        timeout_s: float,
        observe: Callable[[int], None],
    ) -> None:
        """`predict` gets at most `images_maximum` images, or those of a single request.

        A prediction waits at most `delay_s` for others, a request at most `timeout_s` for its turn;
        `observe` is called with the number of requests before each prediction.
        """
        self._predict = predict
        self._images_maximum = images_maximum
        self._delay_s = delay_s
        self._timeout_s = timeout_s
        self._observe = observe
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._waiting: deque[_Call] = deque()
        self._is_computing = False
        self._expected = 1  # requests that are likely to come
        self._last_s = 0.0  # that the last prediction took

    def predict(self, images: Images) -> Probabilities:
        """Return the probabilities of these images, which may be computed together with others.

        Raises: RequestError 503 if its turn does not come in time; whatever the prediction of these
        images raises.
        """
        call = _Call(images)
        with self._lock:
            call.leads = not self._is_computing
            self._is_computing = True
            if not call.leads:
                self._waiting.append(call)
                self._arrived.notify()
        if not call.leads and not call.turn.wait(self._timeout_s):
            with self._lock:
                if call in self._waiting:
                    self._waiting.remove(call)
                    raise RequestError(503, "the request waited too long for its turn")
            call.turn.wait()  # it came just now
        if call.leads:
            self._lead(call)
        if call.error is not None:
            raise call.error
        assert call.probabilities is not None  # noqa: S101 - there is no error
        return call.probabilities

    def _lead(self, first: _Call) -> None:
        """Compute this call and those after it, then let the next one that waits lead."""
        batch = self._gather(first)
        started = time.monotonic()
        try:
            self._observe(len(batch))
            self._compute(batch)
        finally:
            with self._lock:
                self._last_s = time.monotonic() - started
                self._expected = len(batch) + len(self._waiting)
                self._is_computing = bool(self._waiting)
                if self._waiting:
                    heir = self._waiting.popleft()
                    heir.leads = True
                    heir.turn.set()
            for call in batch[1:]:
                call.turn.set()

    def _gather(self, first: _Call) -> list[_Call]:
        batch = [first]
        count = len(first.images)
        with self._lock:
            deadline = time.monotonic() + min(self._delay_s, self._last_s)
            while True:
                while (
                    self._waiting and count + len(self._waiting[0].images) <= self._images_maximum
                ):
                    call = self._waiting.popleft()
                    batch.append(call)
                    count += len(call.images)
                if self._waiting or len(batch) >= self._expected or count >= self._images_maximum:
                    return batch
                if not self._arrived.wait(max(0.0, deadline - time.monotonic())):
                    return batch

    def _compute(self, batch: list[_Call]) -> None:
        try:
            images = batch[0].images
            if len(batch) > 1:
                images = np.concatenate([call.images for call in batch])
            probabilities = self._predict(images)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that it belongs to
            if len(batch) == 1:
                batch[0].error = error
                return
            for call in batch:
                self._compute([call])
            return
        start = 0
        for call in batch:
            end = start + len(call.images)
            call.probabilities = probabilities[start:end]
            start = end
