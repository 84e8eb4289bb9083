"""Copies of requests: how many are sent, and what is counted of those that are not answered."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from container.errors import RequestError
from local_test.endpoints.variants import shadow
from local_test.endpoints.variants.shadow import Shadow
from local_test.endpoints.variants.variant import Variant
from tests.support import wait_until


class PlayedVariant:
    """A variant that answers once it is let go."""

    name = "v"

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.starter = SimpleNamespace(on_line=lambda _, line: self.lines.append(line))
        self.let_go = threading.Event()
        self.begun = threading.Semaphore(0)

    @contextlib.contextmanager
    def lease(self) -> Iterator[Any]:
        """Yield what answers."""
        self.begun.release()
        self.let_go.wait()
        yield self

    def answer(self, body: bytes, headers: dict[str, str]) -> Any:
        """Answer with the status in the body; 424 is no answer."""
        assert headers == {"accept": "text/csv"}
        if body == b"424":
            raise RequestError(424, "the connection broke")
        return SimpleNamespace(status=int(body))

    def summarize(self) -> dict[str, str]:
        """Return what the console shows."""
        return {"Healthy servers": "1 of 1"}


HEADERS = {"accept": "text/csv"}


def make(share: float = 1.0) -> tuple[PlayedVariant, Shadow, list[int]]:
    variant = PlayedVariant()
    recorded: list[int] = []
    found = Shadow(
        cast("Variant", variant), share, lambda _, __, answer: recorded.append(answer.status)
    )
    return variant, found, recorded


def test_copies_without_an_answer_are_counted_and_reported() -> None:
    variant, copies, recorded = make()
    variant.let_go.set()
    for status in (b"200", b"500", b"424"):
        copies.copy(status, HEADERS)
    wait_until(lambda: copies.counts.sent == 3)
    copies.close()
    assert sorted(recorded) == [200, 500]
    assert copies.counts.failed == 2
    assert variant.lines == ["[platform] a copy was not answered: the connection broke"]
    copies.copy(b"200", HEADERS)  # after the end
    assert copies.counts.sent == 3


@pytest.mark.parametrize(("share", "sent"), [(0.0, 0), (0.25, 2), (0.5, 4), (2.0, 8)])
def test_a_share_of_the_requests_is_copied(
    monkeypatch: pytest.MonkeyPatch, share: float, sent: int
) -> None:
    variant, copies, _ = make(share)
    variant.let_go.set()
    drawn = iter([number / 8 for number in range(8)])
    monkeypatch.setattr(shadow.random, "random", lambda: next(drawn))
    for _ in range(8):
        copies.copy(b"200", HEADERS)
    wait_until(lambda: copies.counts.sent == sent)
    copies.close()
    assert copies.counts.sent == sent


def test_a_slow_shadow_drops_copies_and_never_delays_requests() -> None:
    variant, copies, recorded = make()
    for _ in range(70):
        copies.copy(b"200", HEADERS)  # returns at once, although nothing is answered
    assert copies.counts.dropped == 6
    assert "64 with 192 bytes wait already" in variant.lines[0]
    for _ in range(4):  # as many as are under way at once
        variant.begun.acquire()
    closing = threading.Thread(target=copies.close)
    closing.start()
    wait_until(lambda: copies.counts.dropped == 66)  # those that waited
    variant.let_go.set()
    closing.join()
    assert recorded == [200] * 4
    assert variant.lines[-1] == "[platform] 66 copies were dropped in all"
    assert copies.summarize() == {"Healthy servers": "1 of 1; copies: 4 sent, 0 failed, 66 dropped"}


def test_waiting_copies_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "_QUEUE_BYTES", 9)
    variant, copies, recorded = make()
    large = b"200".ljust(10)
    copies.copy(large, HEADERS)  # the only one may be as large as a request
    copies.copy(b"200", HEADERS)
    assert copies.counts.dropped == 1
    assert "a copy was dropped: 1 with 10 bytes wait already" in variant.lines[0]
    variant.let_go.set()
    copies.close()
    assert (recorded, copies.counts.dropped) == ([200], 1)


def test_answered_copies_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "_QUEUE_BYTES", 3)
    variant, copies, _ = make()
    variant.let_go.set()

    def send_one_more() -> bool:
        copies.copy(b"200", HEADERS)
        return copies.counts.sent > 2

    wait_until(send_one_more)  # a copy that comes too early is dropped
    copies.close()


def test_what_cannot_be_recorded_or_comes_too_late_is_reported() -> None:
    variant = PlayedVariant()
    variant.let_go.set()

    def fill(*_: object) -> None:
        raise OSError(28, "No space left on device")

    found = Shadow(cast("Variant", variant), 1.0, fill)
    found.copy(b"200", HEADERS)
    found.close()
    found.copy(b"200", HEADERS)

    assert "a copy was not recorded: OSError(28, 'No space left on device')" in variant.lines[0]
    assert found.counts.dropped == 1
