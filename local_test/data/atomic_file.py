"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path to write to, whose file then takes the place of `target`.

    A reader of `target` sees the old file or the complete new one.
    """
    partial = target.with_name(f".{target.name}.partial")
    yield partial
    partial.replace(target)
