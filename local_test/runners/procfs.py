"""What the system knows about processes, on Linux from /proc: their names, children and memory."""

import contextlib
import os
import re
from pathlib import Path


def name_process(pid: int) -> str:
    """Return a name that no later process of the same ID has; empty for one that has exited.

    A zombie has exited, too: in a container whose first process does not reap, it stays in /proc.
    """
    if not Path("/proc/self/stat").exists():
        return _name_by_signal(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else f"{pid}-{fields[19]}"


def _name_by_signal(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return str(pid)


def list_descendants(pid: int) -> list[int]:
    """Return a process and all that descend from it; without /proc only the process itself."""
    pids = [pid]
    for parent in pids:
        with contextlib.suppress(OSError):  # it may end while it is read
            for path in Path(f"/proc/{parent}/task").glob("*/children"):  # of each of its threads
                with contextlib.suppress(OSError):
                    pids += map(int, path.read_text(encoding="ascii").split())
    return pids


def is_in_container(pid: int, container: str) -> bool:
    """Return whether a process of this machine is in the container of an ID, by its control groups.

    An engine in a virtual machine or on another host counts processes there: the same numbers are
    other processes here.
    """
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
    except OSError:
        return False


def handles_signal(pid: int, number: int) -> bool | None:
    """Return whether a process handles or waits for a signal, or None where that is unknown.

    The first process of a container that does neither never notices: the kernel gives process 1 no
    default action.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    masks = [int(mask, 16) for mask in re.findall(r"(?m)^Sig(?:Cgt|Blk):\s*(\w+)$", status)]
    return any(mask >> (number - 1) & 1 for mask in masks) if masks else None


def count_resident_bytes(pid: int) -> int:
    """Return a process's anonymous memory, with shared pages in full; 0 if it has exited."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGESIZE")


def count_own_bytes(pid: int) -> int:
    """Return a process's anonymous memory, with its part of shared pages; 0 if it has exited."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    own = [line for line in lines if line.startswith(("Pss_Anon:", "SwapPss:"))]
    return sum(int(line.split()[1]) for line in own) * 1024
