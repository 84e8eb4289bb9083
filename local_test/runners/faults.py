"""Faults that the platform, or the world, does to a container: written as `KIND@WHEN`, or `KIND@WHEN/HOST`.

`WHEN` is seconds after the containers' start (`2.5s`) or a log line (`/step=3;/`). `HOST` names whom it hits, the first
if nobody is named. What a job or server meets at its start has seconds alone (`slow-start@3s`), or no `WHEN`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from container.errors import UserError

JOB_KINDS: Final = {
    "spot": "SIGTERM, the grace, SIGKILL. Interrupted: the job restarts with its checkpoints (SP-1)",
    "spot-kill": "SIGKILL without a notice. Interrupted: the job restarts with its checkpoints (SP-1)",
    "kill": "SIGKILL for one host. Failed: AlgorithmError, exit code 137 (OUT-12)",
    "out-of-memory": "SIGKILL, as the kernel's for want of memory. Failed: AlgorithmError, exit code 137 (OUT-12)",
    "disk-full": "no room for another byte below /opt/ml. Whatever the container makes of it: Completed if it ends "
    "with 0 (TRIP-24)",
    "stop": "StopTrainingJob. Stopped: what lies in the model directory is uploaded (OUT-7, OUT-8)",
    "internal-error": "the platform's own. InternalServerError: retried as RetryStrategy allows, else Failed (OUT-11)",
    "lost-peer": "one host answers no more. Nothing is reported: peers have to notice (DS-5)",
    "slow-start": "containers start late. Pending: nothing is lost",
    "slow-dns": "peers' names are unknown at first. Nothing is reported: peers have to try again (DS-4)",
}
"""What each fault of a training job does, and what the platform reports of it."""
SERVER_KINDS: Final = {
    "kill-worker": "SIGKILL for one process below the server's first. Nothing is reported: /ping has to tell (HO-12)",
    "kill": "SIGKILL for a whole server. The instance is replaced; requests in flight are answered 424 (HO-12, RQ-6)",
    "out-of-memory": "SIGKILL, as the kernel's for want of memory. As kill, with exit code 137 in the log (HO-12)",
    "slow-start": "servers start late. Creating: nothing is lost",
    "slow-reader": "one more caller asks what the next one asks, and takes a byte a second. Nothing is reported: other "
    "requests have to be answered meanwhile (HO-4, HO-8)",
    "truncated-model": "the model archive ends in the middle. Failed: the model data cannot be unpacked (HO-2)",
}
"""What each fault of an endpoint does, and what the platform reports of it."""
AT_START: Final = ("slow-start", "slow-dns", "truncated-model")
_FORM = re.compile(
    r"(?P<kind>[a-z-]+)(?:@(?:(?P<seconds>\d+(?:\.\d+)?)s|/(?P<pattern>.+)/)(?:/(?P<host>[A-Za-z0-9-]+))?)?"
)


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


def parse(text: str, kinds: dict[str, str] = JOB_KINDS) -> Fault:
    """Read `KIND@WHEN`.

    Raises: UserError that says what is possible.
    """
    match = _FORM.fullmatch(text)
    if match is None or match["kind"] not in kinds:
        message = (
            f"{text!r} is no fault; possible are {', '.join(kinds)}, each as KIND@SECONDSs or KIND@/REGEX/ with an "
            "optional /HOST at the end"
        )
        raise UserError(message)
    needed, is_fit = "SECONDSs or /REGEX/ as its moment", "@" in text
    if match["kind"] == "truncated-model":
        needed, is_fit = "no moment", "@" not in text
    elif match["kind"] in AT_START:
        needed, is_fit = "SECONDSs as its moment", match["seconds"] is not None
    if not is_fit:
        message = f"{text!r}: {match['kind']} takes {needed}"
        raise UserError(message)
    try:
        pattern = re.compile(match["pattern"]) if match["pattern"] else None
    except re.error as error:
        message = f"{text!r}: {match['pattern']!r} is no regular expression: {error}"
        raise UserError(message) from error
    return Fault(
        match["kind"], float(match["seconds"]) if match["seconds"] else None, pattern, match["host"]
    )


class Trigger:
    """Does faults when their time or line comes; each once, also across restarts of a job."""

    def __init__(self, faults: Sequence[Fault], do: Callable[[Fault], None]) -> None:
        self._waiting = list(faults)
        self._do = do
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []

    def start_clock(self) -> None:
        """Containers have started: faults with a time count from here."""
        with self._lock:
            timed = [
                fault
                for fault in self._waiting
                if fault.after_s is not None and fault.kind not in AT_START
            ]
        self._timers = [
            threading.Timer(fault.after_s or 0.0, self._fire, (fault,)) for fault in timed
        ]
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
            for fault in [
                fault for fault in self._waiting if fault.pattern and fault.pattern.search(line)
            ]:
                self._fire(fault)

    def expects(self, kind: str) -> bool:
        """Tell whether a fault of this kind is still to come."""
        return any(fault.kind == kind for fault in self._waiting)

    def take(self, kind: str) -> float | None:
        """Give the seconds of the faults of a start's kind, None if there are none; they are done with that."""
        with self._lock:
            taken = [fault for fault in self._waiting if fault.kind == kind]
            self._waiting = [fault for fault in self._waiting if fault not in taken]
        return sum(fault.after_s or 0.0 for fault in taken) if taken else None

    def _fire(self, fault: Fault) -> None:
        with self._lock:
            if fault not in self._waiting:
                return
            self._waiting.remove(fault)
        self._do(fault)
