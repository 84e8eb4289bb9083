"""Limits of processors and memory, in both versions of cgroups."""

from pathlib import Path

import pytest

from container import machine


def test_limits_are_those_of_the_cgroup(tmp_path: Path) -> None:
    assert machine.count_memory_bytes(tmp_path) is None
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1073741824\n")
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    assert machine.count_cpus(tmp_path) == 0.5
    assert machine.count_memory_bytes(tmp_path) == 2**30
    assert machine.count_memory_kills(tmp_path) == 2


def test_limits_of_the_older_cgroup_are_read_too(tmp_path: Path) -> None:
    for name, text in {
        "cpu/cpu.cfs_quota_us": "25000",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "1048576",
        "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert machine.count_cpus(tmp_path) == 0.25
    assert machine.count_memory_bytes(tmp_path) == 2**20
    assert machine.count_memory_kills(tmp_path) == 3


@pytest.mark.parametrize(
    ("cpu", "memory"), [("max 100000", "max"), ("garbage", ""), ("", "9223372036854771712")]
)
def test_no_limit_is_the_machines(tmp_path: Path, cpu: str, memory: str) -> None:
    (tmp_path / "cpu.max").write_text(cpu)
    (tmp_path / "memory.max").write_text(memory)
    assert machine.count_cpus(tmp_path) >= 1
    assert machine.count_memory_bytes(tmp_path) is None
