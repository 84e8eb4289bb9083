"""How the loop has user code called: in turn, as batches, as coroutines, as streams, or by itself.

Rules of this file: user code is called on the thread that has loaded it, unless it expects several.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from container.errors import RequestError
from container.serving import inference
from container.serving.bidirectional.sessions import Sessions
from container.serving.event_worker.connection import CLOSED, COMPUTING, Connection, Connections
from container.serving.event_worker.http1 import Head
from container.serving.event_worker.lane import Answers, Lane
from container.serving.exchange import FAULTS, Request, Response
from container.serving.handover import held_streams
from container.serving.handover.batch_queue import BatchQueue
from container.serving.handover.feeds import Feed
from container.serving.handover.seat import LOOK_S, Seat, SeatLostError
from container.serving.user_code.turns import UserCode

if TYPE_CHECKING:
    from container.serving.service import Service

_BATCH_REQUESTS: Final = 32
# A coroutine that takes too long is cancelled; the worker is replaced only if that does not help.
_CANCEL_S: Final = 2.0


class _Waiting(NamedTuple):
    """A request that waits for its batch."""

    connection: Connection
    request: Request
    expiry: float


class UserCalls:
    """The calls of user code in one worker; nothing is done for other applications."""

    def __init__(
        self, service: Service, connections: Connections, predictions: Lane, answers: Answers
    ) -> None:
        self._service = service
        self._settings = service.settings
        self._connections = connections
        self._predictions = predictions
        self._answers = answers
        self._user_code: UserCode | None = None
        self.sessions = Sessions(
            service.settings, service.metrics, wake=lambda: answers.put(None, None, None)
        )
        self.seat: Seat[Connection] | None = None
        """While the loop runs on the predictions' thread."""
        self._batches: BatchQueue[_Waiting] = BatchQueue(
            self._predict_batch,
            jobs_maximum=service.settings.batch_images or _BATCH_REQUESTS,
            delay_s=service.settings.batch_delay_ms / 1000,
        )

    def adopt(self) -> None:
        """Learn how the application is called; called on the predictions' thread, once loaded."""
        user_code = self._service.application
        if not isinstance(user_code, UserCode):
            return
        user_code.adopt()
        self._predictions.add_threads(user_code.threads - 1)
        self._user_code = user_code
        if user_code.is_asynchronous:
            self._predictions.run_aside(user_code.run_coroutines)

    # The loop on the thread of user code.

    @property
    def may_move(self) -> bool:
        """Whether the loop may run on the predictions' thread: user code is quick, and idle."""
        user_code = self._user_code
        return user_code is not None and user_code.is_quick and not self._predictions.waiting

    def move(self, run: Callable[[], None]) -> None:
        """Have the loop's `run` called on the predictions' thread; return when it has lost it."""
        seat: Seat[Connection] = Seat()
        self.seat = seat

        def stay() -> None:
            seat.sit_down()
            try:
                run()
            except SeatLostError:
                pass
            except BaseException as error:  # noqa: BLE001 - raised in the loop's own thread
                seat.error = error
            finally:
                seat.left.set()

        self._predictions.run_aside(stay)
        while not seat.left.wait(LOOK_S):
            caller = seat.take(self._predictions.started)
            if caller is not None:
                self._connections.watch(caller, COMPUTING, 0, 0)
                self._predictions.waiting += 1
                break
        self.seat = None
        if seat.error is not None:
            raise seat.error

    def compute(self, connection: Connection, request: Request) -> Response | None:
        """Answer an invocation in this thread, the loop's; return None if the answer streams.

        Raises: SeatLostError if the loop has gone on in another thread meanwhile.
        """
        user_code = self._user_code
        seat = self.seat
        assert user_code is not None  # noqa: S101 - the loop has moved for it
        assert seat is not None  # noqa: S101 - the same
        seat.begin(connection)
        response = user_code.invoke(request._replace(can_stream=True))
        if not seat.end():
            if response.is_held:
                self.hold(connection, response, request.body)
                self._answers.put(self._predictions, None, None)
            else:
                self._answers.put(self._predictions, connection, response)
            raise SeatLostError
        if not response.is_held:
            return response
        self._connections.watch(connection, COMPUTING, 0, 0)

        def stream() -> None:
            self.hold(connection, response, request.body)
            self._answers.put(self._predictions, None, None)

        self._predictions.submit(stream, has_begun=True)
        return None

    # Streams of threads.

    def hold(self, connection: Connection, response: Response, body: bytes) -> None:
        """Stream an answer to its end in this thread; `body` is the request's."""
        feed = Feed(lambda piece: self._answers.put(None, connection, piece))
        self._answers.put(None, connection, response._replace(rest=feed))
        while True:
            self._predictions.go_on()
            piece = inference.take_piece(response, body)
            if piece.rest is None or not piece.body:
                feed.end(piece)
                break
            self._predictions.pause()
            if not feed.put(piece.body):
                response.rest.close()
                break
        self._predictions.pause()

    # Requests that are not answered by one thread after the other.

    @property
    def takes_all(self) -> bool:
        """Whether `submit` takes the invocations."""
        user_code = self._user_code
        return user_code is not None and (user_code.is_asynchronous or user_code.predicts_batches)

    def submit(self, connection: Connection, request: Request) -> bool:
        """Have an invocation answered by a coroutine or in a batch; False if too many wait."""
        user_code = self._user_code
        assert user_code is not None  # noqa: S101 - `takes_all`
        if self._predictions.is_full:
            return False
        self._connections.watch(connection, COMPUTING, 0, 0)
        if user_code.is_asynchronous:  # they wait only for what they say
            self._predictions.waiting += 1
            user_code.spawn(self._answer(user_code, connection, request))
            return True
        expiry = self._connections.now + self._settings.timeout_s
        self._batches.put(_Waiting(connection, request, expiry))
        return self._predictions.submit(self._batches.run, has_begun=True)

    def open_session(self, connection: Connection, head: Head) -> None:
        """Hand a client over to the handler's `stream_fn`.

        Raises: RequestError as `Sessions.accept` does, and 503 if too many are open or the model is
        still being loaded; then nothing has been sent.
        """
        if self._service.application is None:
            raise RequestError(503, "the model is not loaded yet")
        user_code = self._user_code
        protocol = self.sessions.accept(user_code, head.method, head.target, head.headers)
        assert user_code is not None  # noqa: S101 - `accept`
        if self.sessions.is_full:
            raise RequestError(503, f"{len(self.sessions)} streams are open already")
        early = bytes(connection.buffer)
        connection.buffer.clear()
        client = self._connections.detach(connection)
        self.sessions.begin(user_code, protocol, client, head.headers, early)

    def refuse_late(self) -> Response:
        """Answer a request whose turn has come too late."""
        self._service.metrics.count_error("late", 503)
        return inference.refuse(503, "the request waited too long for its turn")

    def _predict_batch(self, batch: list[_Waiting]) -> None:
        """Answer a batch, on the predictions' thread."""
        user_code = self._user_code
        assert user_code is not None  # noqa: S101 - `takes_all`
        asked = []
        for waiting in batch:
            if waiting.connection.state is CLOSED:  # the client has gone
                self._answers.put(self._predictions, None, None)
            elif time.monotonic() > waiting.expiry:
                self._answers.put(self._predictions, waiting.connection, self.refuse_late())
            else:
                asked.append(waiting)
        if not asked:
            return
        answered = user_code.invoke_batch([waiting.request for waiting in asked])
        for waiting, response in zip(asked, answered, strict=True):
            if response.is_held:
                self.hold(waiting.connection, response, waiting.request.body)
                self._answers.put(self._predictions, None, None)
            else:
                self._answers.put(self._predictions, waiting.connection, response)

    async def _answer(self, user_code: UserCode, connection: Connection, request: Request) -> None:
        """Answer one request as a coroutine."""
        import asyncio

        key = id(request)
        started = self._predictions.started
        started[key] = time.monotonic() + _CANCEL_S
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                response = await user_code.answer(request)
        except TimeoutError:
            self._service.metrics.count_error("late", 503)
            response = inference.refuse(503, "the handler took too long")
        except asyncio.CancelledError as error:  # the handler's own: nobody else cancels
            self._service.metrics.count_error("failed", 500)
            response = inference.fail(error, request.body)
        finally:
            started.pop(key, None)
        if response.rest is None:
            self._answers.put(self._predictions, connection, response)
        else:
            await self._stream(connection, response, request)
            self._answers.put(self._predictions, None, None)

    async def _stream(self, connection: Connection, response: Response, request: Request) -> None:
        import asyncio

        key = id(request)
        started = self._predictions.started
        feed = Feed(lambda piece: self._answers.put(None, connection, piece))
        self._answers.put(None, connection, response._replace(rest=feed))
        try:
            while True:
                started[key] = time.monotonic() + _CANCEL_S
                async with asyncio.timeout(self._settings.timeout_s):
                    piece = await anext(response.rest, b"")
                started.pop(key)
                if not piece:
                    feed.end(response._replace(body=b""))
                    return
                if not await feed.put_async(piece):
                    return
        except (*FAULTS, asyncio.CancelledError) as error:
            feed.end(inference.fail(error, request.body))
        finally:
            started.pop(key, None)
            await held_streams.close(response.rest)
