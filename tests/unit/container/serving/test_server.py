"""The server's process; tests/contract/serve starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from container.errors import PlatformError
from container.serving import server


def test_heartbeat_files_go_to_memory_or_else_to_tmp(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """HO-15, SRV-1: serverless endpoints may have no /dev/shm."""
    find = server._find_heartbeat_directory  # noqa: SLF001 - what is tested
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shared_memory = "/dev/shm"  # noqa: S108 - the path under test
    writable = {shared_memory, str(tmp_path)}
    monkeypatch.setattr("os.access", lambda path, _: path in writable)

    assert find() == shared_memory
    writable.remove(shared_memory)
    assert find() == str(tmp_path)
    writable.clear()
    with pytest.raises(PlatformError, match="can be written"):
        find()
