"""Run one container on every host of a job: logs, time limit, stop with a grace period.

When one host fails, all are stopped. Ends and stop orders arrive in one queue; nothing polls.
"""

import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from container.errors import PlatformError
from local_test.runners import procfs
from local_test.runners.interface import Container, Launch, Runner
from local_test.runners.log_lines import LineSplitter, OnLine

_TIME_IS_OVER = "MaxRuntimeExceeded"


class _Event(NamedTuple):
    """A container's end; with a reason, an order to stop all; with an error, a lost engine."""

    host: str = ""
    exit_code: int = 0
    reason: str = ""
    grace_s: float | None = None
    error: PlatformError | OSError | None = None


@dataclass
class Outcome:
    """How the containers of a job ended."""

    exit_codes: dict[str, int] = field(default_factory=dict)
    """By host, 128 + n after signal n."""
    notes: dict[str, str] = field(default_factory=dict)
    """By host, what is known of its end besides the exit code: see `Container.note`."""
    stop_reason: str = ""
    """Why the platform stopped them; empty if they ended by themselves."""
    was_killed: bool = False
    """Whether the grace period ran out and SIGKILL followed (OUT-8)."""
    deaf_hosts: list[str] = field(default_factory=list)
    """Hosts whose first process did not handle the stop signal when it was sent."""
    stop_took_s: float | None = None
    """Seconds from the stop signal to the end of the last container."""

    @property
    def failed_host(self) -> str | None:
        """The first host whose container did not exit with 0."""
        return next((name for name, code in self.exit_codes.items() if code != 0), None)


class Fleet:
    """The containers of one job: call `run` once, and `stop` from any thread."""

    def __init__(self, runner: Runner, launches: Sequence[Launch], on_line: OnLine) -> None:
        self._runner = runner
        self._launches = launches
        self._on_line = on_line
        # SimpleQueue, because a signal handler may put an event.
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._containers: dict[str, Container] = {}
        self._notes: dict[str, str] = {}

    def stop(self, reason: str, *, grace_s: float | None = None) -> None:
        """Send the stop signal, wait for the grace period, then send SIGKILL.

        `grace_s` None takes the grace period of `run`; 0 sends SIGKILL at once.
        """
        self._events.put(_Event(reason=reason, grace_s=grace_s))

    def kill(self, host: str, note: str = "") -> None:
        """Send SIGKILL to one host's container; `note` becomes the reason."""
        self._notes[host] = note
        self._containers[host].kill()

    def freeze(self, host: str) -> None:
        """Suspend one host's container, so that its peers lose it."""
        self._containers[host].freeze()

    def run(
        self,
        *,
        max_runtime_s: float,
        grace_s: float,
        stop_signal: int = signal.SIGTERM,
        on_started: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Start all containers and wait until all have ended; none is left when this returns."""
        try:
            for launch in self._launches:
                self._start(launch)
            on_started()
            return self._wait(time.monotonic() + max_runtime_s, grace_s, stop_signal)
        finally:
            for container in self._containers.values():
                container.remove()

    def _start(self, launch: Launch) -> None:
        splitter = LineSplitter(lambda line: self._on_line(launch.name, line))
        container = self._runner.start(launch, splitter.feed)
        self._containers[launch.name] = container

        def report_end() -> None:
            try:
                code = container.wait()
                splitter.close()
            except (PlatformError, OSError) as error:
                self._events.put(_Event(error=error))
                return
            self._events.put(_Event(launch.name, code if code is not None else 137))

        threading.Thread(target=report_end, daemon=True, name=f"wait {launch.name}").start()

    def _wait(self, deadline: float, grace_s: float, stop_signal: int) -> Outcome:
        outcome = Outcome()
        stopped_at: float | None = None
        while len(outcome.exit_codes) < len(self._launches):
            event = self._next_event(deadline)
            if event.error is not None:
                raise event.error
            if event.host:
                self._note_end(outcome, event)
            must_stop = bool(event.reason or event.exit_code)  # an order, the time, or a failure
            if event.reason == _TIME_IS_OVER and stopped_at is not None:
                outcome.was_killed = True
                deadline = float("inf")
                self._for_all_running(outcome, lambda container: container.kill())
            elif must_stop and stopped_at is None:
                outcome.stop_reason = event.reason
                stopped_at = time.monotonic()
                deadline = stopped_at + (grace_s if event.grace_s is None else event.grace_s)
                if event.grace_s != 0:
                    outcome.deaf_hosts = self._find_deaf(outcome, stop_signal)
                    self._for_all_running(
                        outcome, lambda container: container.send_signal(stop_signal)
                    )
        if stopped_at is not None:
            outcome.stop_took_s = time.monotonic() - stopped_at
        return outcome

    def _note_end(self, outcome: Outcome, event: _Event) -> None:
        outcome.exit_codes[event.host] = event.exit_code
        note = self._containers[event.host].note or self._notes.get(event.host, "")
        outcome.notes[event.host] = note

    def _next_event(self, deadline: float) -> _Event:
        try:
            return self._events.get(
                timeout=min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)
            )
        except queue.Empty:
            return _Event(reason=_TIME_IS_OVER)

    def _find_deaf(self, outcome: Outcome, number: int) -> list[str]:
        running = [name for name in self._containers if name not in outcome.exit_codes]
        first = {name: self._containers[name].processes()[:1] for name in running}
        return [
            name
            for name, pids in first.items()
            if pids and procfs.handles_signal(pids[0], number) is False
        ]

    def _for_all_running(self, outcome: Outcome, act: Callable[[Container], None]) -> None:
        for name, container in self._containers.items():
            if name not in outcome.exit_codes:
                act(container)
