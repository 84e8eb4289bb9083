"""Harness and program where Python lacks what only Linux has, as on macOS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from container.developer import init
from tests.support import ROOT

pytestmark = pytest.mark.slow

MISSING = {
    "os": "eventfd EFD_NONBLOCK EFD_CLOEXEC pipe2 sched_getaffinity O_PATH pidfd_open memfd_create "
    "posix_fadvise copy_file_range",
    "select": "epoll EPOLLIN EPOLLOUT EPOLLEXCLUSIVE",
    "fcntl": "F_SETPIPE_SZ",
    "time": "CLOCK_BOOTTIME",
    "socket": "SO_BINDTODEVICE AF_NETLINK SO_PEERCRED",
    "signal": "SIGRTMIN SIGPWR sigtimedwait sigwaitinfo",
}
CUSTOMIZATION = f"""
import importlib, sys
for name, missing in {MISSING!r}.items():
    module = importlib.import_module(name)
    for attribute in missing.split():
        vars(module).pop(attribute, None)
import ctypes.util, sysconfig, urllib.request, uuid  # before they look for libraries of macOS
sysconfig.get_config_vars()  # zoneinfo asks for one
sys.platform = "darwin"
"""


@pytest.mark.parametrize("kind", ["script", "algorithm", "shell"])
def test_a_project_trains_and_serves(tmp_path: Path, kind: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(CUSTOMIZATION)
    init.write(tmp_path / "project", kind)
    path = os.pathsep.join((str(tmp_path), str(ROOT)))

    done = subprocess.run(
        [sys.executable, "-m", "local_test", "smoke", "--env", f"PYTHONPATH={path}"],
        cwd=tmp_path / "project",
        env={**os.environ, "PYTHONPATH": path, "LOCAL_TEST_JOBS": str(tmp_path / "jobs")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "other machines may reach the ports of this program" in done.stdout + done.stderr
    assert "private /opt/ml" not in done.stdout + done.stderr
