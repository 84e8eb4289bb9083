"""Insights queries on the logs of jobs."""

from __future__ import annotations

from typing import Any

import pytest

from local_test import patterns
from local_test.aws.account import log_operations, log_queries
from local_test.aws.account.account import Account
from local_test.aws.protocol.messages import AwsError

GROUP = "/aws/sagemaker/TrainingJobs"


def ask(account: Account, query: str, **request: Any) -> list[dict[str, str]]:
    """Return the rows of a query on two streams."""
    lines = [("a/algo-1-1", "loss=0.5"), ("a/algo-1-1", "Error: 1 | 2"), ("a/algo-2-1", "loss=0.4")]
    if GROUP not in account.logs.groups():
        for stream, line in lines:
            account.logs.append(GROUP, stream, line)
    place: dict[str, Any] = request or {"logGroupName": GROUP}
    started = {"queryString": query, "startTime": 0, "endTime": 2**33, **place}
    assert log_operations.concerns("StartQuery", started)
    identity = log_operations.OPERATIONS["StartQuery"](account.logs, started)
    assert log_operations.concerns("GetQueryResults", identity)
    answer = log_operations.OPERATIONS["GetQueryResults"](account.logs, identity)
    assert answer["status"] == "Complete"
    assert answer["statistics"]["recordsScanned"] == len(lines)
    return [{item["field"]: item["value"] for item in row} for row in answer["results"]]


@pytest.mark.parametrize(
    ("condition", "messages"),
    [
        ("@message like /loss=0\\.[45]/", ["loss=0.5", "loss=0.4"]),
        ("@message like 'loss'", ["loss=0.5", "loss=0.4"]),
        ("@message not like /LOSS/i", ["Error: 1 | 2"]),
        ('@message like /1 | 2/ and @logStream = "a/algo-1-1"', ["Error: 1 | 2"]),
        ('@logStream =~ /algo-2/ or @message like "Error"', ["Error: 1 | 2", "loss=0.4"]),
        ("@message != 'loss=0.5' and @message like /loss/", ["loss=0.4"]),
    ],
)
def test_a_filter_selects_events(account: Account, condition: str, messages: list[str]) -> None:
    query = f"# mine\nfields @message\n| filter {condition} | sort @ptr asc | limit 10"
    assert [row["@message"] for row in ask(account, query)] == messages


@pytest.mark.parametrize(
    "place",
    [
        {"logGroupNames": [GROUP]},
        {"logGroupIdentifiers": [f"arn:aws:logs:us-east-1:0:log-group:{GROUP}"]},
    ],
)
def test_every_way_to_name_the_groups_works(account: Account, place: dict[str, Any]) -> None:
    [row] = ask(account, "sort @logStream desc | limit 1 | display @logStream", **place)
    assert row == {"@logStream": "a/algo-2-1", "@ptr": f"{GROUP}:a/algo-2-1:0"}


@pytest.mark.parametrize(
    "query",
    [
        *("stats count(*) by bin(5m)", "parse @message 'x=*' as x", "fields @nothing"),
        *("filter @message like", "filter (@message like /a/)", "filter @message like /(/"),
        *("limit 0", "limit x", "sort @message up", "filter @message = /x/"),
        "filter @message like /a/ xor @message like /b/",
        "filter @message like /a{99999999999}/",
        f"limit {'9' * 5000}",
        f"filter @message like /{'(' * 500}{')' * 500}/",
    ],
)
def test_what_is_not_emulated_is_refused(query: str) -> None:
    with pytest.raises(AwsError) as caught:
        log_queries.read(query)
    assert caught.value.code == "MalformedQueryException"


def test_a_pattern_that_takes_too_long_is_refused(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "LIMIT_S", 0.5)
    account.logs.append(GROUP, "a/algo-1-1", "a" * 40 + "!")
    for stream in ("a/algo-1-1", "a/algo-2-1"):
        account.logs.append(GROUP, stream, "loss=0.5")
    with pytest.raises(AwsError, match=r"takes more than 0\.5 s") as caught:
        ask(account, "filter @message like /(a+)+$/")
    assert caught.value.code == "MalformedQueryException"


def test_an_unknown_query_and_group_are_named(account: Account) -> None:
    for operation, request in (
        ("GetQueryResults", {"queryId": "sagemaker-x"}),
        ("StartQuery", {"logGroupName": GROUP, "queryString": "limit 1"}),
    ):
        with pytest.raises(AwsError) as caught:
            log_operations.OPERATIONS[operation](account.logs, request)
        assert caught.value.code == "ResourceNotFoundException"


def test_queries_are_listed_newest_first(account: Account) -> None:
    for query in ("limit 1", "limit 2"):
        ask(account, query)
    answer = log_operations.OPERATIONS["DescribeQueries"](account.logs, {"logGroupName": GROUP})
    assert [item["queryString"] for item in answer["queries"]] == ["limit 2", "limit 1"]
