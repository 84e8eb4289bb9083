"""What loading costs a worker, and how many fit."""

from __future__ import annotations

import pytest

from container.serving.workers import growth
from container.serving.workers.memory import Memory
from tests.support import wait_until

MIB = 2**20


@pytest.mark.parametrize(
    ("grown_mb", "free_mb", "cores", "gpus", "uses_gpu", "more"),
    [
        (320, 100, 4, [], False, 0),
        (320, 700, 4, [], False, 2),
        (320, 10_000, 4, [], False, 3),
        (320, -50, 4, [], False, 0),
        (320, 10_000, 1, [], False, 0),
        (320, 10_000, 8, ["0", "1"], True, 1),
        (320, 10_000, 8, ["0"], True, 0),
        (320, 10_000, 8, [], True, 0),
        (320, 10_000, 4, ["0"], False, 3),
    ],
)
def test_as_many_workers_start_as_memory_cores_and_gpus_hold(  # noqa: PLR0913, PLR0917 - a table
    grown_mb: int, free_mb: int, cores: int, gpus: list[str], uses_gpu: bool, more: int
) -> None:
    found = growth.count_more(grown_mb * MIB, free_mb * MIB, cores, gpus, uses_gpu=uses_gpu)
    assert found == more


def test_a_worker_says_what_it_has_taken_and_the_master_reads_it() -> None:
    rows = growth.Growth(3)
    assert rows.read() is None
    rows.take(1)
    rows.note(5 * MIB, uses_gpu=True)

    assert rows.read() == (5 * MIB, True)
    assert (rows.has_loaded(1), rows.has_loaded(0), rows.count_loaded()) == (True, False, 1)
    rows.take(2)
    rows.note_shortage()
    assert (rows.ran_short(2), rows.has_loaded(2), rows.count_loaded()) == (True, False, 1)
    rows.clear(1)
    assert rows.read() is None


def test_a_shortage_is_noticed_while_a_model_is_loaded() -> None:
    calls: list[int] = []
    with growth.watch(Memory(limit_bytes=1), lambda: calls.append(1)):
        wait_until(lambda: calls)
    with growth.watch(Memory(limit_bytes=1 << 50), lambda: calls.append(2)):
        pass

    assert calls == [1]


def test_a_shortage_names_the_setting_and_what_helps() -> None:
    available = Memory(limit_bytes=300 * MIB)

    one = growth.describe_shortage(available, 1)
    assert "300 MB" in one
    assert "SAGEMAKER_MODEL_SERVER_WORKERS=1" in one
    several = growth.describe_shortage(available, 4)
    assert "SAGEMAKER_MODEL_SERVER_WORKERS=4" in several
    assert "BYO_PRELOAD=true" in several


def test_a_gpu_is_used_by_whoever_has_opened_it() -> None:
    assert not growth.uses_gpu()
