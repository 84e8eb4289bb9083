"""The access keys of a local AWS: a random one for each directory, readable by its owner only."""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from container.errors import PlatformError
from local_test.data.atomic_file import replacing

_FILE = "keys.json"


@dataclass(frozen=True)
class Key:
    """An access key."""

    id: str
    secret: str


def make() -> Key:
    """Return a new key."""
    return Key("LOCAL" + secrets.token_hex(8).upper()[:15], secrets.token_urlsafe(30))


def load_or_make(directory: Path) -> Key:
    """Return the key of a directory; at the first start, make it.

    Raises: PlatformError if it cannot be read.
    """
    path = directory / _FILE
    if not path.exists():
        with replacing(path) as partial:
            partial.touch(0o600, exist_ok=False)
            partial.write_text(json.dumps(asdict(make())), encoding="utf-8")
    return load(directory)


def load(directory: Path) -> Key:
    """Return the key of a directory. Raises: PlatformError if it cannot be read."""
    path = directory / _FILE
    try:
        return Key(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        message = f"cannot read {path}: {error}; delete it, and start the local AWS again"
        raise PlatformError(message) from error
