"""Asynchronous invocations: every answer is an object, or a line of the log."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from container.errors import RequestError, UserError
from local_test.data import storage
from local_test.endpoints.asynchronous.async_invocation import AsyncInvocations, Links
from local_test.endpoints.asynchronous.backlog import Size
from local_test.endpoints.invocation import Answer, VariantError
from tests.support import wait_until
from tests.unit.local_test.endpoints.asynchronous.test_accepted import KeptJournal, make_config


def run(
    directory: Path, answer: Callable[[bytes, Mapping[str, str], float], Answer], reports: list[str]
) -> None:
    """Answer one request with the ID `i`; outputs go to `out`, failures to `failed`."""
    (directory / "input").write_bytes(b"1,2")
    outputs = {
        "S3OutputPath": f"file://{directory}/out",
        "S3FailurePath": f"file://{directory}/failed",
    }
    invocations = AsyncInvocations(Links(answer, reports.append))
    headers = {"X-Amzn-SageMaker-Inference-Id": "i"}
    invocations.submit({"OutputConfig": outputs}, f"file://{directory}/input", headers)
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
    invocations = AsyncInvocations(Links(succeed))
    headers = {"x-amzn-sagemaker-inference-id": identity}
    with pytest.raises(RequestError, match="would name an object elsewhere"):
        invocations.submit(make_config(tmp_path), "s3://b/k", headers)
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

    times = itertools.chain([100.0], itertools.repeat(100.0 + passed_s))
    invocations = AsyncInvocations(Links(answer), clock=lambda: next(times))
    receipt = invocations.submit(make_config(directory), source, headers)
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
    queue = AsyncInvocations(Links(succeed, reports.append))
    for name in ("old", "new"):
        headers = {"X-Amzn-SageMaker-Inference-Id": "i"}
        queue.submit(make_config(tmp_path, name), b"1", headers)
    queue.close()

    assert [path.read_bytes() for path in tmp_path.glob("*/i.out")] == [b"11", b"11"]
    assert reports == []


class Counts:
    """What is counted of requests, in one variant that refuses while it has no instance."""

    def __init__(self, directory: Path, instances: int = 1) -> None:
        self.instances = instances
        self.looks = 0
        self.counted: list[tuple[Any, ...]] = []
        self.noted: list[tuple[str, str, dict[str, float]]] = []
        self.reply: Callable[[], Answer] = lambda: Answer(200, {}, b"", "two", 0, 0.1, 0.2)
        self.config = make_config(directory)
        self.links = Links(
            self._answer,
            instances=self._look,
            count=lambda *counted, **_: self.counted.append(counted),
            note=lambda *noted: self.noted.append(noted),
        )
        self.queue = AsyncInvocations(self.links)

    def _look(self) -> dict[str, int]:
        self.looks += 1
        return {"one": self.instances}

    def _answer(self, *_: object) -> Answer:
        return self.reply()

    def submit(self, source: str | bytes = b"1") -> None:
        """Queue a request with the ID `i` that expires after a minute."""
        headers = {PREFIX + "inference-id": "i", PREFIX + "requestttlseconds": "60"}
        self.queue.submit(self.config, source, headers)

    def run(self, source: str | bytes = b"1") -> None:
        """Answer a request, and end."""
        self.submit(source)
        self.queue.close()


def fail(status: int) -> Callable[[], Answer]:
    def reply() -> Answer:
        raise VariantError(RequestError(status, "why"), "two", "config")

    return reply


TIMES = {"TimeInBacklog", "TotalProcessingTime", "ResponseUploadLatency", "InvocationsProcessed"}


@pytest.mark.parametrize(
    ("reply", "counted", "failures"),
    [
        (lambda: Answer(200, {}, b"", "two", 0, 0.1, 0.2), [200], set()),
        (lambda: Answer(415, {}, b"", "two", 0, 0.1, 0.2), [415], {"InvocationFailures"}),
        (fail(424), [0], {"InvocationFailures"}),
        (fail(400), [], {"InvocationFailures"}),
    ],
)
def test_a_request_is_counted_for_the_variant_that_got_it(
    tmp_path: Path, reply: Callable[[], Answer], counted: list[int], failures: set[str]
) -> None:
    counts = Counts(tmp_path)
    counts.reply = reply
    counts.run()
    assert [(variant, status) for variant, status, *_ in counts.counted] == [
        ("two", status) for status in counted
    ]
    [(variant, _, values)] = counts.noted
    assert (variant, values.keys()) == ("two" if counted else "one", TIMES | failures)


def test_a_request_that_no_container_gets_is_noted_for_the_first_variant(tmp_path: Path) -> None:
    counts = Counts(tmp_path)
    counts.run(f"file://{tmp_path}/none")
    [(variant, _, values)] = counts.noted
    failed = {"RequestDownloadLatency", "RequestDownloadFailures", "InvocationFailures"}
    assert (variant, values.keys()) == ("one", TIMES | failed)

    expired = Counts(tmp_path, instances=0)
    times = itertools.chain([0.0], itertools.repeat(61.0))
    expired.queue = AsyncInvocations(expired.links, lambda: next(times))
    expired.submit()
    wait_until(lambda: bool(expired.noted))  # although there is no instance
    [(variant, _, values)] = expired.noted
    processed = {"InvocationsProcessed"}
    assert values.keys() == (TIMES - processed) | {"ExpiredRequests", "InvocationFailures"}
    assert counts.counted == expired.counted == []
    expired.queue.close()


def test_a_lost_answer_and_a_lost_message_are_noted(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    counts = Counts(tmp_path)
    counts.config["OutputConfig"]["NotificationConfig"] = {"ErrorTopic": "arn:errors"}

    def lose(*_: str) -> None:
        raise UserError("no such topic")

    counts.links.publish = lose
    counts.run()
    [(_, _, values)] = counts.noted
    lost = {"ResponseUploadFailures", "NotificationFailures", "InvocationFailures"}
    assert values.keys() == TIMES | lost


def test_requests_wait_while_no_instance_takes_them(tmp_path: Path) -> None:
    counts = Counts(tmp_path, instances=0)
    accepted = counts.reply
    has_missed = threading.Event()

    def miss() -> Answer:
        has_missed.set()
        return fail(503)()

    counts.reply = miss
    counts.submit()
    wait_until(lambda: counts.looks > 2)
    assert not has_missed.is_set()
    assert counts.queue.measure().count == 1
    counts.instances = 1  # but it is gone before the request reaches it
    wait_until(has_missed.is_set)
    counts.reply = accepted
    wait_until((tmp_path / "out/i.out").exists)
    wait_until(lambda: counts.queue.measure() == Size())
    assert [status for _, status, *_ in counts.counted] == [200]
    counts.queue.close()

    counts = Counts(tmp_path, instances=0)
    counts.reply = fail(503)
    counts.run()
    assert (tmp_path / "out/i-error.out").read_text() == "why"


def test_a_count_that_fails_is_reported_and_the_requests_wait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = Counts(tmp_path)
    counts.links.instances = lambda: cast("Any", None)
    counts.submit()
    wait_until(lambda: "AttributeError" in capsys.readouterr().err)
    counts.links.instances = lambda: {"one": 1}
    wait_until((tmp_path / "out/i.out").exists)
    counts.queue.close()


def test_an_endpoint_that_is_stopped_refuses_requests(tmp_path: Path) -> None:
    journal = KeptJournal()
    queue = AsyncInvocations(Links(succeed, journal=journal))
    queue.close()
    with pytest.raises(RequestError, match="it queues no more") as caught:
        queue.submit(make_config(tmp_path), b"1", {})
    assert (caught.value.status, journal.kept) == (503, {})


def test_a_request_whose_count_fails_makes_room_for_the_next(tmp_path: Path) -> None:
    counts = Counts(tmp_path)
    counts.links.count = cast("Any", None)
    counts.submit()
    wait_until(lambda: counts.queue.measure() == Size())
    counts.queue.close()
