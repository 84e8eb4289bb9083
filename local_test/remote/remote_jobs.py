"""One job of the account, from its request to its files on this disk.

A job that was asked for never goes on unnoticed: whatever ends `follow`, `stop` is called or the
caller gets the job's name.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from container.errors import UserError
from local_test.data import storage
from local_test.data.line_file import LineFile
from local_test.data.storage import StoredObject
from local_test.jobs import result
from local_test.jobs.result import JobResult, Listeners, Metric, compile_definitions
from local_test.remote.access import Account
from local_test.remote.creation import create
from local_test.remote.log_reader import LogReader
from local_test.remote.refusals import GoneError, explaining, has_ended, ignoring, is_missing
from local_test.remote.transfer import uploads

ENDED: Final = frozenset({"Completed", "Failed", "Stopped"})
_FIRST_POLL_S: Final = 0.2
_POLL_S: Final = 5.0
QUIET_POLLS: Final = 2
"""After a job's end, its log is complete when this many reads have found nothing."""


@dataclass(frozen=True)
class Kind:
    """A kind of job, by its names in the API."""

    stem: str
    """As in `TrainingJobName`."""
    group: str
    """Its log group."""

    @property
    def name(self) -> str:
        """The member with a job's name."""
        return f"{self.stem}JobName"

    @property
    def status(self) -> str:
        """The member with a job's status."""
        return f"{self.stem}JobStatus"

    @property
    def operation(self) -> str:
        """The operation that makes a job."""
        return f"Create{self.stem}Job"

    def call(self, account: Account, verb: str, **fields: Any) -> dict[str, Any]:
        """Call the operation of a verb, such as `describe`. Raises: botocore's errors."""
        snake = re.sub("(?<!^)(?=[A-Z])", "_", self.stem).lower()
        answer = getattr(account.client("sagemaker"), f"{verb}_{snake}_job")(**fields)
        return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


TRAINING: Final = Kind("Training", "/aws/sagemaker/TrainingJobs")
PROCESSING: Final = Kind("Processing", "/aws/sagemaker/ProcessingJobs")
TRANSFORM: Final = Kind("Transform", "/aws/sagemaker/TransformJobs")


class RemoteJob:
    """One job of the account: `start` it, `follow` it, and `stop` it if it is not to go on."""

    def __init__(
        self,
        account: Account,
        kind: Kind,
        request: Mapping[str, Any],
        directory: Path,
        listeners: Listeners,
    ) -> None:
        """`directory` is the job's own on this disk."""
        self.name: str = request[kind.name]
        self.directory = directory
        self._account = account
        self._kind = kind
        self._request = request
        self._listeners = listeners
        self._metrics: list[Metric] = []
        self._definitions = compile_definitions(request)
        self._files: dict[str, LineFile] = {}
        self._log = LogReader(account, kind.group, f"{self.name}/", self._see_line)

    def start(self) -> None:
        """Ask for the job.

        Raises: UserError or PlatformError if the service refuses; then there is no job.
            UncertainError if nobody knows.
        """
        result.make_directory(self.directory)
        try:
            write_document(self.directory / "request.json", self._request)
            create(
                self.name,
                lambda: self._kind.call(self._account, "create", **self._request),
                self._describe,
                self.stop,
            )
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def _describe(self) -> dict[str, Any]:
        return self._kind.call(self._account, "describe", **{self._kind.name: self.name})

    def stop(self) -> None:
        """Ask the service to stop the job; one that has ended, or was never made, stays as it is.

        Raises: UserError or PlatformError if the service cannot be asked.
        """
        with explaining(), ignoring(lambda error: is_missing(error) or has_ended(error)):
            self._kind.call(self._account, "stop", **{self._kind.name: self.name})

    def follow(self) -> JobResult:
        """Show status, log and metrics until the job has ended; return its result.

        Raises: GoneError if someone else deletes the job, UserError or PlatformError if the
            service cannot be asked any more.
        """
        with self._closing_files(), explaining(), ignoring(is_missing) as missing:
            description = self._wait()
        if missing:
            raise GoneError(f"the job {self.name} does not exist any more: someone else deleted it")
        status = str(description[self._kind.status])
        document = json.loads(json.dumps(description, default=_format))
        write_document(self.directory / "description.json", document)
        return JobResult(
            document,
            self.directory,
            status,
            str(description.get("FailureReason", "")),
            metrics=self._metrics,
        )

    def _wait(self) -> dict[str, Any]:
        pause_s = _FIRST_POLL_S
        shown = ""
        quiet = 0
        while True:
            description = self._describe()
            status = str(description.get("SecondaryStatus") or description[self._kind.status])
            if status != shown:
                self._listeners.on_status(status, str(description.get("FailureReason", "")))
                shown = status
            is_new = self._read_log() > 0
            if description[self._kind.status] in ENDED:
                quiet = 0 if is_new else quiet + 1
                if quiet == QUIET_POLLS:
                    return description
                pause_s = _FIRST_POLL_S
            time.sleep(pause_s)
            pause_s = min(_POLL_S, pause_s * 1.5)

    def _read_log(self) -> int:
        """Pass on what is new in the log; return how many lines it was."""
        return self._log.read()

    def _see_line(self, host: str, line: str) -> None:
        if host not in self._files:
            (self.directory / "logs").mkdir(exist_ok=True)
            name = host.replace("/", "-")
            self._files[host] = LineFile(
                self.directory / "logs" / f"{name}.log",
                lambda text: f"{text}\n".encode("utf-8", "replace"),
            )
        self._files[host].append(line)
        self._listeners.on_line(host, line)
        for metric in result.find_metrics(line, self._definitions):
            self._metrics.append(metric)
            self._listeners.on_metric(metric)

    @contextlib.contextmanager
    def _closing_files(self) -> Iterator[None]:
        try:
            yield
        finally:
            for file in self._files.values():
                file.close()


def download(account: Account, prefix: str, uri: str) -> list[Path]:
    """Copy the objects below a prefix of the bucket to a `file://` place; return their paths.

    Raises: UserError if one cannot be copied, its name leads out of the place, or it has the place
        of another one.
    """
    directory = storage.to_path(uri)
    paths = []
    written = set()  # by inode, since the file system may ignore case
    for key, size in uploads.list_keys(account, prefix).items():
        item = StoredObject(f"s3://{account.bucket}/{key}", key.removeprefix(prefix), size)
        path = storage.find_place(item, directory)
        if path.exists() and path.stat().st_ino in written:
            storage.refuse_clash(item, path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with explaining():
                account.client("s3").download_file(account.bucket, key, str(path))
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error
        written.add(path.stat().st_ino)
        paths.append(path)
    return paths


def write_document(path: Path, document: Any) -> None:
    """Write what the service answered as JSON, with times as in a description."""
    path.write_text(json.dumps(document, indent=2, default=_format) + "\n", encoding="utf-8")


def _format(value: object) -> str:
    if isinstance(value, dt.datetime):
        return result.format_time(value.timestamp())
    return str(value)
