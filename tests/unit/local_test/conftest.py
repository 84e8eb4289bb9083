"""Shared set-up of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_test import container_files


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Return a directory whose content may be deeper than pytest could remove."""
    path = tmp_path / "deep"
    path.mkdir()
    yield path
    container_files.remove_tree(path)
