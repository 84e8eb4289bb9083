"""How many workers the master wants, without any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gunicorn.app.base import BaseApplication
from gunicorn.errors import HaltServer

from container import machine
from container.serving import plan, server_settings
from container.serving.user_code.handlers import Handlers
from container.serving.workers import growth
from container.serving.workers.arbiter import GrowingArbiter
from container.serving.workers.memory import Memory

MIB = 2**20


class Nothing(BaseApplication):
    """Configures what it is told."""

    def load_config(self) -> None:
        """Start with one worker."""
        self.cfg.set("workers", 1)

    def load(self) -> Any:
        """Load nothing."""


class Master:
    """A master that starts no process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        """Plan user code for four cores and a terabyte."""
        self.kills = 0
        monkeypatch.setattr(machine, "count_memory_kills", lambda: self.kills)
        monkeypatch.setattr(GrowingArbiter, "spawn_workers", lambda _: None)
        handlers = Handlers(Path("inference.py"), Path("model"))
        chosen = server_settings.Settings(**settings)
        planned = plan.Plan(chosen, chosen.workers or 4, 4, {}, user_code=handlers)
        self.grown = growth.Growth(5)
        memory = Memory(limit_bytes=1 << 40)
        self.arbiter = GrowingArbiter(Nothing(), planned, self.grown, memory)

    def load(self, row: int, grown_bytes: int = 300 * MIB) -> None:
        """Load the model in the worker of a row."""
        self.grown.take(row)
        self.grown.note(grown_bytes, uses_gpu=False)
        self.arbiter.manage_workers()


def test_one_worker_starts_and_more_follow_when_it_has_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    master = Master(monkeypatch)
    master.arbiter.manage_workers()
    assert master.arbiter.num_workers == 1
    master.load(0)
    assert master.arbiter.num_workers == 4

    master.arbiter.num_workers = 3  # by a signal, say
    master.load(1)
    assert master.arbiter.num_workers == 3

    large = Master(monkeypatch)
    large.load(0, 1 << 39)
    assert large.arbiter.num_workers == 2


def test_workers_that_have_the_model_already_start_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    master = Master(monkeypatch, preload=True)
    master.arbiter.manage_workers()
    assert master.arbiter.num_workers == 4


def test_a_number_of_workers_that_the_user_wants_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    master = Master(monkeypatch, workers=2)
    master.load(0)
    assert master.arbiter.num_workers == 1  # gunicorn's configuration has it


@pytest.mark.parametrize("by_kernel", [True, False])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_model_that_does_not_fit_ends_the_server_with_the_settings_name(
    monkeypatch: pytest.MonkeyPatch, workers: int, by_kernel: bool
) -> None:
    master = Master(monkeypatch, workers=workers)
    master.grown.take(0)
    if by_kernel:
        master.kills += 1
    else:
        master.grown.note_shortage()

    with pytest.raises(HaltServer) as caught:
        master.arbiter.bury(0)
    assert f"SAGEMAKER_MODEL_SERVER_WORKERS={workers or 1}" in caught.value.reason
    assert caught.value.exit_status == 1


def test_a_worker_that_is_one_too_many_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    master = Master(monkeypatch)
    master.load(0)
    master.grown.take(1)
    master.kills += 1
    master.arbiter.bury(1)
    assert master.arbiter.num_workers == 1


def test_a_death_that_memory_has_not_caused_is_no_concern_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    master = Master(monkeypatch)
    master.grown.take(0)
    master.arbiter.bury(0)
    master.load(0)
    master.kills += 1
    master.arbiter.bury(0)  # of a worker that has served
    assert master.arbiter.num_workers == 4
    assert not master.grown.has_loaded(0)
