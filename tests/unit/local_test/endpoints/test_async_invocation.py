"""Asynchronous invocations: every answer is an object, or a line of the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from container.errors import RequestError
from local_test.endpoints.async_invocation import AsyncInvocations
from local_test.endpoints.invocation import Answer


def run(
    directory: Path, answer: Callable[[bytes, Mapping[str, str]], Answer], reports: list[str]
) -> None:
    """Answer one request with the ID `i`; outputs go to `out`, failures to `failed`."""
    (directory / "input").write_bytes(b"1,2")
    outputs = {
        "S3OutputPath": f"file://{directory}/out",
        "S3FailurePath": f"file://{directory}/failed",
    }
    invocations = AsyncInvocations({"OutputConfig": outputs}, answer, reports.append)
    headers = {"X-Amzn-SageMaker-Inference-Id": "i"}
    invocations.submit(f"file://{directory}/input", headers)
    invocations.close()


def succeed(body: bytes, _: Mapping[str, str]) -> Answer:
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
    invocations = AsyncInvocations(config, succeed)
    with pytest.raises(RequestError, match="would name an object elsewhere"):
        invocations.submit("s3://b/k", {"x-amzn-sagemaker-inference-id": identity})
    invocations.close()
