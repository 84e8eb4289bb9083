"""The server's process; tests/contract/serve starts it."""

from __future__ import annotations

import os
import types
from pathlib import Path

import pytest

from container import predictor
from container.errors import PlatformError
from container.serving import plan, server, server_settings
from container.serving.service import Service
from container.serving.user_code.handlers import Handlers


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


def test_each_worker_of_user_code_sees_one_of_several_gpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    handlers = Handlers(tmp_path / "inference.py", tmp_path)
    settings = server_settings.Settings()
    planned = plan.Plan(settings, 4, 4, {}, user_code=handlers)
    monkeypatch.setattr(predictor, "list_gpus", lambda _: ["GPU-a", "GPU-b"])
    seen = []
    for row in range(3):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        hosted = server._Server(Service(planned))  # noqa: SLF001 - gunicorn is not started
        hosted.cfg.post_fork(None, types.SimpleNamespace(row=row))
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])

    assert seen == ["GPU-a", "GPU-b", "GPU-a"]
    assert hosted.cfg.workers == 1
