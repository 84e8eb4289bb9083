"""Whose turn it is on S3's keys and buckets."""

from __future__ import annotations

import threading

import pytest

from local_test.aws.moto.turns import Claims, Target, Turns, find_source
from tests.support import wait_until


def target(method: str, key: str = "", **query: str) -> Target:
    return Target(method, "b", key, {name: [value] for name, value in query.items()})


PUT = target("PUT", "k").claims()
GET = target("GET", "k").claims()
LIST = target("GET").claims()
DELETE_BUCKET = target("DELETE").claims()
COPY = Target("PUT", "other", "copy", {}, source="b/k").claims()
DELETE_KEYS = Target("POST", "b", "", {"delete": [""]}, frozenset({"k", "l"})).claims()


@pytest.mark.parametrize(
    ("first", "second", "is_free"),
    [
        (PUT, PUT, False),
        (PUT, GET, False),
        (PUT, LIST, False),
        (PUT, COPY, False),
        (PUT, DELETE_KEYS, False),
        (PUT, DELETE_BUCKET, False),
        (PUT, target("PUT", "other").claims(), True),
        (PUT, target("PUT", "k", partNumber="1").claims(), True),
        (GET, GET, True),
        (LIST, LIST, True),
        (COPY, GET, True),
        (GET, target("PUT", "other").claims(), True),
        (Target("GET", "", "", {}).claims(), target("PUT").claims(), False),
    ],
)
def test_requests_that_would_disturb_each_other_wait(
    first: Claims, second: Claims, *, is_free: bool
) -> None:
    turns = Turns()
    has_run = threading.Event()

    def follow() -> None:
        with turns.take(second):
            has_run.set()

    thread = threading.Thread(target=follow)
    with turns.take(first):
        thread.start()
        wait_until(lambda: len(turns._queue) == 2 or has_run.is_set())  # noqa: SLF001 - only there
        if is_free:
            assert has_run.wait(60)
        assert has_run.is_set() == is_free
    thread.join(60)
    assert has_run.is_set()


def test_a_copy_onto_itself_does_not_wait_for_itself() -> None:
    claims = Target("PUT", "b", "k", {}, source="b/k").claims()
    assert claims["b/k"] == "alone"
    with Turns().take(claims):
        pass


def test_the_source_of_a_copy_is_decoded() -> None:
    assert find_source("/b/a%20b%2Fc?versionId=1") == find_source("b/a b/c") == "b/a b/c"
