"""What is kept of an asynchronous request, and a queue that goes on with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from container.errors import RequestError
from local_test.endpoints.asynchronous.accepted import Accepted, Journal
from local_test.endpoints.asynchronous.async_invocation import AsyncInvocations, Links
from local_test.endpoints.invocation import Answer, VariantError

HEADERS = {
    "X-Amzn-SageMaker-Inference-Id": "i",
    "X-Amzn-SageMaker-Filename": "a.json",
    "X-Amzn-SageMaker-RequestTTLSeconds": "60",
    "X-Amzn-SageMaker-InvocationTimeoutSeconds": "7",
}


def make_config(directory: Path, name: str = "out") -> dict[str, Any]:
    return {"OutputConfig": {"S3OutputPath": f"file://{directory}/{name}"}}


@pytest.mark.parametrize("source", ["s3://b/k", b"\0\xff", b""])
def test_a_request_is_the_same_after_it_was_written(tmp_path: Path, source: str | bytes) -> None:
    accepted = Accepted.make(make_config(tmp_path), source, HEADERS, 100.0)
    again = Accepted.from_record(json.loads(json.dumps(accepted.to_record())))
    assert again == accepted
    assert again.receipt["OutputLocation"] == f"file://{tmp_path}/out/a.json"


def test_the_time_that_a_request_may_wait_goes_on_without_a_process(tmp_path: Path) -> None:
    accepted = Accepted.make(make_config(tmp_path), b"x", HEADERS, 100.0)
    assert not accepted.is_expired(160.0)
    assert accepted.is_expired(160.5)


class KeptJournal(Journal):
    """A journal of a process that is killed by `is_over`."""

    def __init__(self) -> None:
        self.kept: dict[str, Accepted] = {}
        self.is_over = False

    def keep(self, accepted: Accepted) -> None:
        """Keep it."""
        self.kept[accepted.key] = accepted

    def drop(self, accepted: Accepted) -> None:
        """Drop it."""
        del self.kept[accepted.key]

    def read(self) -> list[Accepted]:
        """Return what is kept."""
        return list(self.kept.values())

    def is_closing(self) -> bool:
        """Return what a test has set."""
        return self.is_over


def test_what_a_process_left_is_answered_by_the_next(tmp_path: Path) -> None:
    journal = KeptJournal()
    begun, may_end = threading.Event(), threading.Event()
    asked: list[bytes] = []

    def answer(body: bytes, _headers: Mapping[str, str], _limit_s: float) -> Answer:
        asked.append(body)
        begun.set()
        may_end.wait(60)
        return Answer(200, {}, body * 2, "one", 0, 0, 0)

    client = {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1}}
    configs = [{**make_config(tmp_path, name), **client} for name in ("old", "old", "new")]
    first = AsyncInvocations(Links(answer, journal=journal))
    for number, config in enumerate(configs):
        headers = {"x-amzn-sagemaker-inference-id": str(number)}
        journal.is_over = number == 2
        first.submit(config, b"%d" % number, headers)
        assert begun.wait(60)
    may_end.set()
    first.close()
    assert (asked, sorted(path.name for path in tmp_path.rglob("*.out"))) == ([b"0"], ["0.out"])

    journal.is_over = False
    second = AsyncInvocations(Links(answer, journal=journal))
    second.resume()
    second.close()
    found = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.out")}
    assert found == {"old/0.out": b"00", "old/1.out": b"11", "new/2.out": b"22"}
    assert journal.kept == {}


def test_a_request_that_no_instance_took_is_left_to_the_next_process(tmp_path: Path) -> None:
    journal = KeptJournal()
    asked = threading.Event()

    def refuse(*_: object) -> Answer:
        asked.set()
        journal.is_over = True
        raise VariantError(RequestError(503, "no server is healthy"), "one", "")

    queue = AsyncInvocations(Links(refuse, journal=journal))
    queue.submit(make_config(tmp_path), b"1", {})
    assert asked.wait(60)
    queue.close()
    assert len(journal.kept) == 1
    assert list(tmp_path.rglob("*.out")) == []
