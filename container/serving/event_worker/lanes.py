"""Where each request is computed while the event loop goes on.

Predictions run on one thread, or on several where requests are batched or user code expects it;
Flask's routes on others.

Rules of this file: an answer is guarded once: an application's `invoke` never raises, and the calls
of Flask and of a stream's next piece are guarded here.
"""

from __future__ import annotations

import functools
import select
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from container.serving import inference
from container.serving.event_worker import http1, wsgi
from container.serving.event_worker.connection import (
    CLOSED,
    COMPUTING,
    IDLE_S,
    READING,
    Connection,
    Connections,
)
from container.serving.event_worker.lane import Answers, Lane
from container.serving.event_worker.user_calls import UserCalls
from container.serving.exchange import Request, Response
from container.serving.handover.feeds import Feed

if TYPE_CHECKING:
    from container.serving.service import Service

_OTHER_THREADS: Final = 16  # for Flask's routes
# On a multi-model endpoint these include invocations: a slow model must leave some to the others.
_MODEL_THREADS: Final = 256
_MODEL_QUEUE: Final = 1024

Answer: TypeAlias = Callable[[], Response | None]


class Lanes:
    """The lanes of one worker, and the answers that they have computed."""

    def __init__(
        self,
        service: Service,
        connections: Connections,
        predictions: Lane,
        wake: Callable[[], None],
    ) -> None:
        """`wake` ends the loop's wait; a thread calls it when it has computed an answer."""
        self._predictions = predictions
        self._others: Lane | None = None
        self._answers = Answers(wake)
        self._service = service
        self._connections = connections
        self.user_calls = UserCalls(service, connections, predictions, self._answers)

    def load(self, load: Callable[[], None]) -> None:
        """Have the predictions' thread load the model, before whatever is queued meanwhile."""
        self._submit(self._predictions, None, load)

    def predict(self, connection: Connection, request: Request) -> bool:
        """Have an invocation answered; return False if too many are waiting."""
        request = request._replace(can_stream=True)
        if self.user_calls.takes_all:
            return self.user_calls.submit(connection, request)
        answer = functools.partial(self._predict, request)
        return self._queue(self._predictions, connection, answer, request.body)

    def _predict(self, request: Request) -> Response:
        application = self._service.application
        if application is None:  # its load came first on this thread, and failed
            return inference.ask_to_retry("the model cannot be loaded")
        return application.invoke(request)

    def call_flask(self, connection: Connection, head: http1.Head, body: bytes) -> bool:
        """Have Flask answer a request of another route; return False if too many are waiting."""
        if self._others is None:
            threads, queue_requests = _OTHER_THREADS, self._service.settings.queue_requests
            if self._service.models is not None:
                threads, queue_requests = _MODEL_THREADS, _MODEL_QUEUE
            self._others = Lane("other", threads, queue_requests)
        answer = functools.partial(inference.guard, self._call_flask, head, body, body=body)
        return self._queue(self._others, connection, answer, body)

    def _call_flask(self, head: http1.Head, body: bytes) -> Response:
        return wsgi.call(self._service.wsgi, head, body)

    def compute_piece(self, connection: Connection, streamed: Response) -> None:
        """Have the next piece of a stream computed; a stream that has begun is never refused."""

        def answer() -> Response | None:
            return None if connection.state is CLOSED else inference.take_piece(streamed)

        self._connections.watch(connection, COMPUTING, 0, 0)
        if isinstance(streamed.rest, Feed):
            streamed.rest.want()
        else:
            self._submit(self._predictions, connection, answer, has_begun=True)

    def take_computed(self) -> Iterator[tuple[Connection, Response]]:
        """Yield what has been computed for clients that are still there."""
        return self._answers.take()

    def _queue(self, lane: Lane, connection: Connection, answer: Answer, body: bytes) -> bool:
        def answer_in_time() -> Response | None:
            if connection.state is CLOSED:  # the client has gone
                return None
            if time.monotonic() > expiry:
                return self.user_calls.refuse_late()
            response = answer()
            if response is None or not response.is_held:
                return response
            self.user_calls.hold(connection, response, body)
            return None

        expiry = self._connections.now + self._service.settings.timeout_s
        # The job may be over before `_submit` returns, so what it looks at is written first.
        self._connections.watch(connection, COMPUTING, 0, 0)
        is_queued = self._submit(lane, connection, answer_in_time)
        if not is_queued:
            self._connections.watch(connection, READING, select.EPOLLIN, IDLE_S)
        return is_queued

    def _submit(
        self, lane: Lane, connection: Connection | None, answer: Answer, *, has_begun: bool = False
    ) -> bool:
        def job() -> None:
            self._answers.put(lane, connection, answer())

        return lane.submit(job, has_begun=has_begun)
