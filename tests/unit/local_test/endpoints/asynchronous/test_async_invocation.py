"""Asynchronous invocations: every answer is an object, or a line of the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from container.errors import RequestError
from local_test.data import storage
from local_test.endpoints.asynchronous.async_invocation import AsyncInvocations, AsyncQueues, Links
from local_test.endpoints.invocation import Answer


def run(
    directory: Path, answer: Callable[[bytes, Mapping[str, str], float], Answer], reports: list[str]
) -> None:
    """Answer one request with the ID `i`; outputs go to `out`, failures to `failed`."""
    (directory / "input").write_bytes(b"1,2")
    outputs = {
        "S3OutputPath": f"file://{directory}/out",
        "S3FailurePath": f"file://{directory}/failed",
    }
    invocations = AsyncInvocations({"OutputConfig": outputs}, Links(answer, reports.append))
    headers = {"X-Amzn-SageMaker-Inference-Id": "i"}
    invocations.submit(f"file://{directory}/input", headers)
    invocations.close()


def succeed(body: bytes, _: Mapping[str, str], limit_s: float) -> Answer:  # noqa: ARG001 - its type
    return Answer(200, {}, body * 2, "one", 0, 0, 0)


def test_an_answer_is_stored_where_the_receipt_says(tmp_path: Path) -> None:
    reports: list[str] = []
    run(tmp_path, succeed, reports)

    assert (tmp_path / "out/i.out").read_bytes() == b"1,21,2"
    assert reports == []


def test_an_answer_that_cannot_be_stored_is_a_failure_that_is_reported(tmp_path: Path) -> None:
    (tmp_path / "out").touch()  # a file where the directory belongs
    reports: list[str] = []
    run(tmp_path, succeed, reports)

    [report] = reports
    assert report.startswith("the answer to i is lost: cannot store")
    failure = (tmp_path / "failed/i-error.out").read_text()
    assert failure.startswith("the answer could not be stored: cannot store")


def test_a_failure_that_cannot_be_stored_is_reported(tmp_path: Path) -> None:
    (tmp_path / "failed").touch()
    reports: list[str] = []

    def fail(*_: object) -> Answer:
        raise RequestError(424, "the container is gone")

    run(tmp_path, fail, reports)
    assert len(reports) == 1

    (tmp_path / "out").touch()
    run(tmp_path, succeed, reports)
    assert [report.partition(":")[0] for report in reports[1:]] == [
        "the answer to i is lost",
        "the failure of i is not stored either",
    ]


def test_a_bug_of_ours_is_a_failure_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(*_: object) -> Answer:
        raise KeyError("ours")

    run(tmp_path, break_down, [])

    assert (tmp_path / "failed/i-error.out").read_text() == "InternalFailure: KeyError: 'ours'"
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("identity", ["..", "../x", "a/../../x"])
def test_an_inference_id_names_no_object_elsewhere(identity: str, tmp_path: Path) -> None:
    config = {"OutputConfig": {"S3OutputPath": f"file://{tmp_path}/out"}}
    invocations = AsyncInvocations(config, Links(succeed))
    with pytest.raises(RequestError, match="would name an object elsewhere"):
        invocations.submit("s3://b/k", {"x-amzn-sagemaker-inference-id": identity})
    invocations.close()


PREFIX = "x-amzn-sagemaker-"


def submit(
    directory: Path, source: str | bytes, headers: Mapping[str, str], passed_s: float = 0
) -> tuple[dict[str, str], list[tuple[bytes, Mapping[str, str], float]]]:
    """Return the receipt of a request that waited for `passed_s`, and what the container got."""
    asked: list[tuple[bytes, Mapping[str, str], float]] = []

    def answer(body: bytes, known: Mapping[str, str], limit_s: float) -> Answer:
        asked.append((body, known, limit_s))
        return Answer(200, {}, b"done", "one", 0, 0, 0)

    times = iter([100.0, 100.0 + passed_s])
    outputs = {"S3OutputPath": f"file://{directory}/out"}
    invocations = AsyncInvocations(
        {"OutputConfig": outputs}, Links(answer), clock=lambda: next(times)
    )
    receipt = invocations.submit(source, headers)
    invocations.close()
    return receipt, asked


def test_the_headers_choose_the_answers_place_and_time_limit(tmp_path: Path) -> None:
    headers = {
        PREFIX + "inference-id": "i",
        PREFIX + "s3outputpathextension": "a/b",
        PREFIX + "filename": "answer.json",
        PREFIX + "invocationtimeoutseconds": "7",
    }
    receipt, asked = submit(tmp_path, b"body", headers)
    assert receipt["OutputLocation"] == f"file://{tmp_path}/out/a/b/answer.json"
    assert (tmp_path / "out/a/b/answer.json").read_bytes() == b"done"
    assert [(body, limit_s) for body, _, limit_s in asked] == [(b"body", 7)]


def test_a_request_without_a_type_has_its_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "read_typed", lambda _: (b"1", "text/csv"))
    _, asked = submit(tmp_path, "s3://b/k", {})
    assert asked[0][1]["content-type"] == "text/csv"
    _, asked = submit(tmp_path, "s3://b/k", {"Content-Type": "text/plain"})
    assert asked[0][1]["content-type"] == "text/plain"


@pytest.mark.parametrize(("passed_s", "is_asked"), [(59, True), (61, False)])
def test_a_request_that_waited_too_long_fails(
    tmp_path: Path, passed_s: float, *, is_asked: bool
) -> None:
    headers = {PREFIX + "inference-id": "i", PREFIX + "requestttlseconds": "60"}
    _, asked = submit(tmp_path, b"body", headers, passed_s)
    assert bool(asked) is is_asked
    assert (tmp_path / "out/i-error.out").exists() is not is_asked


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("requestttlseconds", value) for value in ("59", "21601", "x", "-60", "1e3", "")),
        *(("invocationtimeoutseconds", value) for value in ("0", "3601", "1.5")),
        *(("filename", value) for value in ("../x", "a.b.c", ".x", "a/b", "a" * 33)),
        *(("s3outputpathextension", value) for value in ("../x", "a/../..", "s3://b", "a b")),
    ],
)
def test_a_wrong_option_is_refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(RequestError) as caught:
        submit(tmp_path, b"body", {PREFIX + name: value})
    assert caught.value.status == 400


def test_an_updated_endpoint_stores_answers_where_its_new_configuration_says(
    tmp_path: Path,
) -> None:
    reports: list[str] = []
    queues = AsyncQueues(Links(succeed, reports.append))
    for name in ("old", "old", "new"):
        config = {"OutputConfig": {"S3OutputPath": f"file://{tmp_path}/{name}"}}
        queues.find(config).submit(b"1", {"X-Amzn-SageMaker-Inference-Id": "i"})
    queues.close()

    assert [(tmp_path / name / "i.out").read_bytes() for name in ("old", "new")] == [b"11", b"11"]
    assert reports == []
