"""Files that appear complete or not at all."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path to write to, whose file then takes the place of `target`.

    A reader of `target` sees the old file or a complete new one, also if there are many writers.
    """
    partial = target.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
