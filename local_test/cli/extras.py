"""Says which extra of the package brings a library that is not installed.

The base package has what the harness needs. TensorFlow, moto and Optuna are extras.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Final

from container.errors import UserError
from local_test.cli.options import IS_CHECKOUT

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
    return f"{_PURPOSES[name]} needs {name}, which is not installed; run {_name_command(name)}"


def require(library: str) -> None:
    """Check that a library is installed. Raises: UserError with the command that installs it."""
    if importlib.util.find_spec(library) is None:
        raise UserError(explain(library) or library)


def _name_command(library: str) -> str:
    if IS_CHECKOUT:
        return "local_test/setup.sh docker/requirements-local.txt"
    is_pipx = Path(sys.prefix, "pipx_metadata.json").is_file()
    install = "pipx runpip byo-sagemaker install" if is_pipx else "pip install"
    return f"{install} 'byo-sagemaker[{EXTRAS[library]}]'"
