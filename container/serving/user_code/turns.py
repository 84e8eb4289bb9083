"""A user's application or a third-party model as the server calls it: in turns, and counted.

Handlers are written for servers that call them for one request at a time, on the thread that has
loaded the model, and may keep what they like in globals and in the thread. So requests take turns,
unless `BYO_HANDLER_THREADS` says that the code expects several, and the event loop calls quick code
itself only on that thread.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from container.serving import inference
from container.serving.bidirectional import sessions
from container.serving.exchange import Request, Response
from container.serving.handover.held_streams import AsyncHeldStream, HeldStream
from container.serving.server_settings import Settings
from container.serving.telemetry.metrics import Invocation, Metrics
from container.serving.third_party import model_application
from container.serving.user_code import handlers, responses
from container.serving.user_code.application import Application

if TYPE_CHECKING:
    from container.serving.bidirectional.session import Session

# Handing a request over to a thread costs about 0.1 ms and the loop's other clients wait as long as
# a call takes, so longer ones go to the thread.
_QUICK_S: Final = 0.001
_SLOW_S: Final = 0.002
_CALLS: Final = 16


class Pace:
    """Whether the calls of user code are quick, by the last of them."""

    def __init__(self) -> None:
        self.is_quick = False
        self._seconds: deque[float] = deque(maxlen=_CALLS)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Take note of a call: quick if most of the last are, until they are slow on average."""
        seen = self._seconds
        if len(seen) == _CALLS:
            self._sum_s -= seen[0]
        seen.append(seconds)
        self._sum_s += seconds
        if self.is_quick and self._sum_s >= _SLOW_S * _CALLS:
            self.forget()
        elif not self.is_quick and len(seen) == _CALLS and sorted(seen)[_CALLS // 2] < _QUICK_S:
            self.forget()  # calls that waited for another thread, which the loop's own do not
            self.is_quick = True

    def forget(self) -> None:
        """Begin again: the code is not quick until as many calls have been."""
        self.is_quick = False
        self._seconds.clear()
        self._sum_s = 0.0


class UserCode:
    """User code that answers `POST /invocations`. Thread-safe."""

    def __init__(
        self,
        found: handlers.Handlers | model_application.Found,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        """Load what was found. Raises: UserError if it cannot be loaded."""
        started = time.perf_counter()
        self.application = found.load()
        metrics.note_load(time.perf_counter() - started)
        self.handlers: Application | None = None
        """The functions, unless it is a model without any."""
        if isinstance(self.application, Application):
            self.handlers = self.application
            self.application.observe_metric = metrics.observe_custom
        self._metrics = metrics
        if self.takes_streams:
            sessions.check_support(settings.worker_class)
        self._threads = settings.handler_threads
        self._turn: threading.Lock | threading.BoundedSemaphore | None = None
        if isinstance(found, handlers.Handlers):
            self._turn = threading.Lock()
            if self._threads > 1:
                self._turn = threading.BoundedSemaphore(self._threads)
        self._timeout_s = settings.timeout_s
        self._pace = Pace()
        self._thread = 0

    def prepare_fork(self) -> None:
        """Leave nothing behind that only this process has. Raises: UserError if that fails."""
        if self.handlers is not None and self.handlers.coroutines is not None:
            self.handlers.coroutines.leave()

    def adopt(self) -> None:
        """Take this thread, which has loaded the model, for the one of all calls."""
        self._thread = threading.get_ident()

    @property
    def threads(self) -> int:
        """How many threads call the code at the same time."""
        is_alone = self.is_asynchronous or self.predicts_batches or self.handlers is None
        return 1 if is_alone else self._threads

    @property
    def is_quick(self) -> bool:
        """Whether the event loop may move to the thread of the code and call it there."""
        return self._pace.is_quick

    @property
    def is_asynchronous(self) -> bool:
        """Whether requests are coroutines, see `answer`."""
        return self.handlers is not None and self.handlers.coroutines is not None

    @property
    def takes_streams(self) -> bool:
        """Whether the code takes bidirectional streams."""
        return self.handlers is not None and self.handlers.takes_streams

    def make_session(self, headers: Mapping[str, str]) -> Session:
        """Prepare a bidirectional stream for a client whose handshake has these headers."""
        from container.serving.bidirectional.session import Session

        assert self.handlers is not None  # noqa: S101 - `takes_streams`
        handler = functools.partial(self.handlers.open_stream, headers)
        return Session(handler, responses.answer_error, step_s=self._timeout_s)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside those of the code, if that is asynchronous."""
        assert self.handlers is not None  # noqa: S101 - `is_asynchronous`
        assert self.handlers.coroutines is not None  # noqa: S101 - the same
        self.handlers.coroutines.spawn(coroutine)

    def run_coroutines(self) -> None:
        """Run the coroutines in this thread from now on, if the code is asynchronous."""
        assert self.handlers is not None  # noqa: S101 - `is_asynchronous`
        assert self.handlers.coroutines is not None  # noqa: S101 - the same
        self.handlers.coroutines.run()

    @property
    def predicts_batches(self) -> bool:
        """Whether `invoke_batch` predicts for several requests at once."""
        return self.handlers is not None and self.handlers.predicts_batches

    def estimate_s(self, _: Request) -> float:
        """Return 0 for quick code on the thread that it belongs to, otherwise infinity."""
        is_here = self._pace.is_quick and threading.get_ident() == self._thread
        return 0.0 if is_here else math.inf

    def invoke(self, request: Request) -> Response:
        """Answer one request; never raises. A stream keeps its turn until it ends."""
        started = time.perf_counter()
        turn = self._turn
        if self.is_asynchronous:
            turn = None
        if turn is not None and not turn.acquire(timeout=self._timeout_s):
            response = inference.refuse(503, "the request waited too long for its turn")
            self._count(response, started)
            return response
        keeps_turn = False
        try:
            begun = time.perf_counter()
            response = self.application.invoke(request)
            if response.rest is not None:
                keeps_turn = True
                self._pace.forget()

                def end(status: int) -> None:
                    if turn is not None:
                        turn.release()
                    self._count_stream(response, started, status)

                pieces = HeldStream(response.rest, response.status, end, request.body)
                return response._replace(rest=pieces, is_held=True)
            if self._threads == 1:
                self._pace.observe(time.perf_counter() - begun)
        finally:
            if turn is not None and not keeps_turn:
                turn.release()
        self._count(response, started)
        return response

    async def answer(self, request: Request) -> Response:
        """Answer one request as a coroutine, if the code is asynchronous; never raises."""
        assert self.handlers is not None  # noqa: S101 - `is_asynchronous`
        started = time.perf_counter()
        response = await self.handlers.invoke_async(request)
        if response.rest is None:
            self._count(response, started)
            return response
        end = functools.partial(self._count_stream, response, started)
        pieces = AsyncHeldStream(response.rest, response.status, end, request.body)
        return response._replace(rest=pieces)

    def invoke_batch(self, requests: Sequence[Request]) -> list[Response]:
        """Answer several requests with one prediction; never raises."""
        assert self.handlers is not None  # noqa: S101 - `predicts_batches`
        started = time.perf_counter()
        self._metrics.count_batch(len(requests))
        answered = self.handlers.invoke_batch(requests)
        counted = []
        for response, request in zip(answered, requests, strict=True):
            if response.rest is None:
                self._count(response, started)
                counted.append(response)
            else:
                end = functools.partial(self._count_stream, response, started)
                pieces = HeldStream(response.rest, response.status, end, request.body)
                counted.append(response._replace(rest=pieces))
        return counted

    def _count_stream(self, response: Response, started: float, status: int) -> None:
        self._count(response._replace(status=status), started)

    def _count(self, response: Response, started: float) -> None:
        seconds = dict(response.seconds or {})
        seconds["request"] = time.perf_counter() - started
        self._metrics.ended.append(Invocation(response.status, seconds))
