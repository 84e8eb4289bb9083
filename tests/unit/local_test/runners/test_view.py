"""What a private view hides, without making one."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("views need Linux", allow_module_level=True)

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


def test_a_machine_without_such_filters_sends_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen_filter, "CALLS", {})
    own, other = socket.socketpair()
    with own:
        listen_filter.install(other.detach())
        message, files, _, _ = socket.recv_fds(own, 1, 1)
    assert (message, files) == (b"-", [])
