"""Pieces between the thread that makes them and the loop."""

from __future__ import annotations

import asyncio
import threading

from container.serving.exchange import Response
from container.serving.handover.feeds import Feed


def test_pieces_are_delivered_when_they_are_wanted_and_together_when_they_waited() -> None:
    delivered: list[Response] = []
    feed = Feed(delivered.append)
    feed.want()
    assert feed.put(b"1")
    assert feed.put(b"2")
    assert feed.put(b"3")
    assert [piece.body for piece in delivered] == [b"1"]
    feed.want()
    feed.end(Response(200, b"", rest=feed))
    assert [piece.body for piece in delivered] == [b"1", b"23"]
    feed.want()
    assert [piece.body for piece in delivered] == [b"1", b"23", b""]


def test_thread_waits_for_room_and_stops_when_the_client_has_gone() -> None:
    delivered: list[Response] = []
    feed = Feed(delivered.append)
    put: list[bool] = []

    def make() -> None:
        while not put or put[-1]:
            put.append(feed.put(b"piece"))

    thread = threading.Thread(target=make)
    thread.start()
    feed.want()
    feed.abandon()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert len(put) <= 2 * 64 + 2, "it made more than there was room for"


def test_coroutine_waits_for_room_too() -> None:
    async def run() -> tuple[int, bool]:
        feed = Feed(lambda _: None)
        made = 0

        async def make() -> None:
            nonlocal made
            while await feed.put_async(b"piece"):
                made += 1

        task = asyncio.create_task(make())
        for _ in range(100):
            await asyncio.sleep(0)
        held = made
        feed.abandon()
        await task
        return held, task.done()

    assert asyncio.run(run()) == (64, True)
