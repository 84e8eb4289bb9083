"""What the system knows about processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

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
def test_descendants_of_every_thread_are_found() -> None:
    program = """
import subprocess, threading
def start():
    with subprocess.Popen(["sleep", "60"]):
        pass
threading.Thread(target=start).start()
"""
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True) as process:
        assert len(wait_until(lambda: procfs.list_descendants(process.pid)[1:])) == 1
        os.killpg(process.pid, 9)


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


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("signal.signal(signal.SIGTERM, print)", True),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])", True),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", False),
        ("signal.signal(signal.SIGUSR1, print)", False),
        ("", False),
    ],
)
def test_what_handles_or_waits_for_a_signal_is_known(program: str, expected: bool) -> None:
    text = f"import signal\n{program}\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert procfs.handles_signal(process.pid, signal.SIGTERM) is expected
        process.kill()
    assert procfs.handles_signal(process.pid, signal.SIGTERM) is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_process_of_another_machine_is_not_one_of_this(monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual machine's engine counts its own processes; here their numbers are strangers'."""
    groups = f"0::/system.slice/docker-{'a' * 64}.scope\n"
    monkeypatch.setattr(procfs, "Path", lambda _: SimpleNamespace(read_text=lambda **_: groups))
    assert procfs.is_in_container(1, "a" * 64)
    assert not procfs.is_in_container(1, "b" * 64)
    monkeypatch.undo()
    assert not procfs.is_in_container(os.getpid(), "a" * 64)
    assert not procfs.is_in_container(2**31 - 1, "a" * 64)
