"""What the harness says and does about the sockets of a server that is a process."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys

import pytest

from local_test.runners import loopback
from tests.support import wait_until

if sys.platform != "linux":
    pytest.skip("sockets are bound to a device on Linux only", allow_module_level=True)


def test_a_socket_of_ip_is_bound_to_loopback_and_no_other() -> None:
    for family, device in ((socket.AF_INET, b"lo\0"), (socket.AF_INET6, b"lo\0")):
        with socket.socket(family) as found:
            loopback.bind_to_loopback(os.getpid(), found.fileno())
            assert found.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == device
    with socket.socket(socket.AF_UNIX) as found:
        loopback.bind_to_loopback(os.getpid(), found.fileno())
    loopback.bind_to_loopback(os.getpid(), 999_999)


def test_a_system_without_the_filter_is_reported() -> None:
    output: list[bytes] = []
    guard = loopback.Guard()
    with socket.socket(fileno=os.dup(guard.file)) as program:
        guard.start(output.append)
        program.send(b"-")
    wait_until(lambda: output)

    assert b"other machines may reach the ports of this program" in output[0]
    guard.close()


def test_a_guard_whose_program_cannot_be_started_leaves_no_socket() -> None:
    with contextlib.closing(loopback.Guard()):
        pass
    gc.collect()  # an open socket warns when it is collected


def test_a_program_that_ends_before_its_filter_is_forgotten() -> None:
    output: list[bytes] = []
    with contextlib.closing(loopback.Guard()) as guard:
        guard.start(output.append)
    assert output == []
