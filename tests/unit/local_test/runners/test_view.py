"""What a private view hides, and what can be written to in it."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("views need Linux", allow_module_level=True)

from container.errors import PlatformError
from local_test.runners.interface import Launch
from local_test.runners.launcher import has_namespaces
from local_test.runners.process import ProcessRunner
from local_test.runners.view import kernel, listen_filter, mounts


def test_bound_sockets_are_listed_by_path(tmp_path: Path) -> None:
    path = tmp_path / "a socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert str(path) in mounts.list_sockets()


def test_a_system_call_that_fails_says_which_and_why(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"mount {tmp_path}/none: "):
        kernel.mount("tmpfs", f"{tmp_path}/none", 0, kind="tmpfs")


def test_a_link_or_nothing_is_not_covered(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    mounts.hide(str(tmp_path / "link"))
    mounts.hide(str(tmp_path / "nothing"))


PLACES = ("/opt/ml", "/var/tmp", ".", "/tmp", "/dev/shm")  # noqa: S108 - in the view


@pytest.mark.skipif(not has_namespaces(), reason="a view needs a namespace")
@pytest.mark.parametrize(
    ("is_root_read_only", "has_shared_memory", "writable"),
    [(True, True, PLACES[3:]), (True, False, PLACES[3:4]), (False, False, PLACES[:4])],
)
def test_a_serverless_program_writes_where_it_may(
    tmp_path: Path, *, is_root_read_only: bool, has_shared_memory: bool, writable: tuple[str, ...]
) -> None:
    """SRV-1."""
    code = (
        "import os, tempfile\n"
        f"for place in {PLACES}:\n"
        "    try: tempfile.TemporaryFile(dir=place).close(); print(place)\n"
        "    except OSError: pass\n"
    )
    output = bytearray()
    launch = Launch(
        name="serverless",
        arguments=("-c", code),
        root=tmp_path,
        environment={},
        is_root_read_only=is_root_read_only,
        has_shared_memory=has_shared_memory,
    )
    (tmp_path / "code").mkdir()
    runner = ProcessRunner([sys.executable], directory=tmp_path / "code", is_private=True)
    assert runner.start(launch, output.extend).wait(60) == 0
    assert tuple(output.decode().split()) == writable


def test_a_serverless_program_needs_a_view(tmp_path: Path) -> None:
    launch = Launch("a", (), tmp_path, {}, is_root_read_only=True)
    with pytest.raises(PlatformError, match="namespaces"):
        ProcessRunner(["true"], is_private=False).start(launch, print)


def test_a_machine_without_such_filters_sends_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen_filter, "CALLS", {})
    own, other = socket.socketpair()
    with own:
        listen_filter.install(other.detach())
        message, files, _, _ = socket.recv_fds(own, 1, 1)
    assert (message, files) == (b"-", [])
