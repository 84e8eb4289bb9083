"""What ends a deployment."""

from __future__ import annotations

import pytest

from local_test.endpoints.rollouts.guard import Guard, RollbackError, StoppedError, Terms
from tests.unit.local_test.endpoints.played import PlayedTime


def test_alarms_are_looked_at_every_second_and_at_the_end() -> None:
    time = PlayedTime()
    looks: list[float] = []

    def look(_: object) -> list[str]:
        looks.append(time.now_s)
        return []

    guard = Guard(Terms(find_tripped=look, clock=time.clock), ["x"], 100, time)
    guard.wait(2.5)
    assert looks == [0, 1, 2, 2.5]
    guard.wait(0)
    assert looks[4:] == [2.5]


def test_nobody_is_asked_without_alarms() -> None:
    time = PlayedTime()

    def refuse(_: object) -> list[str]:
        raise AssertionError

    guard = Guard(Terms(find_tripped=refuse, clock=time.clock), [], 100, time)
    guard.wait(100)
    with pytest.raises(RollbackError, match="did not complete within"):
        guard.wait(1)


def test_the_end_of_the_endpoint_comes_first() -> None:
    time = PlayedTime()
    guard = Guard(Terms(find_tripped=lambda _: ["x"], clock=time.clock), ["x"], 0, time)
    time.set()
    assert guard.has_ended()
    with pytest.raises(StoppedError):
        guard.check()
