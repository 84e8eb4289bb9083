"""Commands for people who write an algorithm: `init`, `doctor`, `describe`."""

from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
IS_PACKAGE: Final = (_ROOT / "byo.py").is_file() and not (_ROOT / "pyproject.toml").is_file()


def name_command(command: str) -> str:
    """Return what a user types for one of these commands, in a package, a checkout or an image."""
    return f"byo {command}" if IS_PACKAGE else f"python -m container {command}"
