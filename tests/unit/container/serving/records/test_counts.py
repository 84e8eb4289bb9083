"""The limits on the number of records (SEC-6)."""

import pytest

from container.errors import RequestError
from container.serving.records import counts


@pytest.mark.parametrize(
    ("count", "body_bytes", "is_possible"),
    [(100_000, 1, True), (100_001, 1, False), (200_000, 51_200_000, True), (200_001, 1, False)],
)
def test_records_may_be_many_or_long(count: int, body_bytes: int, is_possible: bool) -> None:
    if is_possible:
        counts.check_records(count, body_bytes, "lines")
        return
    with pytest.raises(RequestError, match="more than 100000 lines; send fewer") as caught:
        counts.check_records(count, body_bytes, "lines")
    assert caught.value.status == 413


def test_parts_and_rows_have_limits_of_their_own() -> None:
    counts.check_parts(10_000, "parts")
    counts.check_rows(400_000, 1)
    with pytest.raises(RequestError, match="more than 10000 parts"):
        counts.check_parts(10_001, "parts")
    with pytest.raises(RequestError, match="more than 400000 rows"):
        counts.check_rows(400_001, 1)
