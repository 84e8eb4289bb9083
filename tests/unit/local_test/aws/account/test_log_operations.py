"""CloudWatch Logs on the groups of SageMaker: filters and pages; no process, no network."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from local_test.aws.account import log_operations, log_queries
from local_test.aws.account.logs import LogStore
from local_test.aws.protocol.messages import AwsError
from local_test.requests import shapes, treatments
from tests.unit.local_test.aws.watched import Reads, watch

GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.mark.parametrize(
    ("pattern", "is_found"),
    [
        ("", True),
        ("epoch", True),
        ('"epoch=1; loss"', True),
        ("epoch missing", False),
        ("?missing ?loss", True),
        ("epoch -loss", False),
    ],
)
def test_log_filters_take_terms_as_the_service_does(pattern: str, *, is_found: bool) -> None:
    assert log_queries.compile_filter(pattern)("epoch=1; loss=2") is is_found


def test_a_log_filter_that_is_not_emulated_says_so() -> None:
    with pytest.raises(AwsError, match="not emulated"):
        log_queries.compile_filter("{ $.level = 1 }")


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    """Two streams; ten lines in one, one in the other."""
    found = LogStore(tmp_path)
    for number in range(10):
        found.append(GROUP, "job/algo-1-0", f"line {number}")
    found.append(GROUP, "other/algo-1-0", "line of another job")
    found.finish(GROUP, "")
    return found


def read(store: LogStore, **members: Any) -> tuple[list[str], dict[str, Any]]:
    request = {"logGroupName": GROUP, "logStreamName": "job/algo-1-0", **members}
    answer = log_operations.OPERATIONS["GetLogEvents"](store, request)
    return [event["message"][-1] for event in answer["events"]], answer


def test_events_are_read_page_by_page_in_both_directions(store: LogStore) -> None:
    newest, answer = read(store, limit=4)
    assert newest == ["6", "7", "8", "9"]
    older, _ = read(store, limit=4, nextToken=answer["nextBackwardToken"])
    assert older == ["2", "3", "4", "5"]
    oldest, answer = read(store, limit=4, startFromHead=True)
    assert oldest == ["0", "1", "2", "3"]
    younger, _ = read(store, limit=4, nextToken=answer["nextForwardToken"])
    assert younger == older[2:] + newest[:2]


def test_the_forward_token_of_the_end_stays_the_same(store: LogStore) -> None:
    _, answer = read(store)
    found, again = read(store, nextToken=answer["nextForwardToken"])
    assert found == []
    assert again["nextForwardToken"] == answer["nextForwardToken"]


@pytest.mark.parametrize("token", ["x", "f/1000000", "f/-1", "f/" + "1" * 5000])
def test_a_token_that_nobody_got_is_refused(store: LogStore, token: str) -> None:
    with pytest.raises(AwsError) as caught:
        read(store, nextToken=token)
    assert caught.value.code == "InvalidParameterException"


@pytest.mark.parametrize("name", ["other", "x" * 512, "..", "\0"])
def test_a_stream_of_any_other_name_does_not_exist(store: LogStore, name: str) -> None:
    place = {"logGroupName": GROUP, "logStreamName": name, "logStreamNames": [name]}
    for operation in ("GetLogEvents", "FilterLogEvents"):
        with pytest.raises(AwsError) as caught:
            log_operations.OPERATIONS[operation](store, place)
        assert caught.value.code == "ResourceNotFoundException"


def test_a_query_needs_a_group(store: LogStore) -> None:
    request = {"queryString": "limit 1", "startTime": 0, "endTime": 1}
    with pytest.raises(AwsError, match="needs the name of a log group"):
        log_operations.OPERATIONS["StartQuery"](store, request)


def test_filtered_events_of_all_streams_come_in_pages(store: LogStore) -> None:
    seen: list[str] = []
    request: dict[str, Any] = {"logGroupName": GROUP, "filterPattern": "line", "limit": 4}
    while True:
        answer = log_operations.OPERATIONS["FilterLogEvents"](store, request)
        seen += [event["message"] for event in answer["events"]]
        if "nextToken" not in answer:
            break
        request["nextToken"] = answer["nextToken"]
    assert sorted(seen) == sorted([*(f"line {n}" for n in range(10)), "line of another job"])


def test_a_line_that_a_crash_cut_off_is_not_an_event(store: LogStore) -> None:
    with store.path(GROUP, "job/algo-1-0").open("ab") as file:
        file.write(b"1700000000000 half a li")
    found, _ = read(store)
    assert found[-1] == "9"


def test_an_empty_line_is_no_event_as_the_service_takes_none(store: LogStore) -> None:
    for text in ("", "the last x", ""):
        store.append(GROUP, "job/algo-1-0", text)
    found, answer = read(store, limit=2)
    assert found == ["9", "x"]
    assert read(store, nextToken=answer["nextForwardToken"])[0] == []


@pytest.mark.parametrize("lines", [[""], ["", "", ""], ["", "an event"]])
def test_a_stream_exists_from_its_first_line_on(tmp_path: Path, lines: list[str]) -> None:
    store = LogStore(tmp_path)
    for line in lines:
        store.append(GROUP, "a/algo-1", line)
    answer = log_operations.OPERATIONS["DescribeLogStreams"](store, {"logGroupName": GROUP})
    [stream] = answer["logStreams"]
    stamp = int(store.path(GROUP, "a/algo-1").read_text().split(" ")[0])
    assert stream["creationTime"] == stamp
    assert ("firstEventTimestamp" in stream) == ("lastEventTimestamp" in stream) == any(lines)
    [group] = log_operations.OPERATIONS["DescribeLogGroups"](store, {"logGroupNamePrefix": GROUP})[
        "logGroups"
    ]
    assert group["creationTime"] == stamp


def test_each_member_of_a_request_is_asked_for_or_listed_as_without_effect(
    store: LogStore,
) -> None:
    place = {"logGroupName": GROUP, "logStreamName": "job/algo-1-0"}
    query = {"logGroupName": GROUP, "queryString": "limit 1", "startTime": 0, "endTime": 2**40}
    started = log_operations.OPERATIONS["StartQuery"](store, query)
    silent = []
    for operation, act in log_operations.OPERATIONS.items():
        reads: Reads = set()
        requests = {"StartQuery": query, "GetQueryResults": started, "StopQuery": started}
        for named in (place, {**place, "logGroupName": "", "logGroupIdentifier": GROUP}):
            asked = watch(requests.get(operation, named), operation, reads)
            with contextlib.suppress(AwsError):  # a query that has ended cannot be stopped
                act(store, asked)
        members = set(shapes.input_shape(operation, "logs").members)
        without_effect = set(treatments.KEPT.get(operation, ()))
        assert without_effect <= members
        silent += sorted(members - without_effect - {path for _, path in reads})
    assert silent == []


def test_lists_of_groups_queries_and_results_come_in_pages(store: LogStore) -> None:
    store.append("/aws/sagemaker/ProcessingJobs", "job/algo-1-0", "a line")
    store.finish("/aws/sagemaker/ProcessingJobs", "")
    query = {"logGroupName": GROUP, "queryString": "limit 3", "startTime": 0, "endTime": 2**40}
    started = [log_operations.OPERATIONS["StartQuery"](store, query) for _ in range(2)]
    for operation, members, length, place, count in (
        ("DescribeLogGroups", {}, "limit", "logGroups", 2),
        ("DescribeQueries", {"logGroupName": GROUP}, "maxResults", "queries", 2),
        ("GetQueryResults", started[0], "maxItems", "results", 3),
    ):
        pages, token = [], {}
        for _ in range(count):
            asked = {**members, length: 1, **token}
            answer = log_operations.OPERATIONS[operation](store, asked)
            token = {"nextToken": answer.get("nextToken")}
            pages.append(repr(answer[place]))
        assert (len(set(pages)), token) == (count, {"nextToken": None})


@pytest.mark.parametrize(
    ("members", "count"),
    [
        ({"logGroupIdentifiers": [f"arn:aws:logs:us-east-1:0:log-group:{GROUP}"]}, 1),
        ({"logGroupIdentifiers": ["/aws/sagemaker/Other"]}, 0),
        ({"logGroupClass": "STANDARD"}, 1),
        ({"logGroupClass": "INFREQUENT_ACCESS"}, 0),
    ],
)
def test_groups_are_filtered(store: LogStore, members: Any, count: int) -> None:
    answer = log_operations.OPERATIONS["DescribeLogGroups"](store, members)
    assert len(answer["logGroups"]) == count


def test_events_come_newest_first_if_asked_so(store: LogStore) -> None:
    request = {"logGroupName": GROUP, "filterPattern": "line", "startFromHead": False}
    with pytest.raises(AwsError, match="startFromHead false needs a startTime on or after"):
        log_operations.OPERATIONS["FilterLogEvents"](store, request)
    request["startTime"] = 1_704_067_200_000
    answer = log_operations.OPERATIONS["FilterLogEvents"](store, request)
    times = [event["timestamp"] for event in answer["events"]]
    assert (len(times), times) == (11, sorted(times, reverse=True))
    assert answer["events"][0]["logStreamName"] == "other/algo-1-0"


def test_a_query_in_another_language_is_refused(store: LogStore) -> None:
    query = {"logGroupName": GROUP, "queryString": "x", "startTime": 0, "endTime": 1}
    with pytest.raises(AwsError, match="queryLanguage SQL is not emulated"):
        log_operations.OPERATIONS["StartQuery"](store, {**query, "queryLanguage": "SQL"})
    asked = {"logGroupName": GROUP, "queryLanguage": "SQL"}
    assert log_operations.OPERATIONS["DescribeQueries"](store, asked) == {"queries": []}


def test_a_group_is_named_once(store: LogStore) -> None:
    place = {"logGroupName": GROUP, "logGroupIdentifier": GROUP}
    with pytest.raises(AwsError, match="logGroupName or logGroupIdentifier, not both"):
        log_operations.OPERATIONS["DescribeLogStreams"](store, place)
