"""How objects become requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import UserError
from local_test.jobs.transform_records import assemble, plan_requests
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


@pytest.mark.parametrize(
    ("body", "answer", "processing", "expected"),
    [
        (b"1\n2\n", b"a\nb\n", {}, b"1,a\n2,b\n"),
        (b"caf\xe9\n2\n", b"a\nb\n", {}, b"caf\xe9,a\n2,b\n"),
        (b"caf\xe9\n2\n", b"a\nb\n", {"InputFilter": "$[0]"}, "must be one row of CSV.*'utf-8'"),
        (b"caf\xe9\n2\n", b"a\nb\n", {"OutputFilter": "$[0]"}, "must be one row of CSV.*'utf-8'"),
        (b"1\n", b"header\na\n", {}, "one row of CSV.*2 rows"),
        (b"1\n", b"header\na\n", {"OutputFilter": "$[0]"}, "one row of CSV.*2 rows"),
        (b"1\n", b'"a\nb"\n', {}, b'1,"a\nb"\n'),
        (b'"1\n', b"a\n", {"OutputFilter": "$[0]"}, "must be one row of CSV"),
        (b"1\n2\n", b'{"p":\n[1, 2]}', {}, "answers all rows in one JSON document"),
        (b"1" * 200_000, b"a", {"InputFilter": "$[0]"}, "must be one row of CSV"),
    ],
)
def test_a_join_has_one_row_of_each_record_and_its_bytes_or_is_refused(
    body: bytes, answer: bytes, processing: dict[str, str], expected: bytes | str
) -> None:
    request = shorthand.transform_request(
        name="t", model_name="m", data="s3://b/x", output="s3://b/o"
    )
    request["TransformInput"] |= {"ContentType": "text/csv", "SplitType": "Line"}
    request["TransformOutput"] |= {"Accept": "text/csv", "AssembleWith": "Line"}
    request["DataProcessing"] = {"JoinSource": "Input", **processing}

    def transform() -> bytes:
        planned = list(plan_requests(request, body, Settings()))
        return assemble(request, planned, [answer] * len(planned))

    if isinstance(expected, bytes):
        assert transform() == expected
        return
    with pytest.raises(UserError, match=expected):
        transform()


def test_a_join_replaces_no_field_of_a_record() -> None:
    request = shorthand.transform_request(
        name="t", model_name="m", data="s3://b/x", output="s3://b/o"
    )
    request["TransformInput"] |= {"ContentType": "application/json", "SplitType": "Line"}
    request["DataProcessing"] = {"JoinSource": "Input"}
    planned = list(plan_requests(request, b'{"SageMakerOutput": 1}', Settings()))
    with pytest.raises(UserError, match="has a field SageMakerOutput, which the join would"):
        assemble(request, planned, [b"2"])


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400", '{"a": 1, "a": 2}'])
@pytest.mark.parametrize("is_answer", [False, True])
def test_a_join_of_json_changes_no_value(value: str, is_answer: bool) -> None:
    request = shorthand.transform_request(
        name="t", model_name="m", data="s3://b/x", output="s3://b/o"
    )
    request["TransformInput"] |= {"ContentType": "application/json", "SplitType": "Line"}
    request["DataProcessing"] = {"JoinSource": "Input"}
    body, answer = (b"{}", value.encode()) if is_answer else (f"[{value}]".encode(), b"1")
    planned = list(plan_requests(request, body, Settings()))
    with pytest.raises(UserError, match=r"is not a number of JSON, or too large|'a' twice"):
        assemble(request, planned, [answer])
