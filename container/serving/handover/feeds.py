"""Pieces of a stream on their way from the thread that makes them to the loop that sends them.

A handler's stream keeps its thread until it ends, so pieces are made ahead of the client, up to a
bound. Those that have been made while the client was busy are sent together.
"""

import functools
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from container.serving.exchange import Response

_AHEAD_PIECES: Final = 64
_AHEAD_BYTES: Final = 1 << 18


class Feed:
    """The pieces of one stream. One thread or coroutine puts them, the loop takes them."""

    def __init__(self, deliver: Callable[[Response], None]) -> None:
        """`deliver` is called with the next piece, from either side, once the loop wants one."""
        self._deliver = deliver
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._end: Response | None = None
        self._is_wanted = False
        self._is_abandoned = False
        self._awake: Callable[[], object] | None = None

    def put(self, piece: bytes) -> bool:
        """Add a piece, once there is room; return False if the client has gone."""
        with self._lock:
            while self._is_full() and not self._is_abandoned:
                self._room.wait()
            return self._add(piece)

    async def put_async(self, piece: bytes) -> bool:
        """Add a piece as `put` does, from a coroutine."""
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            event = asyncio.Event()
            with self._lock:
                if not self._is_full() or self._is_abandoned:
                    return self._add(piece)
                self._awake = functools.partial(loop.call_soon_threadsafe, event.set)
            await event.wait()

    def end(self, last: Response) -> None:
        """End the stream, by an empty body, or by an error that breaks it off."""
        with self._lock:
            self._end = last
            self._pass_on()

    def want(self) -> None:
        """Have the next piece delivered, now or when it is there."""
        with self._lock:
            self._is_wanted = True
            self._pass_on()

    def abandon(self) -> None:
        """Have no more pieces made: the client has gone."""
        with self._lock:
            self._is_abandoned = True
            self._pieces.clear()
            self._wake()

    def _is_full(self) -> bool:
        return len(self._pieces) >= _AHEAD_PIECES or self._bytes >= _AHEAD_BYTES

    def _add(self, piece: bytes) -> bool:
        if self._is_abandoned:
            return False
        self._pieces.append(piece)
        self._bytes += len(piece)
        self._pass_on()
        return True

    def _pass_on(self) -> None:
        """Deliver what is there, if it is wanted."""
        if not self._is_wanted or self._is_abandoned:
            return
        if self._pieces:
            body = b"".join(self._pieces)
            self._pieces.clear()
            self._bytes = 0
            self._is_wanted = False
            self._deliver(Response(200, body, rest=self))
            self._wake()
        elif self._end is not None:
            self._is_wanted = False
            self._deliver(self._end)

    def _wake(self) -> None:
        self._room.notify_all()
        if self._awake is not None:
            self._awake()
            self._awake = None
