"""Asynchronous requests as records: kept until they are answered, or fail where they said."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ACCEPTED_REQUEST
from local_test.aws.sagemaker.hosting.request_journal import RequestJournal, fail_all
from local_test.endpoints.asynchronous.accepted import Accepted


def make_request(directory: Path, name: str) -> Accepted:
    outputs = {
        "S3OutputPath": f"file://{directory}/out",
        "S3FailurePath": f"file://{directory}/failed",
        "NotificationConfig": {"ErrorTopic": "arn:errors"},
    }
    headers = {"x-amzn-sagemaker-inference-id": name}
    return Accepted.make({"OutputConfig": outputs}, b"x", headers, time.time())


def test_requests_are_records_of_their_endpoint_until_they_are_dropped(
    account: Account, tmp_path: Path
) -> None:
    journal, other = RequestJournal(account, "e"), RequestJournal(account, "other")
    requests = [make_request(tmp_path, name) for name in "ba"]
    for request in requests:
        journal.keep(request)
    assert (journal.read(), other.read()) == (requests, [])
    journal.drop(requests[0])
    assert journal.read() == requests[1:]
    assert not journal.is_closing()
    account.is_closing.set()
    assert journal.is_closing()


@pytest.mark.parametrize("is_closing", [False, True])
def test_the_requests_of_an_endpoint_that_does_not_run_fail(
    account: Account, tmp_path: Path, *, is_closing: bool
) -> None:
    RequestJournal(account, "e").keep(make_request(tmp_path, "i"))
    RequestJournal(account, "other").keep(make_request(tmp_path, "j"))
    if is_closing:
        account.is_closing.set()
    lines: list[str] = []
    fail_all(account, "e", "it was deleted", lines.append)

    assert (tmp_path / "failed/i-error.out").read_text() == "it was deleted"
    ((topic, message),) = account.notices.messages
    sent = json.loads(message)
    assert (topic, sent["inferenceId"], sent["invocationStatus"]) == ("arn:errors", "i", "Failed")
    assert [record["EndpointName"] for record in account.store.list(ACCEPTED_REQUEST)] == ["other"]
    assert lines == []
