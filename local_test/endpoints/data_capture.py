"""Data capture: an endpoint's requests and answers, as JSON lines (DC-1)."""

from __future__ import annotations

import base64
import datetime as dt
import json
import random
import threading
import uuid
from collections.abc import Mapping
from typing import Any

from local_test.data import storage


class Capture:
    """Keeps the lines of an endpoint; `flush` stores an object for each variant and hour."""

    def __init__(self, config: Mapping[str, Any] | None, endpoint: str) -> None:
        """`config` is a request's DataCaptureConfig; without one, nothing is captured."""
        self._config = config or {"EnableCapture": False, "CaptureOptions": ()}
        self._endpoint = endpoint
        self._modes = {option["CaptureMode"] for option in self._config["CaptureOptions"]}
        self._lines: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._session = uuid.uuid4().hex[:8]

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
        place = f"{self._endpoint}/{variant}/{now:%Y/%m/%d/%H}/{self._session}.jsonl"
        with self._lock:
            self._lines.setdefault(place, []).append(line)

    def _encode(self, content_type: str, body: bytes) -> tuple[str, str]:
        kinds = self._config.get("CaptureContentTypeHeader", {})
        media_type = content_type.split(";", maxsplit=1)[0].strip().lower()
        for encoding, name in (("CSV", "CsvContentTypes"), ("JSON", "JsonContentTypes")):
            if media_type in kinds.get(name, ()):
                return encoding, body.decode("utf-8", "replace")
        return "BASE64", base64.b64encode(body).decode("ascii")

    def flush(self) -> None:
        """Store all lines."""
        with self._lock:
            for place, lines in self._lines.items():
                prefix = self._config["DestinationS3Uri"].rstrip("/")
                storage.store_bytes(("\n".join(lines) + "\n").encode(), f"{prefix}/{place}")
