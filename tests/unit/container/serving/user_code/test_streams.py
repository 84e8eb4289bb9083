"""What a handler may yield."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from container.serving.user_code import streams
from container.serving.user_code.streams import Stream


def test_text_and_bytes_are_sent_and_empty_pieces_left_out() -> None:
    stream = Stream(iter(["é", "", b"", bytearray(b"1"), memoryview(b"2")]))
    assert list(stream) == ["é".encode(), b"1", b"2"]
    assert stream.content_type == streams.TEXT
    raw = Stream(iter([b"", b"1", "a"]))
    assert list(raw) == [b"1", b"a"]
    assert raw.content_type == streams.BYTES


@pytest.mark.parametrize("piece", [{"a": 1}, 1, None, ["a"]])
def test_other_pieces_are_refused_by_name(piece: Any) -> None:
    with pytest.raises(TypeError, match=f"yielded a {type(piece).__name__}; yield str or bytes"):
        list(Stream(iter([piece])))


def test_generators_are_closed_when_they_are_left() -> None:
    closed: list[str] = []

    def generate() -> Iterator[str]:
        try:
            while True:
                yield "a"
        finally:
            closed.append("thread")

    async def generate_async() -> AsyncIterator[str]:
        try:
            while True:
                yield "a"
        finally:
            closed.append("coroutine")

    pieces = iter(Stream(generate()))
    next(pieces)
    pieces.close()  # type: ignore[attr-defined] # a generator

    async def leave() -> None:
        asynchronous = aiter(Stream(generate_async()))
        await anext(asynchronous)
        await asynchronous.aclose()  # type: ignore[attr-defined] # a generator

    asyncio.run(leave())
    assert closed == ["thread", "coroutine"]


def test_what_is_a_stream() -> None:
    assert streams.is_stream(iter([]))
    assert not any(map(streams.is_stream, ([], "a", b"a", {}, None, (1, 2))))
