"""Says which extra of the package brings a library that is not in the base package."""

import importlib.util
from typing import Final

from container.errors import UserError, name_installation

EXTRAS: Final = {
    "tensorflow": ("trainer", "the bundled trainer"),
    "sklearn": ("trainer", "the example of handwritten digits, used without your own data,"),
    "moto": ("aws", "the local AWS"),
    "optuna": ("tuning", "Bayesian tuning"),
    "debugpy": ("debug", "--debug"),
}
"""Libraries that are imported where they are needed, the extra that has them, and what for."""


def explain(library: str | None) -> str | None:
    """Return one sentence about a library of an extra, or None for any other library."""
    name = (library or "").partition(".")[0]
    if name not in EXTRAS:
        return None
    extra, purpose = EXTRAS[name]
    return f"{purpose} needs {name}, which is not installed; run {name_installation(extra)}"


def require(library: str) -> None:
    """Check that a library is installed. Raises: UserError with the command that installs it."""
    if importlib.util.find_spec(library) is None:
        raise UserError(explain(library) or library)
