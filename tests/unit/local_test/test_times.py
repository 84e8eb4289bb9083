"""Times as people read them."""

from __future__ import annotations

import pytest

from local_test.times import format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.04, "0.0 s"), (59.9, "59.9 s"), (245, "4 min 5 s"), (7380, "2 h 3 min")],
)
def test_a_duration_is_short(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text
