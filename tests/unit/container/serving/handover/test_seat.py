"""Who holds the loop while it runs on the thread of user code."""

from __future__ import annotations

import threading

from container.serving.handover import seat as seats
from container.serving.handover.seat import Seat
from tests.support import wait_until


def test_loop_is_taken_from_a_call_that_takes_long_and_from_no_other() -> None:
    seat: Seat[str] = Seat()
    started: dict[int, float] = {}
    seat.sit_down()
    assert seat.take(started) is None, "no call is made"
    seat.begin("quick")
    assert seat.end()

    seat.begin("slow")
    taken = wait_until(lambda: seat.take(started))

    assert taken == "slow"
    assert not seat.end(), "the thread has lost the loop"
    assert started.keys() == {threading.get_ident()}
    assert seats.LOOK_S < 0.05
