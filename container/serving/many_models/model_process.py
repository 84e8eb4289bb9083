"""A model of a multi-model endpoint in a process of its own, seen from the endpoint.

The process is the leader of a session, and ends when the endpoint closes its control socket or ends
itself. Requests go over other sockets, one for each request at a time, which are handed to it over
the control socket: nothing lies in the file system, so nothing is left behind.

A process that dies is replaced by the next request. A request that it died on is repeated once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from container.errors import RequestError, UserError
from container.serving import inference
from container.serving.exchange import Request, Response
from container.serving.many_models import wire
from container.serving.many_models.template import Child

log = logging.getLogger(__name__)

_ANSWER_S: Final = 5.0  # beyond the turn and the computing, each of which has its limit in there
_UNLOAD_S: Final = 1.0  # for requests that are being answered
_TERM_S: Final = 0.3  # from SIGTERM to SIGKILL


class DiedError(Exception):
    """The process has ended; the message says how."""


class ModelProcess:
    """A model that is loaded, or being loaded, in a process of its own. Thread-safe."""

    def __init__(
        self,
        name: str,
        fork: Callable[[], Child],
        *,
        timeout_s: float,
        requests_maximum: int,
        observe: Callable[[Response, float], None] = lambda *_: None,
    ) -> None:
        """Begin to load the model, in the process that `fork` returns.

        A request takes at most `timeout_s` once it has its turn; `requests_maximum` may wait for
        their turn. `observe` is called with each answer, and the seconds until it came.
        """
        self.used = time.monotonic()
        """When the latest request came."""
        self._name = name[:200]
        self._fork = fork
        self._timeout_s = timeout_s
        self._requests_maximum = requests_maximum
        self._observe = observe
        self._in_flight = 0
        self._closed = ""
        self._changed = threading.Condition()
        self._replacing = threading.Lock()
        self._child = _Child(fork())

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self._in_flight == 0

    @property
    def pid(self) -> int:
        """The process that has the model now."""
        return self._child.pid

    def estimate_s(self, _: Request) -> float:
        """Return infinity: it is not known."""
        return float("inf")

    def wait_until_loaded(self) -> None:
        """Wait until the process has loaded the model.

        Raises: UserError if it cannot load the model, MemoryError if it was ended because memory
        ran out.
        """
        self._wait_for(self._child)
        log.info("model %s is in process %d", self._name, self._child.pid)

    def _wait_for(self, child: _Child) -> None:
        try:
            child.wait_until_loaded()
        except DiedError as error:
            was_killed = child.was_killed
            child.kill()
            if self._closed or was_killed:
                raise MemoryError from None
            raise UserError(f"its process {error} while it loaded the model") from None
        except UserError:
            child.kill()
            raise

    def invoke(self, request: Request) -> Response:
        """Answer a request.

        Raises: RequestError 404 if the model has been unloaded meanwhile, MemoryError if its
        process died and cannot be replaced, because memory is short.
        """
        started = time.perf_counter()
        with self._count():
            response = self._invoke(request)
        self._observe(response, time.perf_counter() - started)
        return response

    @contextlib.contextmanager
    def _count(self) -> Iterator[None]:
        with self._changed:
            self.used = time.monotonic()
            if self._in_flight >= self._requests_maximum:
                message = f"{self._in_flight} requests wait for model {self._name!r} already"
                raise RequestError(503, message)
            self._in_flight += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _invoke(self, request: Request) -> Response:
        child = self._child
        for is_last in (False, True):
            try:
                return child.exchange(request, 2 * self._timeout_s + _ANSWER_S)
            except TimeoutError:
                log.warning("model %s did not answer in time: its process is ended", self._name)
                child.kill()
                return inference.refuse(503, "the prediction took too long", request.body)
            except DiedError as error:
                self._check_open()
                log.warning("the process of model %s %s", self._name, error)
                if is_last:
                    if child.was_killed:
                        raise MemoryError from None
                    message = f"the model's process {error} on this request, and so did another"
                    return inference.refuse(500, message, request.body)
                child = self._replace(child)
        raise AssertionError

    def _replace(self, dead: _Child) -> _Child:
        """Return a process in the place of a dead one, which is started by one of its requests."""
        with self._replacing:
            if self._child is dead:
                dead.kill()
                child = _Child(self._fork())
                with self._changed:
                    if not self._closed:
                        self._child = child
                if self._child is not child:
                    child.kill()
                    self._check_open()
                try:
                    self._wait_for(child)
                except UserError as error:
                    message = f"the model died, and cannot be loaded again: {error}"
                    raise RequestError(500, message) from None
                log.info("model %s is in process %d now", self._name, child.pid)
            return self._child

    def _check_open(self) -> None:
        if self._closed:
            raise RequestError(404, f"model {self._name!r} is not loaded: {self._closed}")

    def close(self, reason: str = "it was unloaded", wait_s: float = _UNLOAD_S) -> None:
        """End the process once its requests are answered, at the latest after `wait_s`.

        Its memory is free when this returns.
        """
        with self._changed:
            self._closed = reason
            self._changed.wait_for(lambda: self.is_idle, wait_s)
            child = self._child
        child.kill()


class _Child:
    """One process and the sockets to it."""

    def __init__(self, forked: Child) -> None:
        self.pid = forked.pid
        self._forked = forked
        self._control = forked.control
        self._idle: list[socket.socket] = []
        self._is_killed = False
        self._lock = threading.Lock()

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL has ended it, as the kernel does when memory runs out."""
        return self._forked.wait(0) == -signal.SIGKILL

    def wait_until_loaded(self) -> None:
        """Wait for the first message. Raises: UserError with what it says, DiedError."""
        try:
            head, _ = wire.receive(self._control)
        except (EOFError, OSError):
            raise DiedError(self._describe_end()) from None
        if "error" in head:
            raise UserError(head["error"])

    def exchange(self, request: Request, timeout_s: float) -> Response:
        """Have a request answered. Raises: DiedError, TimeoutError."""
        try:
            connection = self._take()
            try:
                connection.settimeout(timeout_s)
                wire.send_request(connection, request)
                response = wire.receive_response(connection)
            except BaseException:
                connection.close()
                raise
        except TimeoutError:
            raise
        except (EOFError, OSError):
            raise DiedError(self._describe_end()) from None
        with self._lock:
            if self._is_killed:
                connection.close()
            else:
                self._idle.append(connection)
        return response

    def _take(self) -> socket.socket:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"\0"], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        return ours

    def _describe_end(self) -> str:
        """Say how the process has ended; one that has closed its sockets is about to."""
        code = self._forked.wait(_TERM_S)
        if code is None:
            return "closed its connection"
        if code < 0:
            return f"was ended by signal {-code} ({signal.strsignal(-code)})"
        return f"exited with code {code}"

    def kill(self) -> None:
        """End the process and all that it started; twice does no harm."""
        with self._lock:
            if self._is_killed:  # by now the ID may be another process's
                return
            self._is_killed = True
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for the load
            self._control.close()
            while self._idle:
                self._idle.pop().close()
        self._signal(signal.SIGTERM)
        self._forked.wait(_TERM_S)
        self._signal(signal.SIGKILL)
        self._forked.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
