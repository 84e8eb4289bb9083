"""Starts our server for the benchmarks that disturb it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def start(
    base: Path, stdout: int | None = None, **environ: str
) -> tuple[subprocess.Popen[Any], int]:
    """Start the server of the model below `base`; return its process and port.

    With `stdout`, as `subprocess` has it, its log goes there.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fixed = {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    stderr = None if stdout is None else subprocess.STDOUT
    command = [sys.executable, "-m", "container", "serve"]
    variables = {**os.environ, **fixed, **environ}
    return subprocess.Popen(command, env=variables, stdout=stdout, stderr=stderr), port


def list_workers(process: subprocess.Popen[Any]) -> list[int]:
    """List the children of a server's master."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]
