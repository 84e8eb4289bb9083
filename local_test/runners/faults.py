"""Faults to inject into a container, written as `KIND@WHEN` or `KIND@WHEN/HOST`.

`WHEN` is a number of seconds after the start of the containers (`2.5s`) or a log line
(`/step=3;/`). `HOST` is the host to hit, by default the first. Faults of the start itself take only
seconds (`slow-start@3s`), or no `WHEN` at all.
"""

import logging
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from container.errors import UserError
from local_test import patterns

JOB_KINDS: Final = {
    "spot": "SIGTERM, the grace period, SIGKILL. "
    "Interrupted: the job restarts with its checkpoints (SP-1)",
    "spot-kill": "SIGKILL without notice. "
    "Interrupted: the job restarts with its checkpoints (SP-1)",
    "kill": "SIGKILL for one host. Failed: AlgorithmError, exit code 137 (OUT-12)",
    "out-of-memory": "SIGKILL, as when memory runs out. "
    "Failed: AlgorithmError, exit code 137 (OUT-12)",
    "disk-full": "no space left below /opt/ml. Completed if the container exits with 0 (TRIP-24)",
    "stop": "StopTrainingJob. Stopped: the model directory is uploaded (OUT-7, OUT-8)",
    "internal-error": "a failure of the platform. "
    "InternalServerError: retried as RetryStrategy allows, otherwise Failed (OUT-11)",
    "lost-peer": "one host stops responding. Nothing is reported: its peers have to notice (DS-5)",
    "slow-start": "containers start late. Pending: nothing is lost",
    "slow-dns": "the peers' names are unknown at first. "
    "Nothing is reported: peers have to try again (DS-4)",
}
"""What each fault of a training job does, and what the platform reports."""
SERVER_KINDS: Final = {
    "kill-worker": "SIGKILL for one process below the server's first. "
    "Nothing is reported: /ping has to fail (HO-12)",
    "kill": "SIGKILL for the server. "
    "It is replaced; requests in flight are answered 424 (HO-12, RQ-6)",
    "out-of-memory": "SIGKILL, as when memory runs out. "
    "As for kill, with exit code 137 in the log (HO-12)",
    "slow-start": "servers start late. Creating: nothing is lost",
    "slow-reader": "a second caller sends the next request, too, and reads one byte per second. "
    "Nothing is reported: other requests have to be answered in the meantime (HO-4, HO-8)",
    "truncated-model": "the model archive is cut in half. "
    "Failed: the model data cannot be unpacked (HO-2)",
}
"""What each fault of an endpoint does, and what the platform reports."""
log = logging.getLogger(__name__)

AT_START: Final = ("slow-start", "slow-dns", "truncated-model")
_SECONDS_DIGITS: Final = 6
_FORM = re.compile(
    r"(?P<kind>[a-z-]+)"
    r"(?:@(?:(?P<seconds>[0-9]+(?:\.[0-9]+)?)s|/(?P<pattern>.+)/)(?:/(?P<host>[A-Za-z0-9-]+))?)?"
)


@dataclass(frozen=True)
class Fault:
    """One fault, injected once."""

    kind: str
    after_s: float | None = None
    """Seconds after the start of the containers."""
    pattern: re.Pattern[str] | None = None
    """Or else, what a log line has to match."""
    host: str | None = None
    """The host to hit, or None for the first."""


def parse(text: str, kinds: dict[str, str] = JOB_KINDS) -> Fault:
    """Parse `KIND@WHEN` or `KIND@WHEN/HOST`.

    Raises: UserError for an unknown kind, or a moment that does not fit it.
    """
    match = _FORM.fullmatch(text)
    if match is None or match["kind"] not in kinds:
        raise UserError(
            f"{text!r} is not a fault; write KIND@SECONDSs or KIND@/REGEX/, with an optional /HOST "
            f"at the end, where KIND is one of {', '.join(kinds)}"
        )
    kind, seconds, regex, host = match.group("kind", "seconds", "pattern", "host")
    if kind == "truncated-model":
        needed, is_fit = "no moment", "@" not in text
    elif kind in AT_START:
        needed, is_fit = "SECONDSs as its moment", seconds is not None
    else:
        needed, is_fit = "SECONDSs or /REGEX/ as its moment", "@" in text
    if not is_fit:
        raise UserError(f"{text!r}: {kind} takes {needed}")
    pattern = patterns.compile_pattern(regex) if regex else None
    if seconds and len(seconds.partition(".")[0]) > _SECONDS_DIGITS:
        raise UserError(f"{text[:40]!r}...: a time of a fault has at most {_SECONDS_DIGITS} digits")
    return Fault(kind, float(seconds) if seconds else None, pattern, host)


class Trigger:
    """Injects each fault once when its time or log line comes, also across restarts of a job."""

    def __init__(
        self,
        faults: Sequence[Fault],
        do: Callable[[Fault], None],
        note: Callable[[str], object] = log.warning,
    ) -> None:
        """`do` injects a fault; `note` is called with why one never is."""
        self._waiting = list(faults)
        self._do = do
        self._note = note
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []

    def start_clock(self) -> None:
        """Count the seconds of faults from now on, since the containers have started."""
        with self._lock:
            started = [fault for fault in self._waiting if fault.kind not in AT_START]
        self._timers = [
            threading.Timer(fault.after_s, self._fire, (fault,))
            for fault in started
            if fault.after_s is not None
        ]
        for timer in self._timers:
            timer.daemon = True
            timer.start()

    def stop_clock(self) -> None:
        """Cancel faults whose time has not come, since the containers have ended."""
        for timer in self._timers:
            timer.cancel()

    def see(self, line: str) -> None:
        """Inject the faults that wait for this log line."""
        for fault in tuple(self._waiting):
            if fault.pattern is None:
                continue
            try:
                [found] = patterns.find_all(fault.pattern, [line])
            except TimeoutError as error:
                if self._remove(fault):
                    self._note(f"the fault {fault.kind} is not injected: {error} for a log line")
                continue
            if found:
                self._fire(fault)

    def expects(self, kind: str) -> bool:
        """Return whether a fault of this kind is still to come."""
        return any(fault.kind == kind for fault in self._waiting)

    def take(self, kind: str) -> float | None:
        """Take the faults of a kind that belongs to the start.

        Returns the number of seconds, or None without such a fault.
        """
        with self._lock:
            taken = [fault for fault in self._waiting if fault.kind == kind]
            self._waiting = [fault for fault in self._waiting if fault not in taken]
        if not taken:
            return None
        return sum(fault.after_s or 0.0 for fault in taken)

    def _fire(self, fault: Fault) -> None:
        if self._remove(fault):
            self._do(fault)

    def _remove(self, fault: Fault) -> bool:
        """Remove a fault that waits; return whether it did."""
        with self._lock:
            if fault not in self._waiting:
                return False
            self._waiting.remove(fault)
            return True
