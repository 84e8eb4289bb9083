"""Failures to write: a full, read-only or broken disk is one error, which says what to do."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from container.errors import PlatformError

_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_SQLITE_CODES: Final = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)


class DiskError(PlatformError):
    """A change could not be written, so it was not made."""


def is_full(error: OSError) -> bool:
    """Return whether a write failed for a reason that may pass, such as a full disk."""
    return error.errno in _ERRNOS


def explain(error: BaseException, place: Path | str) -> DiskError | None:
    """Return the error that stands for a failure to write to `place`, or None for other errors."""
    if isinstance(error, OSError) and is_full(error):
        reason = os.strerror(error.errno or 0)
    elif isinstance(error, sqlite3.Error) and _code(error) in _SQLITE_CODES:
        reason = str(error)
    else:
        return None
    return DiskError(
        f"cannot write to {place}: {reason}; nothing was changed. Free space there, or delete "
        "objects of S3, and repeat the request"
    )


@contextlib.contextmanager
def guard(place: Path | str) -> Iterator[None]:
    """Let failures to write to `place` become DiskErrors. Raises: DiskError."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if (explained := explain(error, place)) is not None:
            raise explained from error
        raise


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more exactly what happened
