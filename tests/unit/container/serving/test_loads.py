"""Which worker accepts the next connection."""

from __future__ import annotations

import os

import pytest

from container.serving.loads import Loads


def act_as(loads: Loads, row: int) -> None:
    """Be the worker of a row, as after a fork."""
    loads._own = row  # noqa: SLF001 - a fork keeps the row that was taken last


def test_worker_with_the_least_load_accepts_and_wakes() -> None:
    loads = Loads(2)
    rows = [loads.take(), loads.take()]
    act_as(loads, rows[0])
    assert loads.is_least(1, now=10.0)
    act_as(loads, rows[1])
    assert not loads.is_least(2, now=10.5)

    loads.wake_lesser(2)

    act_as(loads, rows[0])
    assert os.eventfd_read(loads.event) == 1


def test_worker_that_is_silent_or_gone_takes_no_connections() -> None:
    loads = Loads(2)
    rows = [loads.take(), loads.take()]
    act_as(loads, rows[0])
    assert loads.is_least(0, now=10.0)
    act_as(loads, rows[1])

    assert not loads.is_least(1, now=11.0)
    assert loads.is_least(1, now=12.0)
    loads.free(rows[0])
    assert loads.is_least(1, now=10.0)
    assert loads.take() == rows[0]


def test_worker_that_came_first_gives_away_what_it_has_too_many_of() -> None:
    loads = Loads(3)
    first = loads.take()
    loads.is_least(32, now=100.0)
    assert loads.count_surplus(32, now=100.0) == 0, "it is alone"
    loads.take()
    loads.is_least(0, now=100.0)
    assert loads.count_surplus(0, now=100.0) == 0
    loads._own = first  # noqa: SLF001 - as in the first worker's process
    assert loads.count_surplus(32, now=100.5) == 16
    assert loads.count_surplus(1, now=100.5) == 0, "a single client stays"
    assert loads.count_surplus(32, now=200.0) == 0, "the other one is silent"


def test_a_system_without_eventfd_can_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS, where the worker class is gthread, which accepts as the kernel likes."""
    monkeypatch.delattr(os, "eventfd")
    monkeypatch.delattr(os, "EFD_NONBLOCK")

    loads = Loads(2)

    assert [loads.take(), loads.take()] == [0, 1]
    assert loads.is_least(0, 1.0)
