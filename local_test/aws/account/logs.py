"""CloudWatch Logs for what SageMaker writes there: groups `/aws/sagemaker/...`, read from files that jobs append to.

An event is a line `MILLISECONDS TEXT`; a page token is the offset of its first byte, so that
reading costs what is read, and a log survives everything. Other groups belong to moto.
"""

from __future__ import annotations

import os
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import AwsError

PREFIX: Final = "/aws/sagemaker/"
_EVENTS_PER_PAGE: Final = 10_000
_PAGE_BYTES: Final = 1024 * 1024
_TOKEN = re.compile(r"[fb]/(\d+)")


class LogStore:
    """The log groups of one account."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[Path, IO[bytes]] = {}
        self._lock = threading.Lock()

    def append(self, group: str, stream: str, line: str) -> None:
        """Add one line, without its end, to a stream; it is made if it is new."""
        path = self.path(group, stream)
        with self._lock:
            if path not in self._files:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._files[path] = path.open("ab", buffering=0)
            self._files[path].write(
                f"{time.time_ns() // 1_000_000} {line}\n".encode("utf-8", "replace")
            )

    def finish(self, group: str, prefix: str) -> None:
        """Close the files of streams whose names start with `prefix`."""
        start = str(self.path(group, prefix))
        with self._lock:
            for path in [path for path in self._files if str(path).startswith(start)]:
                self._files.pop(path).close()

    def path(self, group: str, stream: str) -> Path:
        """Give the file of a stream."""
        return (
            self._directory
            / urllib.parse.quote(group, safe="")
            / urllib.parse.quote(stream, safe="")
        )

    def groups(self) -> list[str]:
        """List the groups."""
        return _list_names(self._directory)

    def streams(self, group: str, prefix: str = "") -> list[str]:
        """List the streams of a group by name."""
        directory = self._directory / urllib.parse.quote(group, safe="")
        return [name for name in _list_names(directory) if name.startswith(prefix)]

    def read(self, group: str, stream: str, offset: int = 0) -> Iterator[tuple[int, int, str, int]]:
        """Give offset, time in milliseconds, text and end offset of every whole event from `offset` on."""
        with self.path(group, stream).open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                stamp, _, text = line[:-1].partition(b" ")
                yield offset, int(stamp), text.decode("utf-8", "replace"), offset + len(line)
                offset += len(line)

    def read_tail(self, group: str, stream: str, size_bytes: int) -> Iterator[tuple[int, str]]:
        """Give time in milliseconds and text of the whole events among a stream's last bytes."""
        start = max(0, self.path(group, stream).stat().st_size - size_bytes)
        with self.path(group, stream).open("rb") as file:
            file.seek(start)
            if start:
                start += len(file.readline())
        for _, stamp, text, _ in self.read(group, stream, start):
            yield stamp, text


def _list_names(directory: Path) -> list[str]:
    try:
        return sorted(urllib.parse.unquote(entry.name) for entry in os.scandir(directory))
    except FileNotFoundError:
        return []


def describe_groups(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    """Describe our groups, all on one page."""
    prefix, part = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "")
    names = [name for name in store.groups() if name.startswith(prefix) and part in name]
    return {"logGroups": [{"logGroupName": name, "storedBytes": 0} for name in names]}


def describe_streams(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the streams of a group by name or by last event, in pages."""
    group = _find_group(store, request)
    names = store.streams(group, request.get("logStreamNamePrefix", ""))
    is_by_time = request.get("orderBy") == "LastEventTime"
    if is_by_time:
        names.sort(key=lambda name: store.path(group, name).stat().st_mtime)
    if request.get("descending"):
        names.reverse()
    start = (
        int(request.get("nextToken") or 0)
        if str(request.get("nextToken") or 0).isdecimal()
        else len(names)
    )
    limit = request.get("limit", 50)
    streams = []
    for name in names[start : start + limit]:
        stat = store.path(group, name).stat()
        first = next(store.read(group, name), None)
        times = {"firstEventTimestamp": first[1], "creationTime": first[1]} if first else {}
        last = int(stat.st_mtime * 1000)
        entry = {
            "logStreamName": name,
            **times,
            "lastEventTimestamp": last,
            "lastIngestionTime": last,
        }
        streams.append({**entry, "storedBytes": stat.st_size})
    more = {"nextToken": str(start + limit)} if start + limit < len(names) else {}
    return {"logStreams": streams, **more}


def get_events(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give a page of one stream; with no token the newest page, or the oldest with `startFromHead`."""
    group, stream = _find_group(store, request), request["logStreamName"]
    path = store.path(group, stream)
    if not path.is_file():
        raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
    token, limit = request.get("nextToken"), request.get("limit", _EVENTS_PER_PAGE)
    if token is not None:
        match = _TOKEN.fullmatch(token)
        if match is None or int(match.group(1)) > path.stat().st_size:
            raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
        start = int(match.group(1))
        if token.startswith("b"):
            start = _find_page_before(store, group, stream, start, limit)
    elif request.get("startFromHead"):
        start = 0
    else:
        start = _find_page_before(store, group, stream, path.stat().st_size, limit)
    events: list[dict[str, Any]] = []
    end, size = start, 0
    for _, stamp, text, after in store.read(group, stream, start):
        if len(events) >= limit or size >= _PAGE_BYTES:
            break
        end = after
        if request.get("startTime", 0) <= stamp < request.get("endTime", 2**63):
            size += len(text) + 26  # the service counts 26 bytes of overhead for an event
            events.append({"timestamp": stamp, "message": text, "ingestionTime": stamp})
    return {"events": events, "nextForwardToken": f"f/{end}", "nextBackwardToken": f"b/{start}"}


def _find_page_before(store: LogStore, group: str, stream: str, end: int, limit: int) -> int:
    offsets = [offset for offset, _, _, after in store.read(group, stream) if after <= end]
    return offsets[-limit:][0] if offsets else 0


def filter_events(store: LogStore, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give events of several streams in the order of time, filtered by terms."""
    group = _find_group(store, request)
    names = request.get("logStreamNames") or store.streams(
        group, request.get("logStreamNamePrefix", "")
    )
    matches = _compile_filter(request.get("filterPattern", ""))
    found = []
    for name in names:
        if not store.path(group, name).is_file():
            raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
        for offset, stamp, text, _ in store.read(group, name):
            if request.get("startTime", 0) <= stamp <= request.get("endTime", 2**63) and matches(
                text
            ):
                found.append((stamp, name, offset, text))
    found.sort(key=lambda event: event[:3])
    token = request.get("nextToken", "0")
    start, limit = (
        int(token) if token.isdecimal() else len(found),
        request.get("limit", _EVENTS_PER_PAGE),
    )
    events = [
        {
            "logStreamName": name,
            "timestamp": stamp,
            "ingestionTime": stamp,
            "message": text,
            "eventId": f"{name}:{offset}",
        }
        for stamp, name, offset, text in found[start : start + limit]
    ]
    more = {"nextToken": str(start + limit)} if start + limit < len(found) else {}
    return {"events": events, "searchedLogStreams": [], **more}


def _compile_filter(pattern: str) -> Callable[[str], bool]:
    """Compile the plain part of the filter language: terms that must all be there, `?any`, `-none`, `"in quotes"`."""
    if pattern.startswith(("{", "[", "%")):
        raise AwsError(
            "InvalidParameterException",
            "the local AWS filters by terms; patterns {...}, [...] and %...% are not emulated",
        )
    terms = [
        (sign, quoted or plain)
        for sign, quoted, plain in re.findall(r'([?-]?)(?:"([^"]*)"|([^\s"]+))', pattern)
    ]
    needed = [term for sign, term in terms if not sign]
    optional = [term for sign, term in terms if sign == "?"]
    excluded = [term for sign, term in terms if sign == "-"]

    def matches(text: str) -> bool:
        return (
            all(term in text for term in needed)
            and (not optional or any(term in text for term in optional))
            and not any(term in text for term in excluded)
        )

    return matches


def _find_group(store: LogStore, request: Mapping[str, Any]) -> str:
    name = (
        request.get("logGroupName")
        or request.get("logGroupIdentifier", "").partition("log-group:")[2]
    )
    if name not in store.groups():
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    return str(name)


OPERATIONS: Final[Mapping[str, Callable[[LogStore, Mapping[str, Any]], dict[str, Any]]]] = {
    "DescribeLogGroups": describe_groups,
    "DescribeLogStreams": describe_streams,
    "GetLogEvents": get_events,
    "FilterLogEvents": filter_events,
}


def concerns(operation: str, request: Mapping[str, Any]) -> bool:
    """Tell whether a request is about what SageMaker writes; all others are moto's."""
    name = (
        request.get("logGroupName")
        or request.get("logGroupIdentifier")
        or request.get("logGroupNamePrefix")
        or ""
    )
    return operation in OPERATIONS and PREFIX in name


def parse(operation: str, body: bytes) -> dict[str, Any]:
    """Validate a request of the Logs API."""
    return messages.parse("logs", operation, body)
