"""The health of servers that are played."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

from container.errors import PlatformError
from local_test.endpoints.deployment import Deployment
from local_test.endpoints.health import UNHEALTHY_AFTER_PINGS, HealthMonitor
from tests.support import wait_until


class PlayedServer:
    """Answers pings with `status`, and runs until `code` is set."""

    name = "one-1"

    def __init__(self) -> None:
        self.status = 200
        self.pings = 0
        self.is_healthy = True
        self.code: int | None = None
        self.lost = ""
        self.container = SimpleNamespace(wait=self.wait, note="")

    def wait(self, _: float) -> int | None:
        """Return the exit code, unless the engine was lost."""
        if self.lost:
            raise PlatformError(self.lost)
        return self.code

    def ping(self) -> tuple[int, str]:
        """Count the ping and answer it."""
        self.pings += 1
        return self.status, f"status {self.status}"


def watch(server: PlayedServer) -> tuple[HealthMonitor, list[str], list[Any]]:
    replaced: list[Any] = []
    lines: list[str] = []

    def replace(dead: Any) -> None:
        replaced.append(dead)
        server.code = None
        server.lost = ""

    deployment = SimpleNamespace(
        limits=SimpleNamespace(ping_interval_s=0.001),
        monitored_servers=lambda: [server],
        changing=threading.Lock(),
        replace=replace,
    )
    monitor = HealthMonitor("e", cast("Deployment", deployment), lambda _, line: lines.append(line))
    monitor.start()
    return monitor, lines, replaced


def test_a_server_is_out_after_some_failed_pings_and_back_after_one_good() -> None:
    server = PlayedServer()
    monitor, lines, _ = watch(server)

    server.status = 503
    wait_until(lambda: not server.is_healthy)
    server.status = 200
    wait_until(lambda: server.is_healthy)
    monitor.ended.set()

    assert lines == [f"[platform] unhealthy: status 503 {UNHEALTHY_AFTER_PINGS} times"]  # HO-4


def test_a_server_that_exited_is_replaced_once() -> None:
    server = PlayedServer()
    monitor, lines, replaced = watch(server)

    server.code = 139
    wait_until(lambda: replaced)
    pings = server.pings
    wait_until(lambda: server.pings > pings)
    monitor.ended.set()

    assert replaced == [server]  # HO-12
    assert "exit code: 139 (segmentation fault in native code); it is replaced" in lines[0]


def test_a_server_whose_engine_was_lost_is_replaced_and_others_are_pinged_on() -> None:
    server = PlayedServer()
    monitor, lines, replaced = watch(server)

    server.lost = "lost the Docker engine while the container ran"
    wait_until(lambda: replaced)
    pings = server.pings
    wait_until(lambda: server.pings > pings)
    monitor.ended.set()

    assert replaced == [server]
    assert "lost the Docker engine while the container ran; it is replaced" in lines[0]
