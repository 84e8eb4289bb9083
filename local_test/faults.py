"""Faults that the platform, or the world, does to a job: written as `KIND@WHEN`.

spot@2.5s              a spot interruption 2.5 s after the containers' start: SIGTERM, the grace, SIGKILL, restart
spot@/step=3;/         the same when a log line matches
spot-kill@...          the same without a notice
kill@.../algo-2        SIGKILL for one host's container, as the kernel kills what takes too much memory
stop@...               StopTrainingJob
internal-error@...     the platform's own fault: the job is retried if RetryStrategy allows
lost-peer@.../algo-2   one host is frozen and answers no more
slow-start@3s          containers start 3 s late
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from container.errors import UserError

KINDS: Final = {
    "spot": "Interrupted: the job restarts with its checkpoints (SP-1)",
    "spot-kill": "Interrupted without a notice: the job restarts with its checkpoints (SP-1)",
    "kill": "Failed with exit code 137 (OUT-12)",
    "stop": "Stopped: what lies in the model directory is uploaded (OUT-7, OUT-8)",
    "internal-error": "InternalServerError: retried as RetryStrategy allows, else Failed (OUT-11)",
    "lost-peer": "a host is unreachable; peers have to notice (DS-5)",
    "slow-start": "Pending: nothing is lost",
}
"""What each fault is, and what the platform reports of it."""
_FORM = re.compile(r"(?P<kind>[a-z-]+)@(?:(?P<seconds>\d+(?:\.\d+)?)s|/(?P<pattern>.+)/)(?:/(?P<host>algo-\d+))?")


@dataclass(frozen=True)
class Fault:
    """One fault, done once."""

    kind: str
    after_s: float | None = None
    """Seconds after the containers' start."""
    pattern: re.Pattern[str] | None = None
    """Or when a log line matches."""
    host: str | None = None
    """Whom it hits; the first host if nobody is named."""

    @property
    def report(self) -> str:
        """What the platform says of it."""
        return KINDS[self.kind]


def parse(text: str) -> Fault:
    """Read `KIND@WHEN`.

    Raises: UserError that says what is possible.
    """
    match = _FORM.fullmatch(text)
    if match is None or match["kind"] not in KINDS:
        message = (
            f"{text!r} is no fault; possible are {', '.join(KINDS)}, each as KIND@SECONDSs or KIND@/REGEX/ with an "
            "optional /HOST at the end"
        )
        raise UserError(message)
    try:
        pattern = re.compile(match["pattern"]) if match["pattern"] else None
    except re.error as error:
        message = f"{text!r}: {match['pattern']!r} is no regular expression: {error}"
        raise UserError(message) from error
    return Fault(match["kind"], float(match["seconds"]) if match["seconds"] else None, pattern, match["host"])


class Trigger:
    """Does faults when their time or line comes; each once, also across restarts of a job."""

    def __init__(self, faults: list[Fault], do: Callable[[Fault], None]) -> None:
        self._waiting = list(faults)
        self._do = do
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []

    def start_clock(self) -> None:
        """Containers have started: faults with a time count from here."""
        with self._lock:
            timed = [fault for fault in self._waiting if fault.after_s is not None and fault.kind != "slow-start"]
        self._timers = [threading.Timer(fault.after_s or 0.0, self._fire, (fault,)) for fault in timed]
        for timer in self._timers:
            timer.daemon = True
            timer.start()

    def stop_clock(self) -> None:
        """Containers have ended."""
        for timer in self._timers:
            timer.cancel()

    def see(self, line: str) -> None:
        """Look at a log line."""
        if self._waiting:
            for fault in [fault for fault in self._waiting if fault.pattern and fault.pattern.search(line)]:
                self._fire(fault)

    def take_delay_s(self) -> float:
        """Give the seconds by which the next start is late; a delay is done once."""
        with self._lock:
            delays = [fault for fault in self._waiting if fault.kind == "slow-start"]
            self._waiting = [fault for fault in self._waiting if fault not in delays]
        return sum(fault.after_s or 0.0 for fault in delays)

    def _fire(self, fault: Fault) -> None:
        with self._lock:
            if fault not in self._waiting:
                return
            self._waiting.remove(fault)
        self._do(fault)
