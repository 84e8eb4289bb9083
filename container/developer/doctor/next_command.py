"""Examines whether this environment has what the next commands of the README need.

Only in a checkout: an image has no `local_test`, and a user's image may leave the toolkits out.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from container.developer.doctor.finding import Finding

_CHECKOUT: Final = Path(__file__).parents[3]
_SETUP: Final = "local_test/setup.sh docker/requirements-local.txt"
_HARNESS: Final = ("typer", "botocore")


def examine(checkout: Path = _CHECKOUT) -> Iterator[Finding]:
    """Examine what `local_test smoke` needs."""
    if not (checkout / "local_test/setup.sh").is_file():
        return
    missing = ", ".join(name for name in _HARNESS if importlib.util.find_spec(name) is None)
    if missing:
        yield Finding("warning", f"local_test needs {missing}, not installed here; run {_SETUP}")
