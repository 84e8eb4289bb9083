"""The log of a job or endpoint, line by line, from CloudWatch Logs."""

import re
from typing import Any, Final

from local_test.remote.access import Account, list_all
from local_test.remote.refusals import ignoring, is_missing
from local_test.runners.log_lines import OnLine

_NUMBER: Final = re.compile(r"-[0-9]{8,}$")
"""What the service appends to a host's name: the time of its start."""


class LogReader:
    """Reads what is new in the log streams whose names start with a prefix."""

    def __init__(self, account: Account, group: str, prefix: str, on_line: OnLine) -> None:
        """`group` is a log group such as `/aws/sagemaker/TrainingJobs`."""
        self._logs = account.client("logs")
        self._group = group
        self._prefix = prefix
        self._on_line = on_line
        self._tokens: dict[str, str] = {}
        """Where to go on reading, by stream."""

    def read(self) -> int:
        """Pass on every new line; return how many there were.

        A group or stream that does not exist yet, or no longer, has no lines.

        Raises: botocore's errors.
        """
        count = 0
        for name in self._list_streams():
            with ignoring(is_missing):
                count += self._read_stream(name)
        return count

    def _list_streams(self) -> list[str]:
        names = {"logGroupName": self._group}
        if self._prefix:
            names["logStreamNamePrefix"] = self._prefix
        streams = list_all(self._logs, "describe_log_streams", **names)
        return sorted(str(stream["logStreamName"]) for stream in streams)

    def _read_stream(self, name: str) -> int:
        count = 0
        host = _NUMBER.sub("", name.removeprefix(self._prefix))
        while True:
            where: dict[str, Any] = {"logGroupName": self._group, "logStreamName": name}
            if name in self._tokens:
                where["nextToken"] = self._tokens[name]
            answer = self._logs.get_log_events(**where, startFromHead=True)
            for event in answer["events"]:
                self._on_line(host, event["message"])
            count += len(answer["events"])
            token = answer["nextForwardToken"]
            is_end = self._tokens.get(name) == token
            self._tokens[name] = token
            if is_end:
                return count
