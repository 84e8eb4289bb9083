"""The asyncio loop of user code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

from container.serving.handover.coroutines import Coroutines


def test_threads_wait_for_coroutines_of_one_other_thread() -> None:
    coroutines = Coroutines()

    async def find_thread() -> int:
        await asyncio.sleep(0)
        return threading.get_ident()

    async def count() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number

    first = coroutines.call(find_thread())
    assert first != threading.get_ident()
    assert coroutines.call(find_thread()) == first
    assert list(coroutines.iterate(count())) == [b"0", b"1", b"2"]
    [thread] = [thread for thread in threading.enumerate() if thread.ident == first]
    coroutines.loop.call_soon_threadsafe(coroutines.loop.stop)
    thread.join(timeout=60)
    assert not thread.is_alive()
