"""What watches a deployment: its alarms, its time limit, and the end of the endpoint."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from container.errors import UserError

_LOOK_S: Final = 1.0  # at the alarms, while a deployment waits


class RollbackError(UserError):
    """A deployment that goes back to the old version."""


class RollbackFailedError(UserError):
    """A deployment that could not go back: both versions stay in service."""


class StoppedError(UserError):
    """The endpoint is stopped during the deployment; nothing is to be changed any more."""


@dataclass(frozen=True)
class Terms:
    """How a version is deployed: the traffic shift, the alarms to check, and who is notified."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """A DeploymentConfig; an empty one shifts all traffic at once."""
    find_tripped: Callable[[Sequence[str]], list[str]] = lambda _: []
    """Return which of the named alarms have tripped since the deployment began."""
    note_shifted: Callable[[bool], None] = lambda _: None
    """Called with True once all traffic is on the new version, and with False if it goes back."""
    clock: Callable[[], float] = time.monotonic


class Guard:
    """Watches one deployment."""

    def __init__(
        self, terms: Terms, alarms: Sequence[str], timeout_s: float, ended: threading.Event
    ) -> None:
        """Begin to watch; `ended` is set when the endpoint is to end."""
        self._terms = terms
        self._alarms = alarms
        self._timeout_s = timeout_s
        self._ended = ended
        self._started = terms.clock()

    def has_ended(self) -> bool:
        """Return whether the endpoint is to end."""
        return self._ended.is_set()

    def check_end(self) -> None:
        """Raise StoppedError if the endpoint is to end."""
        if self.has_ended():
            raise StoppedError("the endpoint was stopped during the deployment")

    def check(self) -> None:
        """Look at everything once.

        Raises: StoppedError; RollbackError if an alarm has tripped, or the time is over.
        """
        self.check_end()
        tripped = self._terms.find_tripped(self._alarms) if self._alarms else []
        if tripped:
            raise RollbackError(
                "The deployment was rolled back because one or more CloudWatch alarms in the "
                f"auto-rollback configuration are in ALARM state: {', '.join(tripped)}."
            )
        if self._terms.clock() - self._started > self._timeout_s:
            raise RollbackError(
                "The deployment was rolled back because it did not complete within "
                f"MaximumExecutionTimeoutInSeconds, {self._timeout_s:g} seconds."
            )

    def wait(self, wait_s: float) -> None:
        """Wait, and look at everything in between, at least once at the end.

        Raises: StoppedError, RollbackError.
        """
        until = self._terms.clock() + wait_s
        while True:
            left_s = until - self._terms.clock()
            self.check()
            if left_s <= 0:
                return
            self._ended.wait(min(left_s, _LOOK_S))

    def note_shifted(self, *, is_shifted: bool) -> None:
        """Report whether the new version has all traffic."""
        self._terms.note_shifted(is_shifted)
