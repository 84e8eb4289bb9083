"""One bidirectional stream: what a client sends goes to the handler, what that yields goes back.

Rules of this file: a session ends with a close code and never raises; the handler's generator is
closed whatever ends it. The time of a step counts while the handler computes or its reply is being
taken, and not while it waits for the client.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeAlias

from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.server import ServerProtocol

from container.serving import inference
from container.serving.exchange import FAULTS, Response

Part: TypeAlias = str | bytes
Handler: TypeAlias = Callable[[AsyncIterator[Part]], AsyncIterator[Any]]
"""A handler's `stream_fn` around its model: from the client's parts to the replies."""
Explain: TypeAlias = Callable[[BaseException, bytes], Response]
"""Answers for an error of the handler's; the log has nothing of the client's bytes."""
_PING_S: Final = 20.0
_CLOSE_S: Final = 2.0
_PARTS_AHEAD: Final = 4
_REASON_BYTES: Final = 123  # RFC 6455, 5.5


class Session:
    """A client's stream. Everything but `stop` runs on the loop of the handler."""

    def __init__(self, handler: Handler, explain: Explain, *, step_s: float) -> None:
        """Prepare; each step of the handler may take `step_s`."""
        self.step_ends: float | None = None
        """When the current step must be over, by `time.monotonic`; None between steps."""
        self._handler = handler
        self._explain = explain
        self._step_s = step_s
        self._clock = asyncio.Timeout(None)
        self._latest = b""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self._stopping: asyncio.Future[None] | None = None

    def stop(self) -> None:
        """Let the handler end as if the client had sent its last part; from any thread."""
        self._stopped = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._announce_stop)

    def _announce_stop(self) -> None:
        if self._stopping is not None and not self._stopping.done():
            self._stopping.set_result(None)

    async def run(self, protocol: ServerProtocol, client: socket.socket, early: bytes) -> int:
        """Serve a client whose handshake is accepted, to its end; return the status to count.

        `early` has come after its handshake.
        """
        self._loop = asyncio.get_running_loop()
        self._stopping = self._loop.create_future()
        if self._stopped:
            self._announce_stop()
        try:
            connection = await self._connect(protocol, client, early)
        except OSError:  # the client has gone
            client.close()
            return 200
        status = 500
        try:
            response = await self._serve(connection)
            status = response.status
            await self._close(connection, response)
        finally:
            connection.transport.abort()
        return status

    async def _connect(
        self, protocol: ServerProtocol, client: socket.socket, early: bytes
    ) -> Connection:
        # TCP notices a client that has vanished: no pong is read while it is ahead of the handler.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 40_000)
        loop = asyncio.get_running_loop()
        _, connection = await loop.connect_accepted_socket(
            lambda: Connection(
                protocol,
                ping_interval=_PING_S,
                ping_timeout=None,
                close_timeout=_CLOSE_S,
                max_queue=_PARTS_AHEAD,
            ),
            client,
        )
        connection.data_received(early)  # which also sends the answer of the handshake
        connection.start_keepalive()
        return connection

    async def _serve(self, connection: Connection) -> Response:
        """Send what the handler yields; return how that has ended."""
        replies: AsyncIterator[Any] | None = None
        try:
            async with self._clock:
                self._begin_step()
                replies = self._handler(_Parts(self, connection))
                async for reply in replies:
                    await connection.send(_check(reply))
                    self._begin_step()
        except ConnectionClosed:  # the client has gone, and the reply is not wanted
            return Response(200)
        except TimeoutError as error:
            if not self._clock.expired():
                return self._explain(error, self._latest)
            return inference.refuse(503, f"the handler took more than {self._step_s:g} s")
        except (*FAULTS, asyncio.CancelledError) as error:
            return self._explain(error, self._latest)
        finally:
            await self._end(replies)
        return Response(200)

    async def _end(self, replies: AsyncIterator[Any] | None) -> None:
        aclose = getattr(replies, "aclose", None)
        try:
            async with asyncio.timeout(self._step_s):
                if aclose is not None:
                    await aclose()
        except (*FAULTS, asyncio.CancelledError) as error:
            self._explain(error, self._latest)
        self.step_ends = None

    async def _close(self, connection: Connection, response: Response) -> None:
        code, reason = self._find_close_code(response)
        encoded = reason.encode()[:_REASON_BYTES]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):  # a client may read nothing any more
                await connection.close(code, encoded.decode(errors="ignore"))

    def _find_close_code(self, response: Response) -> tuple[CloseCode, str]:
        """Return the close code and reason for the client (BI-2)."""
        if response.status == 200 and self._stopped:
            return CloseCode.GOING_AWAY, "the server stops"
        if response.status == 200:
            return CloseCode.NORMAL_CLOSURE, ""
        if response.status >= 500:
            return CloseCode.INTERNAL_ERROR, f"the stream failed; request id {response.request_id}"
        return CloseCode.POLICY_VIOLATION, json.loads(response.body)["error"]

    # The handler's steps.

    def _begin_step(self) -> None:
        assert self._loop is not None  # noqa: S101 - `run`
        self.step_ends = self._loop.time() + self._step_s
        self._reschedule(self.step_ends)

    def _end_step(self) -> None:
        self.step_ends = None
        self._reschedule(None)

    def _reschedule(self, when: float | None) -> None:
        with contextlib.suppress(RuntimeError):  # the time is over, or the handler has ended
            self._clock.reschedule(when)

    async def receive(self, connection: Connection) -> Part | None:
        """Wait for the client's next part, or None after the last one."""
        assert self._stopping is not None  # noqa: S101 - `run`
        self._end_step()
        received = asyncio.ensure_future(connection.recv())
        try:
            await asyncio.wait((received, self._stopping), return_when=asyncio.FIRST_COMPLETED)
            if not received.done():
                return None
            part = received.result()
        except ConnectionClosed:
            return None
        finally:
            received.cancel()
            self._begin_step()
        self._latest = part.encode() if isinstance(part, str) else part
        return part


class _Parts(AsyncIterator[Part]):
    """What the client sends: `str` for text, `bytes` for anything else, each in one piece."""

    def __init__(self, session: Session, connection: Connection) -> None:
        self._session = session
        self._connection = connection

    async def __anext__(self) -> Part:
        part = await self._session.receive(self._connection)
        if part is None:
            raise StopAsyncIteration
        return part


def _check(reply: Any) -> Part:
    if isinstance(reply, (bytearray, memoryview)):
        return bytes(reply)
    if isinstance(reply, (str, bytes)):
        return reply
    found = type(reply).__name__
    raise TypeError(f"stream_fn yielded a {found}; yield str or bytes")
