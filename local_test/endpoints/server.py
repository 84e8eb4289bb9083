"""One serving container: its start, its health, and its stop (HO-1 to HO-10)."""

import re
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from container import contract
from container.errors import PlatformError, RequestError, UserError
from local_test.data import job_outputs
from local_test.endpoints.client import Client, is_listening
from local_test.runners.interface import Container, Launch, Runner
from local_test.runners.log_lines import LineSplitter, OnLine

_ERROR: Final = re.compile(r"(?i)[\w.$]*(error|exception)(:|$| in )|.*cannot (start|be loaded): ")
"""Names an exception of Python, JavaScript or Java, or why this project's server ends."""
_QUOTED_CHARACTERS: Final = 300


class UnhealthyError(UserError):
    """A server ended or stayed silent: the container is at fault, not the command."""


@dataclass(frozen=True)
class Limits:
    """The platform's limits for an endpoint; tests shorten them."""

    startup_s: float = 8 * 60
    """From the start to the first successful ping (HO-5)."""
    ping_s: float = contract.PING_LIMIT_S
    ping_interval_s: float = 5
    """Not documented by the platform; the interval of its local modes."""
    invocation_s: float = contract.INVOCATION_LIMIT_S
    stream_s: float = 8 * 60
    """For a response stream from its first to its last byte (HO-8)."""
    idle_s: float = 300
    """After which a serverless environment is stopped; not documented by the platform."""
    payload_bytes: int = contract.REALTIME_PAYLOAD_BYTES
    stop_grace_s: float = contract.SERVING_STOP_GRACE_S


class Server:
    """A serving container."""

    def __init__(
        self, launch: Launch, runner: Runner, limits: Limits, on_line: OnLine, *, variant: str = ""
    ) -> None:
        """Start the container; `variant` is what its answers name."""
        self.name = launch.name
        self.root = launch.root
        self.limits = limits
        self.is_healthy = False
        self._quote = ""

        def note(line: str) -> None:
            if not self.is_healthy and _ERROR.match(line):
                self._quote = f"; the last error in its log: {line.strip()[:_QUOTED_CHARACTERS]}"
            on_line(launch.name, line)

        self._splitter = LineSplitter(note)
        self.container: Container = runner.start(launch, self._splitter.feed)
        self.client = Client(
            self.container.address,
            variant or launch.name,
            invocation_s=limits.invocation_s,
            stream_s=limits.stream_s,
        )

    def wait_until_healthy(self) -> float:
        """Ping until the first status 200; return the seconds that it took.

        Raises: UnhealthyError if the server exits, or the limit is reached, before that (HO-5).
        """
        started = time.monotonic()
        pause_s = 0.01
        last = "no answer"
        while (passed_s := time.monotonic() - started) < self.limits.startup_s:
            code = self.container.wait(pause_s)
            if code is not None:
                self._splitter.close()
                reason = job_outputs.explain_exit(code, self.container.note) + self._quote
                raise UnhealthyError(f"the server ended before it answered a ping: {reason}")
            status, last = self.ping()
            if status == 200:
                self.is_healthy = True
                return time.monotonic() - started
            pause_s = min(pause_s * 1.3, 0.25)
        raise UnhealthyError(
            f"{self.name} did not pass the ping health check within {passed_s:.0f} s (HO-5): "
            f"last, {last}{self._find_cause(last)}{self._quote}"
        )

    def _find_cause(self, last: str) -> str:
        """Look for a server that listens where the platform does not look."""
        host, port = self.container.address
        if is_listening((host, port)):
            if "timed out" in last:
                return "; it accepts connections, but does not answer in time (HO-4)"
            return ""
        if host != "127.0.0.1" and is_listening(("127.0.0.1", port)):
            return "; it listens on 127.0.0.1 only; bind 0.0.0.0 (HO-1)"
        default = ("127.0.0.1", contract.DEFAULT_PORT)
        if default != (host, port) and is_listening(default):
            return (
                f"; something listens on port {contract.DEFAULT_PORT}, but the server has to "
                f"listen on {contract.BIND_TO_PORT_VARIABLE}={port} (HO-1)"
            )
        return ""

    def ping(self) -> tuple[int, str]:
        """Send GET /ping; return the status, 0 without one, and a description."""
        try:
            status, _ = self.client.exchange("GET", "/ping", limit_s=self.limits.ping_s)
        except RequestError as error:
            return 0, str(error)
        return status, f"status {status}"

    def remove(self) -> None:
        """Leave nothing of a server that has ended, or kill it."""
        self.is_healthy = False
        self.container.remove()
        self.client.close()

    def stop(self) -> bool:
        """Stop it as the platform does: SIGTERM, the grace period, SIGKILL (HO-10).

        Returns whether it had to be killed.
        """
        self.is_healthy = False
        self.client.close()  # the platform's router disconnects before it stops a server
        self.container.send_signal(signal.SIGTERM)
        was_killed = find_end(self.container, self.limits.stop_grace_s) is None
        if was_killed:
            self.container.kill()
            find_end(self.container, None)
        self.remove()
        return was_killed


def find_end(container: Container, timeout_s: float | None = 0.0) -> str | None:
    """Return how a server ended, or None at the timeout; a lost engine has lost its servers."""
    try:
        code = container.wait(timeout_s)
    except PlatformError as error:
        return str(error)
    return None if code is None else job_outputs.explain_exit(code, container.note)


def stop_all(servers: Sequence[Server]) -> list[str]:
    """Stop servers in parallel; return a finding for each that had to be killed (HO-10)."""
    findings: list[str] = []

    def stop(server: Server) -> None:
        if server.stop():
            grace_s = server.limits.stop_grace_s
            findings.append(f"{server.name} was killed {grace_s:g} s after SIGTERM (HO-10)")

    threads = [threading.Thread(target=stop, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return findings
