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
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    writable = {"/dev/shm", str(tmp_path)}  # noqa: S108 - the path that is under test
    monkeypatch.setattr("os.access", lambda path, _: path in writable)

    assert server._find_heartbeat_directory() == "/dev/shm"  # noqa: S108, SLF001
    writable.remove("/dev/shm")  # noqa: S108
    assert server._find_heartbeat_directory() == str(tmp_path)  # noqa: SLF001
    writable.clear()
    with pytest.raises(PlatformError, match="can be written"):
        server._find_heartbeat_directory()  # noqa: SLF001
