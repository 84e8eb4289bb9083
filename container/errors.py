"""The errors of the container, named by who can mend them.

A message says what was wrong, what was found and what is possible. Whoever can find several faults
collects them first and raises once: `UserError.from_faults`. Anything else that escapes is a bug of
ours.
"""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """The user's hyperparameters, data or code are at fault; the user can mend it."""

    @classmethod
    def from_faults(cls, summary: str, faults: Sequence[str]) -> UserError:
        """Join several faults into one error; a single fault stands on the summary's line."""
        if len(faults) == 1:
            return cls(f"{summary}: {faults[0]}")
        return cls(
            f"{summary}: {len(faults)} faults\n" + "\n".join(f"  - {fault}" for fault in faults)
        )


class PlatformError(Exception):
    """Mounts, configuration files, disk or device are at fault; whoever runs the container can mend it."""


class RequestError(Exception):
    """A client's request is at fault; carries the HTTP status that tells the client so (RQ-6)."""

    def __init__(self, status: int, message: str) -> None:
        """`status` is a 4xx code, or 503 when the fault is only that there are too many requests."""
        super().__init__(message)
        self.status = status
