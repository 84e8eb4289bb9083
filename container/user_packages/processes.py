"""The processes below a process, as Linux lists them; none where there is no /proc.

Rules of this file: standard library only; safe in a signal handler, since it only reads /proc and
sends signals.
"""

import contextlib
import os
from pathlib import Path


def list_children(pid: int) -> list[int]:
    """Return the IDs of the processes that `pid` started, or adopted, and that still exist."""
    children: list[int] = []
    with contextlib.suppress(OSError):  # it may end while it is read
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children += map(int, path.read_text(encoding="ascii").split())
    return children


def list_descendants(pid: int) -> list[int]:
    """Return the IDs of all processes below `pid`, parents before their children."""
    found = list_children(pid)
    for child in found:
        found += list_children(child)
    return found


def list_marked(pid: int, variable: str) -> list[int]:
    """Return the topmost processes below `pid` that were started with an environment variable."""
    name = variable.encode()
    marked: list[int] = []
    unmarked = list_children(pid)
    for child in unmarked:
        environ = b""
        with contextlib.suppress(OSError):
            environ = Path(f"/proc/{child}/environ").read_bytes()
        if any(entry.partition(b"=")[0] == name for entry in environ.split(b"\0")):
            marked.append(child)
        else:
            unmarked += list_children(child)
    return marked


def send(pid: int, number: int) -> None:
    """Send a signal to a process, and to its process group if it leads one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
