"""The operations of CloudWatch Logs on the groups of SageMaker; all other groups belong to moto."""

import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from local_test.aws.account import log_queries
from local_test.aws.account.logs import Event, LogStore
from local_test.aws.protocol.messages import AwsError
from local_test.aws.protocol.paging import Pager

_OURS: Final = re.compile("/aws/(sagemaker|lambda)/")
_EVENTS_PER_PAGE: Final = 10_000
_PAGE_BYTES: Final = 1024 * 1024
_EVENT_OVERHEAD_BYTES: Final = 26  # as the service counts
_END_OF_TIME: Final = 2**63
_TOKEN: Final = re.compile(r"[fb]/([0-9]{1,18})")
_BAD_PARAMETER: Final = "InvalidParameterException"
_LISTS: Final = ("logGroupNames", "logGroupIdentifiers")
_QUERY_PREFIX: Final = "sagemaker-"
_QUERIES_KEPT: Final = 100
_NAMES: Final = ("nextToken", "limit", _BAD_PARAMETER)
_GROUPS: Final = Pager("DescribeLogGroups", 50, *_NAMES)
_STREAMS: Final = Pager("DescribeLogStreams", 50, *_NAMES)
_EVENTS: Final = Pager("FilterLogEvents", _EVENTS_PER_PAGE, *_NAMES)
_RESULTS: Final = Pager("GetQueryResults", 10_000, "nextToken", "maxItems", _BAD_PARAMETER)
_QUERIES: Final = Pager("DescribeQueries", 1000, "nextToken", "maxResults", _BAD_PARAMETER)
_LANGUAGE: Final = "CWLI"  # Logs Insights QL
_CLASS: Final = "STANDARD"  # of every group here
_LATEST_FIRST_MS: Final = 1_704_067_200_000  # 2024: the service begins there from the tail


def concerns(operation: str, request: Mapping[str, Any]) -> bool:
    """Return whether a request is about the groups of SageMaker."""
    names = ("logGroupName", "logGroupIdentifier", "logGroupNamePrefix")
    name = str(next((request[name] for name in names if request.get(name)), ""))
    listed = [str(item) for key in _LISTS for item in request.get(key) or ()]
    is_ours = str(request.get("queryId", "")).startswith(_QUERY_PREFIX)
    is_about_sagemaker = any(_OURS.search(item) for item in (name, *listed)) or is_ours
    return operation in OPERATIONS and is_about_sagemaker


def _describe_groups(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the groups that pass all filters."""
    prefix = request.get("logGroupNamePrefix", "")
    part = request.get("logGroupNamePattern", "")
    names = [name for name in store.groups() if name.startswith(prefix) and part in name]
    if listed := [_name_group(item) for item in request.get("logGroupIdentifiers", ())]:
        names = [name for name in names if name in listed]
    if request.get("logGroupClass", _CLASS) != _CLASS:
        names = []
    shown, more = _GROUPS.cut(names, request)
    return {"logGroups": [_describe_group(store, name) for name in shown], **more}


def _describe_group(store: LogStore, name: str) -> dict[str, Any]:
    created = [store.created_ms(name, stream) for stream in store.streams(name)]
    described = {"logGroupName": name, "storedBytes": 0, "metricFilterCount": 0}
    return described | ({"creationTime": min(created)} if created else {})


def _describe_streams(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the streams of a group by name or by last event."""
    group = _find_group(store, request)
    names = store.streams(group, request.get("logStreamNamePrefix", ""))
    if request.get("orderBy") == "LastEventTime":
        names.sort(key=lambda name: store.path(group, name).stat().st_mtime)
    if request.get("descending"):
        names.reverse()
    shown, more = _STREAMS.cut(names, request)
    return {"logStreams": [_describe_stream(store, group, name) for name in shown], **more}


def _describe_stream(store: LogStore, group: str, name: str) -> dict[str, Any]:
    stat = store.path(group, name).stat()
    last = int(stat.st_mtime * 1000)
    described = {
        "logStreamName": name,
        "creationTime": store.created_ms(group, name),
        "storedBytes": stat.st_size,
    }
    first = next(store.read(group, name), None)
    if first is not None:  # empty lines are not events
        described |= {
            "firstEventTimestamp": first.time_ms,
            "lastEventTimestamp": last,
            "lastIngestionTime": last,
        }
    return described


def _get_events(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of one stream: by token, or the newest, or with `startFromHead` the oldest."""
    group = _find_group(store, request)
    stream = _find_stream(store, group, request["logStreamName"])
    limit = request.get("limit", _EVENTS_PER_PAGE)
    start = end = _find_start(store, group, stream, request)
    events: list[dict[str, Any]] = []
    size = 0
    for event in store.read(group, stream, start):
        if len(events) >= limit or size >= _PAGE_BYTES:
            break
        end = event.end
        if request.get("startTime", 0) <= event.time_ms < request.get("endTime", _END_OF_TIME):
            size += len(event.text) + _EVENT_OVERHEAD_BYTES
            events.append(_show(event))
    return {"events": events, "nextForwardToken": f"f/{end}", "nextBackwardToken": f"b/{start}"}


def _find_start(store: LogStore, group: str, stream: str, request: Mapping[str, Any]) -> int:
    """Return the offset at which a page starts; a token is a direction and an offset."""
    limit = request.get("limit", _EVENTS_PER_PAGE)
    size = store.path(group, stream).stat().st_size
    token = request.get("nextToken")
    if token is None and request.get("startFromHead"):
        return 0
    if token is None:
        return _find_page_before(store, group, stream, size, limit)
    match = _TOKEN.fullmatch(token)
    if match is None or int(match.group(1)) > size:
        raise AwsError(_BAD_PARAMETER, "The specified nextToken is invalid.")
    offset = int(match.group(1))
    if token.startswith("b"):
        return _find_page_before(store, group, stream, offset, limit)
    return offset


def _find_page_before(store: LogStore, group: str, stream: str, end: int, limit: int) -> int:
    starts = [event.start for event in store.read(group, stream) if event.end <= end]
    return starts[-limit:][0] if starts else 0


def _filter_events(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the events of several streams that match a filter, oldest first, or newest first."""
    group = _find_group(store, request)
    names = request.get("logStreamNames") or store.streams(
        group, request.get("logStreamNamePrefix", "")
    )
    first_ms = request.get("startTime", 0)
    last_ms = request.get("endTime", _END_OF_TIME)
    is_from_head = request.get("startFromHead", True)
    if not is_from_head and first_ms < _LATEST_FIRST_MS:
        message = "startFromHead false needs a startTime on or after January 1, 2024."
        raise AwsError(_BAD_PARAMETER, message)
    matches = log_queries.compile_filter(request.get("filterPattern", ""))
    found = [
        (name, event)
        for name in names
        for event in store.read(group, _find_stream(store, group, name))
        if first_ms <= event.time_ms <= last_ms and matches(event.text)
    ]
    shown, more = _EVENTS.cut(
        found,
        request,
        lambda item: [item[1].time_ms, item[0], item[1].start],
        is_descending=not is_from_head,
    )
    events = [
        {"logStreamName": name, "eventId": f"{name}:{event.start}", **_show(event)}
        for name, event in shown
    ]
    return {"events": events, "searchedLogStreams": [], **more}


def _show(event: Event) -> dict[str, Any]:
    return {"timestamp": event.time_ms, "ingestionTime": event.time_ms, "message": event.text}


def _name_group(identifier: str) -> str:
    """Return the name of a group that is given by its name or its ARN."""
    return identifier.rpartition("log-group:")[2]


def _find_group(store: LogStore, request: Mapping[str, Any]) -> str:
    identifier = request.get("logGroupIdentifier", "")
    name = request.get("logGroupName") or _name_group(identifier)
    if identifier and request.get("logGroupName"):
        raise AwsError(_BAD_PARAMETER, "Give logGroupName or logGroupIdentifier, not both.")
    if name not in store.groups():
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    return str(name)


def _find_stream(store: LogStore, group: str, name: str) -> str:
    if not os.path.isfile(store.path(group, name)):  # noqa: PTH113 - False for any name
        raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
    return name


def _start_query(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run an Insights query at once; its results are kept until a hundred others have run."""
    language = request.get("queryLanguage", _LANGUAGE)
    if language != _LANGUAGE:
        message = f"queryLanguage {language} is not emulated; use Logs Insights QL ({_LANGUAGE})."
        raise AwsError(_BAD_PARAMETER, message)
    query = log_queries.read(request["queryString"])
    listed = [name for key in _LISTS for name in request.get(key, ())]
    groups = [_find_group(store, {"logGroupIdentifier": name}) for name in listed]
    if "logGroupName" in request:
        groups.append(_find_group(store, request))
    if not groups:
        raise AwsError(_BAD_PARAMETER, "The query needs the name of a log group.")
    query.limit = min(query.limit, request.get("limit", query.limit))
    rows = [
        row
        for group in groups
        for row in _list_rows(store, group, request["startTime"], request["endTime"])
    ]
    found = query.select(rows)
    identity = f"{_QUERY_PREFIX}{uuid.uuid4()}"
    store.queries[identity] = {
        "queryString": request["queryString"],
        "createTime": int(time.time() * 1000),
        "logGroupName": groups[0],
        "scanned": len(rows),
        "found": found,
    }
    for old in list(store.queries)[:-_QUERIES_KEPT]:
        del store.queries[old]
    return {"queryId": identity}


def _list_rows(
    store: LogStore, group: str, first_s: float, last_s: float
) -> Iterator[log_queries.Row]:
    for stream in store.streams(group):
        for event in store.read(group, stream):
            if first_s * 1000 <= event.time_ms <= last_s * 1000 + 999:
                shown = log_queries.format_time(event.time_ms)
                yield {
                    "@timestamp": shown,
                    "@ingestionTime": shown,
                    "@message": event.text,
                    "@logStream": stream,
                    "@log": group,
                    "@ptr": f"{group}:{stream}:{event.start}",
                }


def _find_query(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    query = store.queries.get(request["queryId"])
    if query is None:
        raise AwsError("ResourceNotFoundException", "The specified query does not exist.")
    return query


def _get_query_results(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    query = _find_query(store, request)
    shown, more = _RESULTS.cut(query["found"], request)
    results = [[{"field": name, "value": value} for name, value in row.items()] for row in shown]
    statistics = {"recordsMatched": len(query["found"]), "recordsScanned": query["scanned"]}
    found = {"results": results, "statistics": statistics, "status": "Complete"}
    return {"queryLanguage": _LANGUAGE, **found, **more}


def _stop_query(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    _find_query(store, request)
    raise AwsError(_BAD_PARAMETER, "The specified query has ended.")


def _describe_queries(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    members = ("queryString", "createTime", "logGroupName")
    same = {"queryLanguage": _LANGUAGE, "status": "Complete"}  # of every query here
    is_wanted = all(request.get(name, value) == value for name, value in same.items())
    described = [
        {"queryId": identity, **same, **{name: query[name] for name in members}}
        for identity, query in reversed(store.queries.items())
        if is_wanted and query["logGroupName"] == request.get("logGroupName")
    ]
    shown, more = _QUERIES.cut(described, request)
    return {"queries": shown, **more}


OPERATIONS: Final[Mapping[str, Callable[[LogStore, Mapping[str, Any]], dict[str, Any]]]] = {
    "DescribeLogGroups": _describe_groups,
    "DescribeLogStreams": _describe_streams,
    "GetLogEvents": _get_events,
    "FilterLogEvents": _filter_events,
    "StartQuery": _start_query,
    "GetQueryResults": _get_query_results,
    "StopQuery": _stop_query,
    "DescribeQueries": _describe_queries,
}
