"""How much memory the processes of this container take, and how much more they may take.

Memory that the kernel can take back, such as pages of mapped files, does not count.

Rules of this file: standard library only; it reads and never sets; where nothing can be read, the
memory is taken to suffice.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from container import machine
from container.user_packages import processes

_CGROUP: Final = Path("/sys/fs/cgroup")
SPARE: Final = 0.1  # of all memory, for requests and for what the kernel needs
_SPARE_BYTES: Final = 2**30
_KILOBYTES: Final = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)
_NUMBERS: Final = re.compile(r"^(\w+) (\d+)$", re.MULTILINE)
# What a process cannot give back, by the names of cgroup v2, then v1.
_HELD: Final = ("anon", "shmem", "kernel", "total_rss", "total_shmem")


class Memory:
    """The memory of this container, which is the machine's if there is no limit."""

    def __init__(self, limit_bytes: int | None = None, master: int | None = None) -> None:
        """Count `master`, by default this process, and all below it.

        They may take `limit_bytes`, by default the container's limit.
        """
        self._master = master or os.getpid()
        self._stat: Path | None = None
        self._limit_bytes = limit_bytes
        if limit_bytes is None:
            self._limit_bytes = machine.count_memory_bytes()
            self._stat = _find_stat(_CGROUP)

    def count_bytes(self) -> int:
        """Return the bytes that the container may use in all."""
        return self._limit_bytes or _read_sizes(Path("/proc/meminfo")).get("MemTotal", sys.maxsize)

    def count_used_bytes(self) -> int:
        """Return the bytes that the processes of this container hold."""
        if self._stat is not None:
            return _sum_held(self._stat)
        pids = [self._master, *processes.list_descendants(self._master)]
        used_bytes = sum(map(count_process_bytes, pids))
        if used_bytes > self.count_bytes() * (1 - 2 * SPARE):  # pages of several count once
            used_bytes = sum(map(_count_share_bytes, pids))
        return used_bytes

    def count_free_bytes(self, spare: float = SPARE) -> int:
        """Return the bytes that may still be taken; less than 0 once the reserve is touched.

        The reserve is a part `spare` of all memory, and at most 1 GiB.
        """
        spare_bytes = min(_SPARE_BYTES, int(self.count_bytes() * spare))
        if self._limit_bytes is None:
            available_bytes = _read_sizes(Path("/proc/meminfo")).get("MemAvailable", sys.maxsize)
            return available_bytes - spare_bytes
        return self._limit_bytes - self.count_used_bytes() - spare_bytes


def count_process_bytes(pid: int | str = "self") -> int:
    """Return the bytes that a process holds, with shared pages in full; 0 if it has ended."""
    sizes = _read_sizes(Path(f"/proc/{pid}/status"))
    return sizes.get("RssAnon", 0) + sizes.get("RssShmem", 0)


def count_peak_bytes() -> int:
    """Return the most bytes that this process has held, as far as the system knows."""
    sizes = _read_sizes(Path("/proc/self/status"))
    return max(count_process_bytes(), sizes.get("VmHWM", 0) - sizes.get("RssFile", 0))


def _count_share_bytes(pid: int) -> int:
    """Return the bytes that a process holds, with its part of shared pages."""
    sizes = _read_sizes(Path(f"/proc/{pid}/smaps_rollup"))
    return sizes.get("Pss_Anon", 0) + sizes.get("Pss_Shmem", 0)


def _read_sizes(path: Path) -> Mapping[str, int]:
    """Read lines such as `VmRSS:  12 kB`; nothing if the file cannot be read."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    found = _KILOBYTES.findall(text)
    return {name: int(size) * 1024 for name, size in found}


def _find_stat(cgroup: Path) -> Path | None:
    for path in (cgroup / "memory.stat", cgroup / "memory/memory.stat"):
        if path.is_file():
            return path
    return None


def _sum_held(path: Path) -> int:
    found = _NUMBERS.findall(path.read_text(encoding="ascii"))
    return sum(int(size) for name, size in found if name in _HELD)
