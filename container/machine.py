"""What this container may use of its machine: processors and memory, from affinity and cgroup limits (HO-13).

Rules of this file: standard library only; reads, never sets; a limit that cannot be read is no
limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT_BYTES = 1 << 60  # cgroup v1 writes "no limit" as the greatest multiple of a page


def count_cpus(cgroup: Path = _CGROUP) -> float:
    """Processors that this process may keep busy, at least 0.1; a quota may leave a fraction."""
    affinity = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quotas = [float(affinity)]
    for text in _read(cgroup, "cpu.max"):  # v2: "max 100000" or "150000 100000"
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            quotas.append(int(quota) / int(period))
    for quota, period in zip(
        _read(cgroup / "cpu", "cpu.cfs_quota_us"),
        _read(cgroup / "cpu", "cpu.cfs_period_us"),
        strict=False,
    ):  # v1: -1 is no quota
        if quota.isdecimal() and period.isdecimal() and int(period):
            quotas.append(int(quota) / int(period))
    return max(0.1, min(quotas))


def count_memory_bytes(cgroup: Path = _CGROUP) -> int | None:
    """Bytes of memory that the container may use; None where there is no limit but the machine's."""
    texts = [*_read(cgroup, "memory.max"), *_read(cgroup / "memory", "memory.limit_in_bytes")]
    limits = [int(text) for text in texts if text.isdecimal() and int(text) < _NO_LIMIT_BYTES]
    return min(limits, default=None)


def count_memory_kills(cgroup: Path = _CGROUP) -> int:
    """How many processes of this container the kernel has killed for want of memory so far."""
    texts = [*_read(cgroup, "memory.events"), *_read(cgroup / "memory", "memory.oom_control")]
    fields = [line.split() for text in texts for line in text.splitlines()]
    return sum(int(field[1]) for field in fields if len(field) == 2 and field[0] == "oom_kill")


def _read(directory: Path, name: str) -> Iterator[str]:
    try:
        yield (directory / name).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return
