"""Environments of a serverless variant: how many there are, and when they start and end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from container.errors import RequestError, UserError
from local_test.endpoints.server import Limits, Server
from local_test.endpoints.variants import serverless
from local_test.endpoints.variants.replica import Place, Replica
from local_test.endpoints.variants.serverless import ServerlessVariant
from local_test.endpoints.variants.starter import Starter
from local_test.requests.model_containers import ModelContainer


class PlayedServer:
    """A server that runs until it is stopped, or has an exit code."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.is_healthy = False
        self.is_gone = False
        self.container = SimpleNamespace(wait=lambda _: self.code, kill=self.kill, note="")

    def wait_until_healthy(self) -> float:
        """Become healthy, unless it has ended."""
        if self.code is not None:
            raise UserError("it has ended")
        self.is_healthy = True
        return 0.0

    def kill(self) -> None:
        """End."""
        self.code = 137

    def stop(self) -> None:
        """End and be gone."""
        self.is_gone = True

    remove = stop


class Playground:
    """A serverless variant whose servers are played, and whose clock is set by hand."""

    def __init__(self, **config: int) -> None:
        self.now_s = 0.0
        self.started: list[PlayedServer] = []
        self.lines: list[str] = []
        self.on_start: Callable[[PlayedServer], None] = lambda _: None
        starter = SimpleNamespace(
            limits=Limits(idle_s=100),
            start_replica=self.start_replica,
            on_line=lambda _, line: self.lines.append(line),
        )
        description = {
            "VariantName": "v",
            "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2, **config},
        }
        self.variant = ServerlessVariant(
            description, cast("Starter", starter), 1.0, clock=lambda: self.now_s
        )

    def start_replica(self, name: str) -> Replica:
        """Start a played server."""
        server = PlayedServer()
        self.started.append(server)
        self.on_start(server)
        place = Place(ModelContainer("", {}), cast("Server", server))
        return Replica(name, {}, [place])

    def begin(self) -> None:
        """Start as an endpoint does."""
        for replica in self.variant.begin():
            replica.servers[0].wait_until_healthy()


def refuse(variant: ServerlessVariant) -> tuple[int, str]:
    with pytest.raises(RequestError) as error, variant.lease():
        pass
    return error.value.status, str(error.value)


def test_requests_take_idle_environments_start_others_and_are_throttled() -> None:
    play = Playground()
    play.begin()
    with play.variant.lease() as warm:
        assert (len(play.started), warm.setup_s) == (1, 0.0)
        play.on_start = lambda _: setattr(play, "now_s", play.now_s + 3)
        with play.variant.lease() as cold:
            assert (len(play.started), cold.setup_s) == (2, 3.0)
            status, message = refuse(play.variant)
            assert (status, "MaxConcurrency 2" in message) == (429, True)
    with play.variant.lease() as again:
        assert again is warm  # the latest one, so that the others can end
    assert (play.variant.cold_starts, play.variant.throttled) == (1, 1)
    assert play.variant.summarize()["Environments"] == "2 of at most 2"
    assert [line for line in play.lines if "cold start: 3.00 s" in line]


@pytest.mark.parametrize(("provisioned", "left"), [({}, 0), ({"ProvisionedConcurrency": 1}, 1)])
def test_idle_environments_end_but_provisioned_ones(provisioned: dict[str, int], left: int) -> None:
    play = Playground(**provisioned)
    play.begin()
    with play.variant.lease(), play.variant.lease():
        play.now_s = 1000
        play.variant.shrink()
        assert len(play.variant.servers) == 2  # both have a request
    play.now_s += 99
    play.variant.shrink()
    assert len(play.variant.servers) == 2
    play.now_s += 1
    play.variant.shrink()
    assert len(play.variant.servers) == left
    assert sum(server.is_gone for server in play.started) == 2 - left


def test_an_environment_that_has_ended_is_reported_and_not_used_again() -> None:
    play = Playground()
    play.begin()
    with play.variant.lease():
        play.started[0].code = 137
    assert play.started[0].is_gone
    assert "starts another environment" in play.lines[0]
    with play.variant.lease():
        assert len(play.started) == 2
    play.started[1].code = 1  # while it is idle
    with play.variant.lease() as fresh:
        assert fresh.servers == [play.started[2]]


def test_an_environment_that_does_not_answer_is_not_used_again() -> None:
    play = Playground()
    play.begin()
    with pytest.raises(RequestError), play.variant.lease():
        raise RequestError(400, "wrong")
    assert len(play.variant.servers) == 1
    with pytest.raises(RequestError), play.variant.lease():
        raise RequestError(424, "the container did not answer")
    assert (play.variant.servers, play.started[0].is_gone) == ([], True)


def test_an_environment_that_does_not_start_leaves_its_place() -> None:
    play = Playground(MaxConcurrency=1)

    def fail(_: PlayedServer) -> None:
        raise UserError("no such image")

    for broken in (fail, PlayedServer.kill):
        play.on_start = broken
        for _ in range(2):
            status, message = refuse(play.variant)
            assert (status, message.startswith("the cold start failed")) == (424, True)
    assert play.variant.servers == []


def test_a_provisioned_environment_that_has_ended_is_started_again() -> None:
    play = Playground(ProvisionedConcurrency=2)
    play.begin()
    play.started[0].code = 1
    play.variant.shrink()
    play.variant.refill()
    play.variant.refill()
    assert len(play.started) == 3
    with play.variant.lease() as replica:
        assert replica.setup_s == 0.0  # nobody waited for it


def test_a_closed_variant_starts_nothing_and_kills_what_starts() -> None:
    play = Playground()
    seen: list[Any] = []

    def close(server: PlayedServer) -> None:
        seen.append(server)
        play.variant.close()

    play.on_start = close
    assert refuse(play.variant)[0] == 424
    assert (seen[0].code, play.variant.servers) == (137, [])
    assert refuse(play.variant)[0] == 503
    assert len(seen) == 1


def test_the_limits_of_a_serverless_variant() -> None:
    limits = serverless.limit(Limits())
    assert (limits.startup_s, limits.payload_bytes) == (180, 4_194_304)
    restrictions = serverless.restrict({"MemorySizeInMB": 2048})
    assert restrictions["memory_bytes"] == 2_147_483_648
    assert restrictions["is_root_read_only"]
    assert not restrictions["has_shared_memory"]


def test_a_listener_may_ask_for_the_servers() -> None:
    play = Playground()
    play.begin()
    play.started[0].code = 137
    starter = cast("Any", play.variant.starter)
    starter.on_line = lambda _, line: play.lines.append(f"{len(play.variant.servers)} left: {line}")
    asking = threading.Thread(target=lambda: play.variant.lease().__enter__(), daemon=True)
    asking.start()
    asking.join(10)
    assert not asking.is_alive()  # the line is not passed on under the variant's lock
    assert play.lines[0].startswith("0 left: ")
