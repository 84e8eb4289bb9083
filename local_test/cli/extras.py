"""Says which extra of the package brings a library that is not installed.

The base package has what the harness needs. TensorFlow, moto and Optuna are extras.
"""

import importlib.util
from typing import Final

from container.errors import UserError, name_installation

EXTRAS: Final = {
    "tensorflow": "trainer",
    "sklearn": "trainer",
    "moto": "aws",
    "optuna": "tuning",
    "debugpy": "debug",
}
"""Libraries that are imported where they are needed, and the extra that has them."""
_PURPOSES: Final = {
    "tensorflow": "the bundled trainer",
    "sklearn": "the example of handwritten digits, which is used without data of your own,",
    "moto": "the local AWS",
    "optuna": "Bayesian tuning",
    "debugpy": "--debug",
}


def explain(library: str | None) -> str | None:
    """Return one sentence about a library of an extra, or None for any other library."""
    name = (library or "").partition(".")[0]
    if name not in EXTRAS:
        return None
    install = name_installation(EXTRAS[name])
    return f"{_PURPOSES[name]} needs {name}, which is not installed; run {install}"


def require(library: str) -> None:
    """Check that a library is installed. Raises: UserError with the command that installs it."""
    if importlib.util.find_spec(library) is None:
        raise UserError(explain(library) or library)
