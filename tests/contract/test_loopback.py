"""Other machines cannot connect to a server that is a process, whatever it binds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from local_test.runners.interface import Launch
from local_test.runners.launcher import has_namespaces
from local_test.runners.process import ProcessRunner
from tests.support import wait_until

if sys.platform != "linux":
    pytest.skip("sockets are bound to a device on Linux only", allow_module_level=True)

PROGRAM = """
import json, multiprocessing, socket, threading, time

def listen(family, address):
    listener = socket.socket(family)
    listener.bind((address, 0))
    listener.listen()
    device = listener.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
    return listener, device.rstrip(bytes(1)).decode()

def work(found):
    found["child"] = listen(socket.AF_INET, "0.0.0.0")[1]

if __name__ == "__main__":
    seen = {"v4": listen(socket.AF_INET, "0.0.0.0")[1], "v6": listen(socket.AF_INET6, "::")[1]}
    thread = threading.Thread(target=work, args=(seen,))
    thread.start()
    thread.join()
    seen["thread"] = seen.pop("child")
    shared = multiprocessing.Manager().dict()  # it listens on a socket of the file system
    child = multiprocessing.Process(target=work, args=(shared,))
    child.start()
    child.join()
    print(json.dumps({**seen, **shared}), flush=True)
"""


def run(directory: Path, *, is_private: bool, is_server: bool) -> dict[str, str]:
    output: list[bytes] = []
    runner = ProcessRunner([sys.executable, "-c", PROGRAM], is_private=is_private)
    launch = Launch(name="one", arguments=(), root=directory, environment={}, is_server=is_server)
    container = runner.start(launch, output.append)
    try:
        assert container.wait(60) == 0, output
    finally:
        container.remove()
    found = wait_until(lambda: b"".join(output))
    return dict(json.loads(found))


@pytest.mark.parametrize("is_private", [True, False])
def test_whatever_a_server_listens_on_is_bound_to_loopback(
    is_private: bool, tmp_path: Path
) -> None:
    if is_private and not has_namespaces():
        pytest.skip("this machine lets nobody make a private /opt/ml")
    seen = run(tmp_path, is_private=is_private, is_server=True)

    assert seen == dict.fromkeys(("v4", "v6", "thread", "child"), "lo")  # HO-1


def test_a_job_listens_as_it_likes(tmp_path: Path) -> None:
    seen = run(tmp_path, is_private=False, is_server=False)

    assert seen == dict.fromkeys(("v4", "v6", "thread", "child"), "")


@pytest.mark.parametrize("is_server", [True, False])
@pytest.mark.skipif(not has_namespaces(), reason="isolation needs namespaces")
def test_an_isolated_server_that_is_a_process_shares_the_machines_network(
    is_server: bool, tmp_path: Path
) -> None:
    """SEC-1: the harness has to reach its port. An isolated job has a network of its own."""
    output: list[bytes] = []
    program = "import os; print(os.readlink('/proc/self/ns/net'), flush=True)"
    runner = ProcessRunner([sys.executable, "-c", program], is_private=True)
    launch = Launch("one", (), tmp_path, {}, is_server=is_server, is_isolated=True)
    container = runner.start(launch, output.append)
    try:
        assert container.wait(60) == 0, output
    finally:
        container.remove()
    found = wait_until(lambda: b"".join(output)).decode().strip()

    assert (found == str(Path("/proc/self/ns/net").readlink())) == is_server
