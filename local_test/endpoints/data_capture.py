"""Data capture: an endpoint's requests and answers, as JSON lines (DC-1).

A line is written to a file of the endpoint's directory before the caller has its answer, so that
it survives the end of this process. The files are stored at their destination when the endpoint
changes or stops, or when it starts again after a crash.
"""

import base64
import datetime as dt
import json
import random
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from container.errors import UserError
from local_test import container_files
from local_test.data import storage

_DESTINATION: Final = "destination"


class Capture:
    """Keeps the lines of an endpoint; `flush` stores an object for each variant and hour."""

    def __init__(
        self,
        config: Mapping[str, Any] | None,
        endpoint: str,
        directory: Path,
        report: Callable[[str], None] = lambda text: None,  # noqa: ARG005 - ignored
    ) -> None:
        """Take where lines are kept until they are stored, and what is called with faults.

        `config` is a request's DataCaptureConfig; without one, nothing is captured.
        """
        self._config = config or {"EnableCapture": False, "CaptureOptions": ()}
        self._endpoint = endpoint
        self._directory = directory
        self._report = report
        self._modes = {option["CaptureMode"] for option in self._config["CaptureOptions"]}
        self._segment: Path | None = None
        """Where the lines since the last flush are."""
        self._pending: list[Path] = []
        """Where lines are that have to be stored."""
        self._is_closed = False
        self._lock = threading.Lock()

    def record(
        self,
        variant: str,
        request: tuple[str, bytes],
        answer: tuple[str, bytes],
        inference_id: str | None,
    ) -> None:
        """Keep an exchange, each side as content type and body, if sampling selects it."""
        if not self._config.get("EnableCapture", True):
            return
        drawn = random.uniform(0, 100)  # noqa: S311 - sampling
        if drawn >= self._config["InitialSamplingPercentage"]:
            return
        now = dt.datetime.now(dt.UTC)
        sides: dict[str, Any] = {}
        for name, mode, (content_type, body) in (
            ("endpointInput", "INPUT", request),
            ("endpointOutput", "OUTPUT", answer),
        ):
            if self._modes & {mode.title(), "InputAndOutput"}:
                encoding, data = self._encode(content_type, body)
                sides[name] = {
                    "observedContentType": content_type,
                    "mode": mode,
                    "data": data,
                    "encoding": encoding,
                }
        metadata = {
            "eventId": str(uuid.uuid4()),
            "inferenceTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if inference_id:
            metadata["inferenceId"] = inference_id
        line = json.dumps({"captureData": sides, "eventMetadata": metadata, "eventVersion": "0"})
        try:
            self._keep(f"{self._endpoint}/{variant}/{now:%Y/%m/%d/%H}", line)
        except OSError as error:
            self._report(f"a captured request is lost: {error} (DC-1)")
        if self._is_closed:  # the endpoint was changed while this request was under way
            self.flush()

    def _keep(self, place: str, line: str) -> None:
        with self._lock:
            if self._segment is None:
                segment = self._directory / uuid.uuid4().hex[:8]
                segment.mkdir(parents=True)
                destination = self._config["DestinationS3Uri"].rstrip("/")
                (segment / _DESTINATION).write_text(destination, encoding="utf-8")
                self._segment = segment
            path = self._segment / "lines" / place / f"{self._segment.name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab", buffering=0) as file:
                file.write(line.encode() + b"\n")

    def _encode(self, content_type: str, body: bytes) -> tuple[str, str]:
        kinds = self._config.get("CaptureContentTypeHeader", {})
        media_type = content_type.split(";", maxsplit=1)[0].strip().lower()
        for encoding, name in (("CSV", "CsvContentTypes"), ("JSON", "JsonContentTypes")):
            if media_type in kinds.get(name, ()):
                return encoding, body.decode("utf-8", "replace")
        return "BASE64", base64.b64encode(body).decode("ascii")

    def flush(self) -> None:
        """Store all lines; what cannot be stored is kept for the next time, and reported."""
        with self._lock:
            if self._segment is not None:
                self._pending.append(self._segment)
                self._segment = None
            pending = self._pending
            self._pending = []
        failed = [segment for segment in pending if not _store_segment(segment, self._report)]
        with self._lock:
            self._pending += failed

    def close(self) -> None:
        """Store all lines, and from now on each one at once."""
        self._is_closed = True
        self.flush()


def recover(directory: Path, report: Callable[[str], None]) -> bool:
    """Store what an endpoint that has ended left in its directory; return whether nothing is left.

    A line that was being written when the process was killed is dropped: nobody got its answer.
    """
    if not directory.is_dir():
        return True
    results = [_store_segment(segment, report) for segment in sorted(directory.iterdir())]
    return all(results)


def _store_segment(segment: Path, report: Callable[[str], None]) -> bool:
    """Store the files of a segment and remove it; return whether that was possible."""
    try:
        for path in sorted((segment / "lines").rglob("*.jsonl")):
            whole, end, _ = path.read_bytes().rpartition(b"\n")
            destination = (segment / _DESTINATION).read_text(encoding="utf-8")
            place = path.relative_to(segment / "lines").as_posix()
            storage.store_bytes(whole + end, f"{destination}/{place}")
            path.unlink()
    except (UserError, OSError) as error:
        report(f"captured data stays in {segment} until it can be stored: {error} (DC-1)")
        return False
    container_files.remove_tree(segment)
    return True
