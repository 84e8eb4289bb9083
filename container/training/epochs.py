"""The outer loop: epochs of inner loops, and between these everything that needs Python: stops, checkpoints, metrics.

Rules of this file: a stop, a kill or a time limit may come between any two inner loops, and a job
that resumes goes on as if nothing had been: whatever decides what comes next is in `Progress`, and
`Progress` is in the checkpoint.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from container import contract
from container.algorithm import Stop
from container.data.loading import LabeledImages, Stream
from container.training import checkpoint
from container.training.checkpoint import Checkpoint
from container.training.distributed.rendezvous import Hosts
from container.training.settings import Settings
from container.training.step.loop import Loop, State
from container.training.tensorboard import Events

_INNER_LOOP_S = 0.5  # a stop waits for one inner loop; a longer one is no faster
_INNER_STEPS_MAXIMUM = 10_000
_NEWS_S = 30.0  # between lines within an epoch


@dataclasses.dataclass
class Progress:
    """Where a job stands between two steps."""

    epoch: int = 0
    step: int = 0
    """Steps done of this epoch."""
    loss: float = 0.0
    """Sum of their mean losses."""
    correct: int = 0
    """Images that they classified rightly."""
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """The metrics of the epochs done."""
    best_epoch: int = 0
    """Number, from 1, of the epoch with the best value of the monitored metric; 0 before the first."""
    best_value: float = math.nan
    elapsed_s: float = 0.0
    """Time spent in training, in all starts of the job together."""
    epoch_elapsed_s: float = 0.0
    """Time spent in this epoch."""
    epoch_stalled_s: float = 0.0
    """Part of it in which the steps waited for images."""


@dataclasses.dataclass
class Training:
    """One job's training: the compiled loop, what it is measured on, and where it stands."""

    loop: Loop
    settings: Settings
    validation: LabeledImages | Stream | None
    stop: Stop
    checkpoints: Path | None
    """Directory of the checkpoints; None for none."""
    identity: Mapping[str, Any]
    log: Callable[[str], None]
    hosts: Hosts | None = None
    events: Events | None = None
    progress: Progress = dataclasses.field(default_factory=Progress)
    best: State | None = None
    """The best epoch's weights, if they are asked for."""

    def run(self, deadline: float) -> str:
        """Train until the epochs are done, a stop is asked for, no progress is made or `deadline` (monotonic) is over.

        However short the time, some steps are done: a job that ends well leaves a model (TRIP-24).

        Returns: why it ended.
        """
        reason = "all epochs are done"
        saved = told = time.monotonic()
        inner_steps, compiled = 1, False
        while self.progress.epoch < (self.settings.epochs or 0):
            if self._is_stale():
                reason = f"no better {self.monitored} since epoch {self.progress.best_epoch}"
                break
            started, stalled_s = time.monotonic(), self.loop.stalled_s
            stopped, late, limit = self._agree(
                self.stop.requested,
                bool(self.steps_done) and time.monotonic() > deadline,
                inner_steps,
            )
            if stopped or late:
                self.stop.requested = stopped
                reason = "a stop was asked for" if stopped else "max_runtime_s is over"
                break
            count = min(limit, self.loop.steps_per_epoch - self.progress.step)
            if count:  # none are left where a stop came while the epoch was measured
                elapsed_s = self._run_inner_loop(count, started, stalled_s)
                self.stop.worth_saving = True
                if compiled:  # the first call has compiled, too
                    inner_steps = max(
                        1, min(_INNER_STEPS_MAXIMUM, round(_INNER_LOOP_S * count / elapsed_s))
                    )
                compiled = True
            if self.progress.step == self.loop.steps_per_epoch:
                self._end_epoch()
                told = time.monotonic()
            elif time.monotonic() - told >= _NEWS_S:
                self._tell_progress()
                told = time.monotonic()
            if time.monotonic() - saved >= self.settings.checkpoint_interval_s:
                self.save()
                saved = time.monotonic()
        self.save()  # first, since what follows is not part of the uninterrupted job
        if self.progress.step:
            self._end_epoch(cut_short=True)
        return reason

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        if self.checkpoints is None or not self.settings.resume:
            return
        found = None
        if self.hosts is None or self.hosts.is_chief:
            found = checkpoint.load_newest(self.checkpoints, self.identity, self.log)
        progress = found.progress if found else None
        names = sorted(set(found.arrays) - set(self.loop.state())) if found else []
        if self.hosts:  # the chief's checkpoint is everybody's: the others may not have it
            progress, names = self.hosts.exchange([progress, names])[0]
        if progress is None:
            return
        arrays = dict(found.arrays) if found else self.loop.state()
        if self.hosts:
            plain = self.loop.result()
            arrays |= {name: arrays.get(name, plain[name.removeprefix("best_")]) for name in names}
            arrays = self.hosts.broadcast(arrays)
        self.loop.restore(arrays)
        self.progress = Progress(**progress)
        self.best = {name.removeprefix("best_"): arrays[name] for name in names} or None
        self.stop.worth_saving = True
        self.log(f"resumed after {self.steps_done} steps, in epoch {self.progress.epoch + 1}")

    def save(self) -> None:
        """Write a checkpoint; the chief alone does (CK-3)."""
        if self.checkpoints is None or (self.hosts and not self.hosts.is_chief):
            return
        best = {f"best_{name}": array for name, array in (self.best or {}).items()}
        checkpoint.save(
            self.checkpoints,
            Checkpoint(
                {**self.loop.state(), **best}, dataclasses.asdict(self.progress), self.identity
            ),
            step=self.steps_done,
            kept=self.settings.checkpoints_kept,
        )
        self.stop.saved = f"the checkpoint after {self.steps_done} steps"

    def result(self) -> State:
        """Give the weights to save: the best epoch's or the last step's."""
        return self.best if self.best is not None else self.loop.result()

    @property
    def steps_done(self) -> int:
        """Steps since the job's first start."""
        return self.progress.epoch * self.loop.steps_per_epoch + self.progress.step

    @property
    def monitored(self) -> str:
        """The metric that early stopping and `keep` look at."""
        name = self.settings.monitor
        return name if self.validation is not None else name.replace("validation_", "train_")

    def _agree(self, stopped: bool, late: bool, inner_steps: int) -> tuple[bool, bool, int]:  # noqa: FBT001
        """Let all hosts end as one, or do as many steps: the chief's number, if all have the images for it at hand."""
        if self.hosts is None:
            return stopped, late, inner_steps
        at_hand = [0] * self.hosts.count
        at_hand[self.hosts.rank] = self.loop.count_available(
            self.progress.epoch, self.progress.step
        )
        told = self.hosts.agree(
            [stopped, late, inner_steps if self.hosts.is_chief else 0, *at_hand]
        )
        return told[0] > 0, told[1] > 0, int(min(told[2:]))

    def _measure(self, validation: LabeledImages | Stream) -> tuple[float, float]:
        """Measure on the chief, whose numbers then are everybody's; NaN if it was stopped meanwhile."""
        numbers = (0.0, 0.0)
        if self.hosts is None or self.hosts.is_chief:
            numbers = self.loop.measure(validation, lambda: self.stop.requested)
        loss, accuracy = self.hosts.agree(numbers) if self.hosts else numbers
        return loss, accuracy

    def _run_inner_loop(self, count: int, started: float, stalled_s: float) -> float:
        """Do `count` steps; give the seconds since `started`, when the loop had waited for images for `stalled_s`."""
        progress = self.progress
        progress.loss, progress.correct = self.loop.run(
            progress.epoch, progress.step, count, (progress.loss, progress.correct)
        )
        progress.step += count
        elapsed_s = time.monotonic() - started
        progress.elapsed_s += elapsed_s
        progress.epoch_elapsed_s += elapsed_s
        progress.epoch_stalled_s += self.loop.stalled_s - stalled_s
        return elapsed_s

    def _estimate_rest_s(self) -> float:
        """Estimate the time to the end of all epochs, at the pace of this one; the time to measure them is left out."""
        rest = self.loop.steps_per_epoch * (self.settings.epochs or 0) - self.steps_done
        return rest * self.progress.epoch_elapsed_s / self.progress.step

    def _tell_progress(self) -> None:
        """Log where the epoch stands, in words that the metrics' regexes pass over."""
        progress = self.progress
        images_per_s = progress.step * self.loop.batch_size / progress.epoch_elapsed_s
        self.log(
            f"epoch {progress.epoch + 1} of {self.settings.epochs}, step {progress.step} of "
            f"{self.loop.steps_per_epoch}: loss {progress.loss / progress.step:.4f}, {images_per_s:.0f} images/s, "
            f"{self._estimate_rest_s():.0f} s to go"
        )

    def _end_epoch(self, *, cut_short: bool = False) -> None:
        """Measure, log and remember the epoch; one that was cut short is not measured or compared with others.

        After a stop while it is measured, nothing is done: the epoch ends when the job is resumed.
        """
        progress = self.progress
        metrics = {
            "epoch": progress.epoch + 1,
            "train_loss": progress.loss / progress.step,
            "train_accuracy": progress.correct / (progress.step * self.loop.batch_size),
        }
        if self.validation is not None and not cut_short:
            metrics["validation_loss"], metrics["validation_accuracy"] = self._measure(
                self.validation
            )
            if math.isnan(metrics["validation_accuracy"]):
                return
        metrics |= {
            "learning_rate": self.loop.learning_rate(progress.epoch, progress.step - 1),
            "images_per_s": progress.step * self.loop.batch_size / progress.epoch_elapsed_s,
            "epoch_time_s": progress.epoch_elapsed_s,
            "data_stall_share": progress.epoch_stalled_s / progress.epoch_elapsed_s,
            "eta_s": self._estimate_rest_s(),
        }
        self.log(contract.format_metrics(metrics))
        if self.events:
            self.events.append(metrics)
        progress.history.append(metrics)
        if not cut_short and self._is_better(metrics[self.monitored]):
            progress.best_epoch, progress.best_value = progress.epoch + 1, metrics[self.monitored]
            self.best = self.loop.result() if self.settings.keep == "best" else None
        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.loss, progress.correct, progress.epoch_elapsed_s, progress.epoch_stalled_s = (
            0.0,
            0,
            0.0,
            0.0,
        )

    def _is_better(self, value: float) -> bool:
        if not self.progress.best_epoch:
            return True
        falls = self.monitored.endswith("loss")
        return value < self.progress.best_value if falls else value > self.progress.best_value

    def _is_stale(self) -> bool:
        patience, progress = self.settings.early_stopping_epochs, self.progress
        return bool(
            patience and progress.best_epoch and progress.epoch - progress.best_epoch >= patience
        )
