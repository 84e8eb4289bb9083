"""The file with the weights that a network starts from, and the network that they belong to.

Rules of this file: standard library only.
"""

import json
import zipfile
from pathlib import Path
from typing import Final

from container import artifact
from container.errors import UserError

_WEIGHT_SUFFIXES: Final = (".keras", ".h5")


def find_weights(directory: Path) -> Path:
    """Find the Keras model of an artifact, or the only `.keras` or `.h5` file."""
    if (directory / artifact.MANIFEST_NAME).exists():
        return artifact.load(directory).keras
    paths = [path for path in directory.rglob("*") if path.suffix in _WEIGHT_SUFFIXES]
    found = sorted(path for path in paths if path.is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(
            f"{directory} must hold an artifact of this toolkit or one .keras or .h5 file; found "
            f"{names}"
        )
    return found[0]


def read_network_name(path: Path) -> str | None:
    """Read a network's name from a `.keras` file, or None."""
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("config.json"))["config"]["name"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError, zipfile.BadZipFile):
        return None
