"""The asyncio loop on which user code runs that is `async def`: one thread runs it.

Under the worker class `event` that is the thread that has loaded the code, so that what the code
has bound to a thread stays usable; under `gthread` it is a thread of its own. This module is
imported with the first such code, because `asyncio` takes a fifth of the server's start.
"""

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator
from typing import Any

from container.errors import UserError
from container.serving.handover import held_streams


class Coroutines:
    """Runs the coroutines of user code. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._is_taken = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of this process: one made before a fork would be shared with others."""
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._process = os.getpid()
                self._is_taken = False
            return self._loop

    def run(self) -> None:
        """Run coroutines in this thread from now on."""
        loop = self.loop
        self._is_taken = True
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    def complete(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run one coroutine in this thread, before it calls `run`; return its result."""
        return self.loop.run_until_complete(coroutine)

    def leave(self) -> None:
        """Give up the loop of this process, before it forks those that will serve.

        Raises: UserError if the code still needs it, since it would not run in another process.
        """
        with self._lock:
            loop = self._loop
            self._loop = None
        if loop is None:
            return
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(_clean_up(loop, tasks))
        loop.close()
        if tasks:
            names = ", ".join(sorted(str(task.get_coro()) for task in tasks))
            raise UserError(
                f"the code has left tasks on its asyncio loop ({names[:500]}), which no worker "
                "would have: unset BYO_PRELOAD"
            )
        watched = weakref.ref(loop)
        del loop
        gc.collect()
        if watched() is not None:
            raise UserError(
                "the code has kept the asyncio loop on which model_fn ran, or what belongs to it, "
                "and no worker has that loop: unset BYO_PRELOAD"
            )

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Begin a coroutine, from any thread; it must not raise."""
        self.loop.call_soon_threadsafe(self._begin, coroutine)

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)  # the loop itself holds only weak references
        task.add_done_callback(self._tasks.discard)

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Wait for a coroutine in another thread than the one that runs it."""
        loop = self.loop
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                threading.Thread(target=self.run, name="coroutines", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    def iterate(self, pieces: AsyncIterator[bytes]) -> Iterator[bytes]:
        """Return the pieces of an asynchronous iterator for another thread than its own.

        The iterator has a method `close`, which works wherever it has come to.
        """
        return _Pieces(self, pieces)


class _Pieces(Iterator[bytes]):
    def __init__(self, coroutines: Coroutines, pieces: AsyncIterator[bytes]) -> None:
        self._coroutines = coroutines
        self._pieces = pieces

    def __next__(self) -> bytes:
        piece: bytes = self._coroutines.call(_get_next(self._pieces))
        if not piece:
            raise StopIteration
        return piece

    def close(self) -> None:
        self._coroutines.call(held_streams.close(self._pieces))


async def _clean_up(
    loop: asyncio.AbstractEventLoop, cancelled: Collection[asyncio.Task[Any]]
) -> None:
    """End what a loop has left over, with the threads of its executor."""
    await asyncio.gather(*cancelled, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


async def _get_next(pieces: AsyncIterator[bytes]) -> bytes:
    return await anext(pieces, b"")
