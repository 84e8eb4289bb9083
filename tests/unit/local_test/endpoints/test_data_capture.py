"""Data capture: what is stored, where, and when nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from local_test.endpoints.data_capture import Capture


def capture(directory: Path, **changes: Any) -> list[dict[str, Any]]:
    config = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"file://{directory}/out/",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
        **changes,
    }
    captured = Capture(config, "e")
    captured.record("one", ("text/csv; charset=utf-8", b"1,2"), ("image/png", b"\xff"), "i-1")
    captured.flush()
    return [
        json.loads(line)
        for path in directory.rglob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def test_text_is_stored_as_it_is_and_bytes_in_base64(tmp_path: Path) -> None:
    [line] = capture(tmp_path)

    sides = line["captureData"]
    assert (sides["endpointInput"]["encoding"], sides["endpointInput"]["data"]) == ("CSV", "1,2")
    assert (sides["endpointOutput"]["encoding"], sides["endpointOutput"]["data"]) == (
        "BASE64",
        "/w==",
    )
    assert line["eventMetadata"]["inferenceId"] == "i-1"  # DC-1
    [path] = tmp_path.rglob("*.jsonl")
    assert path.relative_to(tmp_path).parts[:3] == ("out", "e", "one")


def test_only_the_sides_that_were_asked_for_are_stored(tmp_path: Path) -> None:
    [line] = capture(tmp_path, CaptureOptions=[{"CaptureMode": "Output"}])

    assert list(line["captureData"]) == ["endpointOutput"]


def test_nothing_is_stored_without_capture_or_sampling(tmp_path: Path) -> None:
    assert capture(tmp_path, EnableCapture=False) == []
    assert capture(tmp_path, InitialSamplingPercentage=0) == []
    without = Capture(None, "e")
    without.record("one", ("", b""), ("", b""), None)
    without.flush()
