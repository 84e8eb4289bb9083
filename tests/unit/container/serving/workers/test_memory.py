"""What the processes of a container take, and what is left."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from container import machine
from container.serving.workers import memory

MIB = 2**20


def test_memory_of_this_process_is_counted_and_mapped_files_are_not(tmp_path: Path) -> None:
    before = memory.count_process_bytes()
    hoard = bytearray(b"1") * (64 * MIB)
    grown = memory.count_process_bytes() - before
    path = tmp_path / "weights"
    path.write_bytes(bytes(64 * MIB))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0
        with_file = memory.count_process_bytes() - before

    assert len(hoard) == 64 * MIB
    assert 60 * MIB < grown < 100 * MIB
    assert with_file < 100 * MIB
    assert memory.count_peak_bytes() >= memory.count_process_bytes() - MIB


def test_children_count_and_an_ended_process_is_nothing() -> None:
    hoarding = "hoard = bytearray(b'1') * (64 << 20); print(len(hoard), flush=True); input()"
    available = memory.Memory(limit_bytes=1 << 40)
    before = available.count_used_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", hoarding], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        used = available.count_used_bytes() - before
        child.communicate()

    assert used > 60 * MIB
    assert memory.count_process_bytes(child.pid) == 0


def test_a_tenth_is_kept_and_at_most_a_gibibyte() -> None:
    available = memory.Memory(limit_bytes=1 << 30)
    free = available.count_free_bytes()

    assert available.count_bytes() == 1 << 30
    assert free == pytest.approx((1 << 30) * 0.9 - available.count_used_bytes(), abs=50 * MIB)
    assert available.count_free_bytes(0.0) > free
    assert memory.Memory(limit_bytes=MIB).count_free_bytes() < 0
    large = memory.Memory(limit_bytes=1 << 40)
    assert large.count_free_bytes() > (1 << 40) - (1 << 30) - large.count_used_bytes() - 50 * MIB


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory.stat", "anon 100\nfile 5000\nshmem 20\nkernel 3\ninactive_anon 7\n"),
        ("memory/memory.stat", "rss 1\ncache 5000\ntotal_rss 103\ntotal_shmem 20\n"),
    ],
)
def test_a_limit_is_the_containers_and_so_is_what_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "count_memory_bytes", lambda: 1000)
    available = memory.Memory()

    assert (available.count_bytes(), available.count_used_bytes()) == (1000, 123)
    assert available.count_free_bytes() == 777


def test_without_a_limit_the_machine_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "count_memory_bytes", lambda: None)
    available = memory.Memory()

    assert MIB < available.count_free_bytes() < available.count_bytes() < 1 << 50
