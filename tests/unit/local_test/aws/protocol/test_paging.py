"""Pages of lists: every entry comes once, and a token fits its own request only."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.aws.protocol.messages import AwsError
from local_test.aws.protocol.paging import Pager

PAGER = Pager("ListThings", 10)


def rank(item: int) -> list[Any]:
    return [item]


def read_all(items: list[int], request: dict[str, Any], **arguments: Any) -> list[list[int]]:
    pages = []
    while True:
        shown, more = PAGER.cut(items, request, **arguments)
        pages.append(shown)
        if not more:
            return pages
        request = {**request, **more}


@given(st.lists(st.integers(), unique=True, max_size=30), st.integers(1, 7), st.booleans())
def test_every_entry_comes_once_in_order(
    items: list[int],
    length: int,
    is_descending: bool,
) -> None:
    request = {"MaxResults": length}
    pages = read_all(items, request, rank=rank, is_descending=is_descending)
    assert [item for page in pages for item in page] == sorted(items, reverse=is_descending)
    assert all(len(page) == length for page in pages[:-1])
    pages = read_all(items, request)
    assert [item for page in pages for item in page] == items


def test_entries_that_come_or_go_do_not_move_the_pages() -> None:
    request = {"MaxResults": 2}
    shown, more = PAGER.cut([10, 20, 30, 40], request, rank)
    assert shown == [10, 20]
    shown, _ = PAGER.cut([5, 20, 25, 30, 40], {**request, **more}, rank)
    assert shown == [25, 30]


def test_the_default_length_is_the_operations() -> None:
    assert [len(page) for page in read_all(list(range(25)), {})] == [10, 10, 5]


def test_the_length_may_change_but_the_filters_may_not() -> None:
    _, more = PAGER.cut(range(5), {"NameContains": "a", "MaxResults": 2})
    shown, _ = PAGER.cut(range(5), {"NameContains": "a", "MaxResults": 1, **more})
    assert shown == [2]
    with pytest.raises(AwsError, match="same filters and sorting") as caught:
        PAGER.cut(range(5), {"NameContains": "b", **more})
    assert caught.value.code == "ValidationException"
    with pytest.raises(AwsError, match="Invalid NextToken"):
        Pager("ListOthers", 10).cut(range(5), {"NameContains": "a", **more})


NESTED = base64.b64encode(b"[" * 5000).decode()


@pytest.mark.parametrize("token", ["x", "e30=", "W10=", "\x00", "é", "\ud800", NESTED])
def test_rubbish_is_no_token(token: str) -> None:
    pager = Pager("DescribeThings", 5, "nextToken", "limit", "InvalidParameterException")
    with pytest.raises(AwsError, match="Invalid nextToken") as caught:
        pager.cut(range(5), {"nextToken": token})
    assert caught.value.code == "InvalidParameterException"


def test_a_token_with_the_rank_of_another_list_is_refused() -> None:
    _, more = PAGER.cut(range(5), {"MaxResults": 1})
    digest, _ = json.loads(base64.b64decode(more["NextToken"]))
    token = base64.b64encode(json.dumps([digest, ["a name"]]).encode()).decode()
    with pytest.raises(AwsError, match="Invalid NextToken"):
        PAGER.cut(range(5), {"MaxResults": 1, "NextToken": token})
