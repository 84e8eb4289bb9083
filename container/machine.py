"""What this container may use: CPUs and memory by affinity and cgroup limits (HO-13), and a port.

Rules of this file: standard library only; limits are read and never set; one that cannot be read
counts as none.
"""

import os
import re
import socket
from pathlib import Path

from container.errors import PlatformError

_CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT_BYTES = 1 << 60  # cgroup v1 writes "no limit" as the greatest multiple of a page


def count_cpus(cgroup: Path = _CGROUP) -> float:
    """Count the processors that this process may keep busy: at least 0.1, perhaps a fraction."""
    if hasattr(os, "sched_getaffinity"):
        cpus = float(len(os.sched_getaffinity(0)))
    else:
        cpus = float(os.cpu_count() or 1)
    v2 = _read(cgroup / "cpu.max")  # "max 100000" or "150000 100000"
    v1_quota = _read(cgroup / "cpu/cpu.cfs_quota_us")  # -1: unlimited
    v1_period = _read(cgroup / "cpu/cpu.cfs_period_us")
    for text in (v2, f"{v1_quota} {v1_period}"):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            cpus = min(cpus, int(quota) / int(period))
    return max(0.1, cpus)


def count_threads(cgroup: Path = _CGROUP) -> int:
    """Return the number of threads that this process may keep busy."""
    return max(1, int(count_cpus(cgroup)))


def count_library_threads() -> int:
    """Return the threads that a numerical library of this process may start.

    OMP_NUM_THREADS says it, perhaps for each level of nesting; otherwise it is one a processor.
    """
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(text) if re.fullmatch("[1-9][0-9]{0,3}", text) else count_threads()


def count_memory_bytes(cgroup: Path = _CGROUP) -> int | None:
    """Count the bytes of memory that the container may use, or None without a limit."""
    texts = [_read(cgroup / "memory.max"), _read(cgroup / "memory/memory.limit_in_bytes")]
    limits = [int(text) for text in texts if text.isdecimal() and int(text) < _NO_LIMIT_BYTES]
    return min(limits, default=None)


def count_memory_kills(cgroup: Path = _CGROUP) -> int:
    """Count the processes of this container that the kernel killed because memory ran out."""
    texts = [_read(cgroup / "memory.events"), _read(cgroup / "memory/memory.oom_control")]
    return sum(map(int, re.findall(r"^oom_kill (\d+)$", "\n".join(texts), re.MULTILINE)))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def listen_for_hosts(port: int, host_count: int) -> socket.socket:
    """Open the port on which the hosts of a job meet, on all addresses of this one.

    Raises: PlatformError if it cannot be opened, as when two hosts share one network.
    """
    try:
        return socket.create_server(("", port), backlog=4 * host_count)
    except OSError as error:
        raise PlatformError(
            f"port {port}, on which the hosts of a job meet, cannot be opened: {error.strerror}; "
            "each host needs a network of its own: run several hosts with --isolated or --image"
        ) from error
