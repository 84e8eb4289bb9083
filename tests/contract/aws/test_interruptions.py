"""The local AWS ends in the middle of everything, and starts again: nothing is lost in silence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.contract.aws.client import LocalAws
from tests.contract.aws.interrupted import HOSTED, WORK, Hosted, let_go
from tests.contract.aws.kept_states import STATES, lose
from tests.support import wait_for


@dataclass
class Interrupted:
    """A local AWS before and after its restart, and what is known of before."""

    aws: LocalAws
    how: str
    facts: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, Exception] = field(default_factory=dict)

    def begin(self, name: str, work: Callable[[LocalAws], Any]) -> None:
        """Begin something, whose fault is that of its own test."""
        try:
            self.facts[name] = work(self.aws)
        except Exception as error:  # noqa: BLE001 - raised by `recall`
            self.faults[name] = error

    def recall(self, name: str) -> Any:
        """Return what is known of something, or raise why it did not begin."""
        if name in self.faults:
            raise self.faults[name]
        return self.facts[name]


@pytest.fixture(scope="module", params=["kill", "down"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def started(how: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp(f"aws-{how}")).running() as local:
        yield local


@pytest.fixture(scope="module")
def interrupted(request: pytest.FixtureRequest, how: str, started: LocalAws) -> Interrupted:
    """Begin all that the tests of this run ask for, and end the local AWS in the middle."""
    started.s3.put_object(Bucket=started.bucket, Key="data/a.csv", Body=b"1,2\n")
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    asked = [spec.params for spec in specs if spec is not None]
    found = Interrupted(started, how)
    if any("state" in params for params in asked):
        found.begin("lost", lose)
        for name, state in STATES.items():
            found.begin(name, state.begin)
    wanted = {params.get("work") for params in asked}
    for name, work in WORK.items():
        if name in wanted:
            found.begin(name, work.begin)
    let_go(started)
    started.interrupt(how)
    return found


@pytest.mark.parametrize("work", WORK)
def test_after_a_restart_work_goes_on_or_has_an_end(interrupted: Interrupted, work: str) -> None:
    WORK[work].check(interrupted.aws, interrupted.how, interrupted.recall(work))


@pytest.mark.parametrize("state", STATES)
def test_after_a_restart_a_state_is_as_it_was(interrupted: Interrupted, state: str) -> None:
    assert STATES[state].read(interrupted.aws) == interrupted.recall(state)


@pytest.mark.parametrize("state", ["lost"])
def test_what_a_restart_loses_is_named(interrupted: Interrupted, state: str) -> None:
    reported = interrupted.aws.run("status").stdout
    for name in interrupted.recall(state):
        assert name in reported


@pytest.mark.parametrize("work", HOSTED)
def test_containers_that_die_are_replaced(interrupted: Interrupted, work: str) -> None:
    aws, hosted = interrupted.aws, HOSTED[work]
    assert b"before" in wait_for_answer(aws, hosted, b"before")
    before = hosted.list_containers(aws)
    assert before
    for kill in before.values():
        with contextlib.suppress(ProcessLookupError):  # it ended with another one
            kill()

    def are_replaced(now: Collection[str]) -> bool:
        return len(now) >= len(before) and not before.keys() & set(now)

    wait_for(lambda: hosted.list_containers(aws), are_replaced)
    assert b"after" in wait_for_answer(aws, hosted, b"after")


def wait_for_answer(aws: LocalAws, hosted: Hosted, body: bytes) -> bytes:
    """Ask until a container answers."""

    def look() -> bytes:
        try:
            return hosted.ask(aws, body)
        except ClientError as error:
            return str(error).encode()

    return wait_for(look, lambda answer: b'"echo"' in answer)


@pytest.mark.parametrize("work", HOSTED)
def test_a_deleted_endpoint_leaves_no_request_without_an_end(
    interrupted: Interrupted, work: str
) -> None:
    aws, hosted = interrupted.aws, HOSTED[work]
    wait_for_answer(aws, hosted, b"before")
    before = count_sleeps(aws, hosted.endpoint)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(hosted.ask, aws, b"sleep")
        wait_for(lambda: count_sleeps(aws, hosted.endpoint), lambda count: count > before)
        aws.sagemaker.delete_endpoint(EndpointName=hosted.endpoint)
        try:
            assert b"slept" in answer.result()
        except aws.runtime.exceptions.ModelError:  # its container has stopped
            assert not hosted.is_asynchronous
    wait_for(lambda: hosted.list_containers(aws), lambda left: not left)


def count_sleeps(aws: LocalAws, endpoint: str) -> int:
    """Return how often the containers of an endpoint have begun to sleep."""
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    found = aws.client("logs").filter_log_events(logGroupName=group, filterPattern="sleeps")
    return len(found["events"])
