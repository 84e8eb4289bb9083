"""When the event loop calls user code itself."""

from __future__ import annotations

from container.serving.user_code.turns import Pace


def test_code_is_quick_after_some_quick_calls_and_until_calls_are_slow_on_average() -> None:
    pace = Pace()
    for _ in range(15):
        pace.observe(0.0001)
        assert not pace.is_quick, "it is still being measured"
    pace.observe(0.0001)
    assert pace.is_quick
    pace.observe(0.01)
    assert pace.is_quick, "one slow call says little"
    for _ in range(16):
        pace.observe(0.01)
    assert not pace.is_quick
    for _ in range(16):
        pace.observe(0.0001)
    assert pace.is_quick
    pace.observe(1.0)
    assert not pace.is_quick, "a call that takes so long is enough"


def test_measurements_that_wait_for_another_thread_now_and_then_do_not_hide_quick_code() -> None:
    pace = Pace()
    for number in range(16):
        pace.observe(0.005 if number % 3 == 0 else 0.0002)
    assert pace.is_quick
