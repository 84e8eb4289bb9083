"""The event loop of a worker: waits for clients, threads and signals, and reports that it is alive.

Rules of this file: the loop never blocks.
"""

import contextlib
import logging
import os
import select
import time
from collections.abc import Callable
from typing import Any, Final

from container.errors import PlatformError, RequestError, UserError
from container.serving import inference
from container.serving.event_worker.connection import (
    CLOSED,
    COMPUTING,
    READING,
    WRITING,
    Connection,
    Connections,
)
from container.serving.event_worker.lane import Lane
from container.serving.event_worker.lanes import Lanes
from container.serving.event_worker.listeners import Listeners
from container.serving.event_worker.responder import Responder
from container.serving.service import Service
from container.serving.telemetry import logs

log = logging.getLogger(__name__)

_LAST_REQUEST_S: Final = 0.5  # after SIGTERM, for requests that are on their way
_SWEEP_S: Final = 0.5
# More than any healthy worker has, so that the others take the new connections.
_LOADING_LOAD: Final = 1 << 20
_HELD_BODIES: Final = 8  # of the largest size, while they are being received
_HELD_BYTES_MINIMUM: Final = 1 << 28
_BOOT_ERROR: Final = 3  # gunicorn's code of a worker that cannot start; it stops the master as well


class Loop:
    """One thread that serves all connections of a worker."""

    def __init__(self, worker: Any, service: Service) -> None:
        """`worker` is gunicorn's, whose signal handlers clear `alive` and write to its pipe."""
        self.exit_status = 0
        self._worker = worker
        self._service = service
        self._settings = service.settings
        self._predictions = Lane("predict", 1, service.settings.queue_requests)
        self._epoll = select.epoll()
        self._signals = (worker.PIPE[0], service.loads.event)
        for descriptor in self._signals:
            self._epoll.register(descriptor, select.EPOLLIN)
        held_bytes = max(_HELD_BODIES * service.settings.payload_bytes, _HELD_BYTES_MINIMUM)
        self._connections = Connections(self._epoll, service.metrics, held_bytes)
        self._connections.now = time.monotonic()
        sockets = [listener.sock for listener in worker.sockets]
        self._listeners = Listeners(sockets, self._epoll, self._connections, service.loads)
        self._lanes = Lanes(service, self._connections, self._predictions, self._wake)
        self._responder = Responder(service, self._connections, self._lanes)
        self._swept = 0.0

    def run(self) -> None:
        """Serve until the worker is asked to stop, then answer what has begun."""
        if self._service.application is None:
            self._lanes.load(self._load)
        else:
            self._predictions.add_threads(self._service.plan.prediction_threads - 1)
            self._predictions.run_aside(self._lanes.user_calls.adopt)
        while self._worker.alive:
            if self._lanes.user_calls.may_move:
                self._lanes.user_calls.move(self._stay)
            else:
                self._balance()
                self._turn(_SWEEP_S)
        self._drain()

    def _stay(self) -> None:
        """Serve on the predictions' thread, while the user code that belongs to it is quick."""
        while self._worker.alive and self._lanes.user_calls.may_move:
            self._balance()
            self._turn(_SWEEP_S)

    def _load(self) -> None:
        """Load the application on the compute thread; until then `/ping` returns 503 (HO-6)."""
        try:
            self._service.load()
        except (UserError, PlatformError) as error:
            log.error("the model cannot be loaded: %s", error)  # noqa: TRY400 - the message is all
        except Exception:  # the boundary of a model's load: user code may raise anything
            log.exception("the model cannot be loaded")
        if self._service.application is None:
            self.exit_status = _BOOT_ERROR
            self._worker.alive = False
        else:
            self._predictions.add_threads(self._service.plan.prediction_threads - 1)
            self._lanes.user_calls.adopt()

    def _drain(self) -> None:
        """Answer what has begun, and what comes in the moment after (HO-10)."""
        self._responder.is_stopping = True
        self._guard(None, self._listeners.drain)
        sessions = self._lanes.user_calls.sessions
        sessions.stop()
        started = time.monotonic()
        end = started + self._worker.cfg.graceful_timeout
        while (self._connections or sessions) and self._connections.now < end:
            self._turn(_LAST_REQUEST_S / 10)
            if self._connections.now > started + _LAST_REQUEST_S:
                for connection in self._connections:
                    if connection.state is READING and not connection.has_begun:
                        self._guard(connection, self._connections.close, connection)

    def _balance(self) -> None:
        """Accept only while no other worker has fewer connections and jobs than this one."""
        load = len(self._connections) + self._predictions.waiting
        load += len(self._lanes.user_calls.sessions)
        if self._service.application is None:
            load += _LOADING_LOAD
        self._listeners.balance(load)

    def _turn(self, timeout_s: float) -> None:
        """Wait for events and handle each."""
        postponed = self._connections.postponed
        events = self._epoll.poll(0 if postponed else timeout_s)
        self._connections.now = time.monotonic()
        self._responder.is_stopping = not self._worker.alive
        if postponed:
            for connection in self._connections.take_postponed():
                self._guard(connection, self._responder.advance, connection)
        for descriptor, event in events:
            client = self._connections.get(descriptor)
            if client is None:
                self._guard(None, self._handle_other, descriptor)
            else:
                self._guard(client, self._handle, client, event)
        for connection, response in self._lanes.take_computed():
            self._guard(connection, self._responder.finish, connection, response)
        self._service.metrics.count_ended()
        if self._connections.now >= self._swept + _SWEEP_S:
            self._sweep()

    def _handle(self, client: Connection, event: int) -> None:
        if event & select.EPOLLIN:
            self._responder.read(client)
        elif event & select.EPOLLOUT:
            self._responder.write(client)
        else:  # the client has reset the connection
            self._connections.lose(client)

    def _guard(
        self, client: Connection | None, step: Callable[..., object], *arguments: object
    ) -> None:
        """Take a step for one client, and close its connection if that fails: the others go on."""
        try:
            step(*arguments)
        except Exception:  # the boundary of a connection
            log.exception("a connection failed and is closed")
            if client is not None and client.state is not CLOSED:
                self._connections.close(client)

    def _handle_other(self, descriptor: int) -> None:
        """Accept a client, or take note of a signal, a computed answer or another worker."""
        if descriptor in self._listeners:
            self._listeners.accept(descriptor)
        elif descriptor in self._signals:  # else it has been closed in this turn
            with contextlib.suppress(BlockingIOError):
                while os.read(descriptor, 4096):
                    pass

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            os.write(self._worker.PIPE[1], b"\0")

    # Twice a second.

    def _sweep(self) -> None:
        """Show life to the master, and end what has taken too long."""
        self._swept = self._connections.now
        self._worker.notify()
        self._show()
        load = len(self._connections)
        self._connections.surplus = self._service.loads.count_surplus(load, self._swept)
        logs.flush()
        if os.getppid() != self._worker.ppid:
            log.error("the master is gone; this worker stops")
            self._worker.alive = False
        for connection in self._connections:
            if self._swept >= connection.deadline and connection.state is not COMPUTING:
                self._guard(connection, self._end_late, connection)
        if self._worker.alive and self._is_stuck():
            self._give_up()

    def _end_late(self, connection: Connection) -> None:
        """End a connection whose client has been too slow."""
        if connection.state is READING and connection.has_begun:
            error = RequestError(408, "the request was not complete in time")
            self._responder.refuse(connection, error)
        else:
            self._connections.lose(connection)

    def _show(self) -> None:
        """Show how busy this worker is, here and not with each request."""
        in_flight = sessions = len(self._lanes.user_calls.sessions)
        for connection in self._connections:
            if connection.state in (COMPUTING, WRITING) or connection.has_begun:
                in_flight += 1
        queued = max(0, self._predictions.waiting - len(self._predictions.started))
        self._service.metrics.show(len(self._connections) + sessions, in_flight, queued)

    def _is_stuck(self) -> bool:
        """Return whether a prediction has run for too long.

        Loading a model may take as long as the platform allows, and requests that wait for their
        turn in a batch make progress.
        """
        limit = self._swept - self._settings.timeout_s
        if self._service.application is None or self._service.computing_since > limit:
            return False
        if self._lanes.user_calls.sessions.has_stuck(self._swept):
            return True
        return any(started < limit for started in list(self._predictions.started.values()))

    def _give_up(self) -> None:
        """Answer the requests that are being computed, and have this worker replaced."""
        message = "a prediction has run for more than %d s; this worker is replaced"
        log.error(message, self._settings.timeout_s)
        for connection in self._connections:
            if connection.state is COMPUTING:
                self._service.metrics.count_error("late", 503)
                response = inference.refuse(503, "the prediction took too long")
                self._guard(connection, self._responder.finish, connection, response)
        self._lanes.user_calls.sessions.abandon()
        self.exit_status = 1
        self._worker.alive = False
