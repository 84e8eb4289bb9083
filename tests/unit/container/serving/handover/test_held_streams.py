"""A stream's end is seen once, wherever it has come to and whatever its code raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from container.serving.handover.held_streams import AsyncHeldStream, HeldStream

ENDS = pytest.mark.parametrize(
    ("kind", "taken", "expected"),
    [
        ("good", 0, 200),
        ("good", 1, 200),
        ("good", 9, 200),
        ("bad", 1, 200),
        ("bad", 9, 500),
        ("stubborn", 0, 200),
        ("stubborn", 1, 500),
        ("careless", 0, 200),
        ("careless", 1, 500),
    ],
)


def make(kind: str) -> Iterator[bytes]:
    try:
        yield b"a"
        if kind == "bad":
            raise KeyError(kind)
        yield b"b"
    except GeneratorExit:
        if kind == "stubborn":
            yield b"c"
        if kind == "careless":
            raise KeyError(kind) from None
        raise


async def make_async(kind: str) -> AsyncIterator[bytes]:
    try:
        yield b"a"
        if kind == "bad":
            raise KeyError(kind)
        yield b"b"
    except GeneratorExit:
        if kind == "stubborn":
            yield b"c"
        if kind == "careless":
            raise KeyError(kind) from None
        raise


@ENDS
def test_a_stream_ends_once(kind: str, taken: int, expected: int) -> None:
    ends: list[int] = []
    stream = HeldStream(make(kind), 200, ends.append)
    try:
        for _ in range(taken):
            next(stream)
    except (KeyError, StopIteration):
        pass
    stream.close()
    stream.close()
    assert ends == [expected]


@ENDS
def test_an_asynchronous_stream_ends_once(kind: str, taken: int, expected: int) -> None:
    ends: list[int] = []

    async def use() -> None:
        stream = AsyncHeldStream(make_async(kind), 200, ends.append)
        try:
            for _ in range(taken):
                await anext(stream)
        except (KeyError, StopAsyncIteration):
            pass
        await stream.aclose()
        await stream.aclose()

    asyncio.run(use())
    assert ends == [expected]
