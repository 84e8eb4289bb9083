"""Data capture: what is stored, where, and when nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local_test.endpoints import data_capture
from local_test.endpoints.data_capture import Capture


def capture(directory: Path, **changes: Any) -> list[dict[str, Any]]:
    config = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"file://{directory}/out/",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
        **changes,
    }
    captured = Capture(config, "e", directory / "kept")
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


def make_capture(directory: Path, reports: list[str], **changes: Any) -> Capture:
    config = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"file://{directory}/out",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
        **changes,
    }
    return Capture(config, "e", directory / "kept", reports.append)


def record(captured: Capture, text: str) -> None:
    captured.record("one", ("text/csv", text.encode()), ("text/csv", b""), text)


def list_stored(directory: Path) -> list[str]:
    return sorted(
        json.loads(line)["eventMetadata"]["inferenceId"]
        for path in (directory / "out").rglob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    )


def test_every_flush_keeps_what_was_stored_before(tmp_path: Path) -> None:
    captured = make_capture(tmp_path, [])
    for text in "abc":
        record(captured, text)
        captured.flush()
    captured.flush()

    assert list_stored(tmp_path) == ["a", "b", "c"]
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_request_that_ends_after_the_close_is_stored_too(tmp_path: Path) -> None:
    captured = make_capture(tmp_path, [])
    record(captured, "a")
    captured.close()
    record(captured, "b")

    assert list_stored(tmp_path) == ["a", "b"]


def test_lines_survive_a_process_that_is_killed(tmp_path: Path) -> None:
    record(make_capture(tmp_path, []), "a")
    record(make_capture(tmp_path, []), "b")
    [torn, _] = (tmp_path / "kept").rglob("*.jsonl")
    with torn.open("ab") as file:
        file.write(b'{"half": ')

    assert data_capture.recover(tmp_path / "kept", pytest.fail)

    assert list_stored(tmp_path) == ["a", "b"]
    assert list((tmp_path / "kept").iterdir()) == []
    assert data_capture.recover(tmp_path / "nowhere", pytest.fail)


def test_what_cannot_be_stored_is_kept_reported_and_stored_later(tmp_path: Path) -> None:
    (tmp_path / "out").touch()  # a file where the directory belongs
    reports: list[str] = []
    captured = make_capture(tmp_path, reports)
    record(captured, "a")
    captured.flush()
    assert "captured data stays in" in reports[0]
    record(captured, "b")
    captured.close()
    assert not data_capture.recover(tmp_path / "kept", reports.append)

    (tmp_path / "out").unlink()
    captured.flush()

    assert list_stored(tmp_path) == ["a", "b"]


def test_a_full_disk_is_reported_and_fails_no_request(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    reports: list[str] = []

    record(make_capture(tmp_path, reports), "a")

    assert "a captured request is lost" in reports[0]


def test_nothing_is_stored_without_capture_or_sampling(tmp_path: Path) -> None:
    assert capture(tmp_path, EnableCapture=False) == []
    assert capture(tmp_path, InitialSamplingPercentage=0) == []
    without = Capture(None, "e", tmp_path / "kept")
    without.record("one", ("", b""), ("", b""), None)
    without.flush()
