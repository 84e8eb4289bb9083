"""The order of asynchronous requests, and how many are under way."""

from __future__ import annotations

import threading

import pytest

from container.errors import RequestError
from local_test.endpoints.asynchronous.accepted import Accepted
from local_test.endpoints.asynchronous.backlog import Backlog, Size
from tests.support import PATIENCE_S


class Play:
    """A backlog whose instances and time a test sets; an instance takes two requests."""

    def __init__(self, instances: int) -> None:
        self.instances = instances
        self.now_s = 100.0
        self.backlog = Backlog(lambda: self.instances, lambda: self.now_s)

    def add(self, name: str, ttl_s: int = 600) -> Accepted:
        """Accept a request now."""
        headers = {
            "x-amzn-sagemaker-inference-id": name,
            "x-amzn-sagemaker-requestttlseconds": str(ttl_s),
        }
        config = {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2}}
        accepted = Accepted.make(config, b"", headers, self.now_s)
        self.backlog.add(accepted)
        return accepted

    def take(self) -> str:
        """Return the name of the next request, or nothing if it would wait."""
        accepted = self.backlog.poll()
        return accepted.options.identity if accepted else ""


def test_an_instance_takes_the_oldest_requests_up_to_its_limit() -> None:
    play = Play(instances=1)
    first = play.add("a")
    for name in "bcde":
        play.add(name)
    assert [play.take() for _ in range(3)] == ["a", "b", ""]
    play.backlog.finish(first)
    assert [play.take() for _ in range(2)] == ["c", ""]
    play.instances = 2
    assert [play.take() for _ in range(2)] == ["d", "e"]
    assert play.backlog.measure() == Size(4, 100.0)


def test_a_request_that_waited_too_long_is_next_without_an_instance() -> None:
    play = Play(instances=0)
    play.add("long")
    play.now_s = 130.0
    play.add("short", 60)
    assert play.take() == ""
    play.add("later")
    play.now_s = 190.5
    assert [play.take() for _ in range(2)] == ["short", ""]
    assert play.backlog.measure() == Size(3, 100.0)
    play.instances = 2
    assert [play.take() for _ in range(3)] == ["long", "later", ""]


def test_a_request_that_is_put_back_is_next() -> None:
    play = Play(instances=1)
    first = play.add("a")
    play.add("b")
    assert play.take() == "a"
    assert play.backlog.put_back(first)
    assert [play.take() for _ in range(3)] == ["a", "b", ""]
    play.backlog.close()
    assert not play.backlog.put_back(first)


def test_a_request_that_is_put_back_wakes_the_taker() -> None:
    play = Play(instances=1)
    first = play.add("a")
    assert play.take() == "a"
    found: list[Accepted | None] = []
    taker = threading.Thread(target=lambda: found.append(play.backlog.take(lambda: False)))
    taker.start()
    assert play.backlog.put_back(first)
    taker.join(PATIENCE_S)
    play.backlog.close()  # so that the thread ends
    assert found == [first]


def test_the_end_leaves_no_request_waiting() -> None:
    play = Play(instances=0)
    play.add("a")
    play.backlog.close()
    assert play.take() == "a"
    assert play.backlog.take(lambda: False) is None
    with pytest.raises(RequestError, match="the endpoint is being stopped") as caught:
        play.add("b")
    assert (caught.value.status, play.backlog.measure().count) == (503, 1)


def test_what_waits_at_the_end_of_the_process_stays() -> None:
    play = Play(instances=1)
    play.add("a")
    assert play.backlog.take(lambda: True) is None
    assert play.take() == "a"
