"""How objects become requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from local_test.jobs.transform_records import plan_requests
from local_test.jobs.transform_settings import Settings
from local_test.requests import shorthand


@given(st.lists(st.text("ab,", max_size=9), max_size=30), st.integers(1, 40))
def test_packed_requests_hold_every_byte_once_within_the_limit(
    lines: list[str], limit: int
) -> None:
    request = shorthand.transform_request(
        name="t", model_name="m", data="s3://b/x", output="s3://b/o"
    )
    body = "".join(line + "\n" for line in lines).encode()

    class Tight(Settings):
        payload_bytes = max([limit, *(len(line) + 1 for line in lines)])  # type: ignore[assignment]

    planned = list(plan_requests(request, body, Tight()))

    assert b"".join(plan.body for plan in planned) == body
    assert all(len(plan.body) <= Tight.payload_bytes for plan in planned)  # type: ignore[operator]
    assert [text for plan in planned for text in plan.inputs] == [line.encode() for line in lines]
