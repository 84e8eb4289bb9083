"""What a stored record must have."""

from __future__ import annotations

import json

import pytest

from local_test.aws.account import integrity

GOOD = {
    "TrainingJobName": "j",
    "TrainingJobArn": "arn",
    "TrainingJobStatus": "Failed",
    "CreationTime": 1,
    "_request": {},
    "_without_effect": [],
    "_instances": 1,
    "_attempts": 1,
}


def test_a_complete_record_is_accepted() -> None:
    assert integrity.load("training-job", json.dumps(GOOD)) == GOOD
    assert integrity.load("of a later version", "{}") == {}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("value", [None, b"missing"])
def test_each_member_that_the_code_reads_is_required(name: str, value: object) -> None:
    record = {**GOOD, name: value}
    if value == b"missing":
        del record[name]
    with pytest.raises(ValueError, match=f"missing or of another type: {name}"):
        integrity.load("training-job", json.dumps(record))


@pytest.mark.parametrize("body", ["{", "[]", "1", "", "[" * 100_000, '{"a": "b"}'])
def test_what_is_not_a_record_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match=r"not JSON|not a JSON object|missing"):
        integrity.load("transform-job", body)
