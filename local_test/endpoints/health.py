"""The health of an endpoint's servers: pings, and the replacement of those that have exited."""

import threading
from typing import Final

from container.errors import PlatformError, UserError
from local_test.endpoints.deployment import Deployment
from local_test.endpoints.server import Server, find_end
from local_test.runners.log_lines import OnLine

UNHEALTHY_AFTER_PINGS: Final = 3  # not documented by the platform


class HealthMonitor:
    """Pings every server; one that fails gets no requests until it answers again (HO-4)."""

    def __init__(self, name: str, deployment: Deployment, on_line: OnLine) -> None:
        self.ended = threading.Event()
        """Set when the endpoint is to end."""
        self._deployment = deployment
        self._on_line = on_line
        self._failures: dict[Server, int] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True, name=f"ping {name}")

    def start(self) -> None:
        """Ping from now on until `ended` is set."""
        self._thread.start()

    def _watch(self) -> None:
        while not self.ended.wait(self._deployment.limits.ping_interval_s):
            for server in self._deployment.monitored_servers():
                reason = find_end(server.container)
                if reason is None:
                    self._ping(server)
                else:
                    self._replace(server, reason)

    def _ping(self, server: Server) -> None:
        status, what = server.ping()
        failures = self._failures.get(server, 0) + 1
        if status == 200:
            failures = 0
        self._failures[server] = failures
        if failures == UNHEALTHY_AFTER_PINGS:
            self._on_line(server.name, f"[platform] unhealthy: {what} {failures} times")
        server.is_healthy = failures < UNHEALTHY_AFTER_PINGS

    def _replace(self, dead: Server, reason: str) -> None:
        """Replace a server that has exited; if that fails, the next look tries again (HO-12)."""
        dead.is_healthy = False
        changing = self._deployment.changing
        if not changing.acquire(blocking=False):  # an update may replace it anyway
            return
        try:
            if self.ended.is_set() or dead not in self._deployment.monitored_servers():
                return
            self._on_line(dead.name, f"[platform] {reason}; it is replaced (HO-12)")
            self._deployment.replace(dead)
        except (UserError, PlatformError) as error:
            self._on_line(dead.name, f"[platform] it could not be replaced: {error}")
        finally:
            changing.release()
