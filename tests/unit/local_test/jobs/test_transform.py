"""How objects become requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import UserError
from local_test.jobs.transform import Settings, choose_settings, plan_requests
from local_test.requests import shorthand


def test_execution_parameters_are_checked() -> None:
    request = shorthand.transform_request(
        name="t", model_name="m", data="s3://b/x", output="s3://b/o"
    )

    assert choose_settings(request, {}) == Settings(1, "MultiRecord", 6, 600.0, 3)  # BT-3
    asked = choose_settings(
        {**request, "MaxPayloadInMB": 0, "BatchStrategy": "SingleRecord"}, {"MaxPayloadInMB": 9}
    )
    assert (asked.payload_megabytes, asked.strategy) == (0, "SingleRecord")
    for wrong in (
        {"BatchStrategy": "MultiRecord"},
        {"MaxPayloadInMB": "6"},
        {"MaxConcurrentTransforms": 50},
    ):
        with pytest.raises(UserError, match="BT-"):
            choose_settings(request, wrong)


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
