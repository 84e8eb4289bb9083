"""The errors of the container, named by who can fix them.

A message says what is wrong, what was found and what is possible. Code that can find several faults
collects them and raises once: `UserError.from_faults`. Any other exception that escapes is a bug.
"""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """The user's hyperparameters, data or code are at fault; the user can fix them."""

    @classmethod
    def from_faults(cls, summary: str, faults: Sequence[str]) -> UserError:
        """Join several faults into one error; a single fault follows on the summary's line."""
        if len(faults) == 1:
            return cls(f"{summary}: {faults[0]}")
        lines = [f"{summary}: {len(faults)} faults", *(f"  - {fault}" for fault in faults)]
        return cls("\n".join(lines))


class PlatformError(Exception):
    """Mounts, configuration, disk or device are at fault; whoever runs the container can fix it."""


class RequestError(Exception):
    """A client's request is at fault; the HTTP status says so (RQ-6)."""

    def __init__(self, status: int, message: str) -> None:
        """`status` is a 4xx code, or 503 if the only fault is that there are too many requests."""
        super().__init__(message)
        self.status = status
