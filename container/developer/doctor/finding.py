"""What `doctor` reports."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """An `error` fails the job or the endpoint, a `warning` may, a `note` says what will happen."""

    severity: Literal["error", "warning", "note"]
    text: str
