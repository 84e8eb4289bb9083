"""The directory of a local AWS: whether it runs, where, and with which settings.

Rules of this file: light to import, as the commands use it too.
"""

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from container.errors import PlatformError
from local_test.aws.account.settings import Settings
from local_test.aws.process.keys import Key
from local_test.data import disk
from local_test.data.atomic_file import replacing

_SDK_FILE: Final = "sagemaker-sdk.yaml"  # JSON, which is YAML
_LOCK_LIMIT_S: Final = 1.0  # `is_running` holds the lock for a moment


@dataclass(frozen=True)
class Running:
    """A running local AWS, as `server.json` describes it."""

    pid: int
    url: str
    started: float


ALREADY_RUNNING: Final = 3
"""The exit code of a process whose directory another one serves."""
_NOBODY: Final = Running(0, "", 0)  # between the start of a process and its first answer


class AlreadyRunningError(Exception):
    """Another process serves this directory."""


def write_sdk_configuration(directory: Path, settings: Settings) -> None:
    """Write the file that names the bucket for the SageMaker SDKs.

    Without it they ask STS for the account at an address that no variable changes, and send
    telemetry to AWS.
    """
    modules = {"Session": {"DefaultS3Bucket": settings.default_bucket}, "TelemetryOptOut": True}
    document = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": modules}}}
    write(directory / _SDK_FILE, document)


def sdk_environment(directory: Path) -> dict[str, str]:
    """Return the variable that points the SageMaker SDKs at that file; a user's file goes first."""
    return {"SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(directory / _SDK_FILE)}


def client_environment(url: str, region: str, key: Key) -> dict[str, str]:
    """Return the variables that point any AWS client at a local AWS."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }


def make(directory: Path) -> None:
    """Make the directory of a local AWS. Raises: PlatformError if it cannot be made."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _describe_use(directory, error) from error


def _describe_use(directory: Path, error: OSError) -> PlatformError:
    return PlatformError(
        f"cannot use {directory}: {error.strerror}; choose another with --directory or "
        "LOCAL_AWS_DIRECTORY"
    )


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold a directory for this process.

    Raises: AlreadyRunningError if another process holds it, PlatformError if it cannot be used.
    """
    deadline = time.monotonic() + _LOCK_LIMIT_S
    try:
        opened = (directory / "lock").open("a")
    except OSError as error:
        raise _describe_use(directory, error) from error
    with opened as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise AlreadyRunningError from error
                time.sleep(0.02)
        yield


def is_running(directory: Path) -> bool:
    """Return whether a process serves this directory."""
    try:
        with (directory / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    return False


def find_running(directory: Path) -> Running | None:
    """Return the process of a directory, or None if there is none that is ready."""
    if not is_running(directory):
        return None
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError, RecursionError):
        found = Running(**json.loads((directory / "server.json").read_text(encoding="utf-8")))
        return None if found == _NOBODY else found
    return None


def load_settings(directory: Path) -> Settings:
    """Return the settings of the last start in a directory, or the defaults.

    Raises: PlatformError if they cannot be read.
    """
    path = directory / "settings.json"
    try:
        return _read_settings(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return Settings()
    except (OSError, ValueError, TypeError) as error:
        message = f"cannot read {path}: {error}; delete it to start with the default settings"
        raise PlatformError(message) from error


def _read_settings(text: str) -> Settings:
    found = Settings(**json.loads(text))
    for name, value in asdict(found).items():
        if type(value) is not type(getattr(Settings, name)):
            raise TypeError(f"{name} is {value!r}")
    return found


def blank(directory: Path) -> None:
    """Let `server.json` describe no process; the file stays, so that a full disk has it still."""
    path = directory / "server.json"
    if path.exists():
        _overwrite(path, json.dumps(asdict(_NOBODY)))


def write(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON document; a reader sees the old one or the complete new one."""
    write_text(path, json.dumps(document))


def write_text(path: Path, text: str) -> None:
    """Replace a small file; on a full disk, write over the old one, which takes no space.

    Raises: DiskError if it is new, and the disk is full.
    """
    with disk.guard(path.parent):
        try:
            with replacing(path) as partial:
                partial.write_text(text, encoding="utf-8")
        except OSError as error:
            if not disk.is_full(error) or not path.exists():
                raise
            _overwrite(path, text)


def _overwrite(path: Path, text: str) -> None:
    with path.open("r+b") as file:
        file.write(text.encode().ljust(path.stat().st_size))
