"""What the system knows about processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from local_test.runners import procfs
from local_test.runners.procfs import name_process
from tests.support import wait_until


def test_a_process_that_was_not_reaped_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie until `wait`
        assert name_process(process.pid) == ""
    assert name_process(process.pid) == ""
    assert name_process(os.getpid()) not in {"", name_process(os.getppid())}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_descendants_and_memory_of_a_process_are_counted() -> None:
    shell = ["sh", "-c", "sleep 60 & wait"]
    with subprocess.Popen(shell, start_new_session=True) as process:
        pids = wait_until(lambda: procfs.list_descendants(process.pid)[1:])
        assert len(pids) == 1
        assert procfs.count_own_bytes(process.pid) > 0
        assert procfs.count_resident_bytes(process.pid) > 0
        os.killpg(process.pid, 9)
    assert procfs.list_descendants(process.pid) == [process.pid]
    assert procfs.count_own_bytes(process.pid) == 0
