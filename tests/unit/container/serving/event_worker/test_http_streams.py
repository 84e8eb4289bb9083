"""A few thousand generated streams read by ours, by h11 and by llhttp; `http_streams` has more."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from container.serving.event_worker import http1
from container.serving.exchange import Response
from tests.unit.container.serving.event_worker import http_streams
from tests.unit.container.serving.event_worker.test_turns import Worker

STREAMS = 3000


def test_generated_streams_are_read_as_h11_and_llhttp_read_them() -> None:
    """SEC-7: beyond the two lists of reasons in `http_streams`."""
    differences = []
    for number in range(STREAMS):
        chance = http_streams.make_chance(number)
        stream = http_streams.make_stream(chance)
        pieces = http_streams.cut(chance, stream)
        differences += [(stream, text) for text in http_streams.find_differences(stream, pieces)]

    assert differences == []


def skip_to_an_empty_line(_: Any, data: bytearray) -> bool:
    end = data.find(b"\r\n\r\n")
    del data[: end + 4 if end >= 0 else 0]
    return end >= 0


def ignore_transfer_encoding(headers: dict[str, str], *, is_1_1: bool) -> int:
    assert is_1_1 is not None
    return int(headers.get("content-length", "0"))


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (http1.ChunkedBody, "_read_trailer", skip_to_an_empty_line),
        (http1, "_parse_body_bytes", ignore_transfer_encoding),
        (http1, "_keeps_alive", lambda *_, **__: True),
    ],
    ids=["trailers are not read", "the length wins over chunks", "close is ignored"],
)
def test_comparison_finds_a_parser_that_is_broken(
    owner: Any, name: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, broken)

    assert any(
        list(http_streams.find_differences(stream, [stream]))
        for stream in (
            http_streams.make_stream(http_streams.make_chance(number)) for number in range(1000)
        )
    )


def test_loop_drives_its_parser_as_the_comparison_does(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[http_streams.Message] = []
    worker = Worker(lambda: None)
    responder = worker.loop._responder  # noqa: SLF001 - what is tested

    def note(connection: Any, head: http1.Head, body: bytes) -> None:
        words = (head.method.encode(), head.target.encode())
        noted.append(http_streams.Message(*words, body, head.keep_alive, not head.takes_chunks))
        responder._send(connection, Response(200))  # noqa: SLF001 - what is tested

    monkeypatch.setattr(responder, "_answer", note)
    for number in range(40):
        noted.clear()
        chance = http_streams.make_chance(number)
        stream = http_streams.make_stream(chance)
        client, _ = worker.connect()
        with contextlib.suppress(ConnectionError):  # refused before its end
            for piece in http_streams.cut(chance, stream):
                client.sendall(piece)
                worker.turn()
        client.close()
        while len(worker.connections):
            worker.turn()

        assert noted == http_streams.Ours().read([stream]).messages
    worker.close()
