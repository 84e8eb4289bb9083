"""The outer loop: epochs of inner loops; between these, stops, checkpoints and metrics.

Rules of this file: a stop, a kill or a time limit may come between any two inner loops, and a
resumed job continues as if uninterrupted. So whatever decides what comes next is in `Progress`, and
`Progress` is in the checkpoint.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from container import contract
from container.algorithm import Stop
from container.data.stream import ImageSet
from container.training import checkpoint, phases
from container.training.checkpoint import Checkpoint
from container.training.distributed.rendezvous import Hosts
from container.training.settings import Settings
from container.training.step import trial
from container.training.step.loop import Loop, State
from container.training.tensorboard import Events

_INNER_LOOP_S = 0.5  # a stop waits for one inner loop; longer ones are not faster
_INNER_STEPS_MAXIMUM = 10_000
_REPORT_INTERVAL_S = 30.0  # within an epoch


@dataclasses.dataclass
class Progress:
    """The state of a job between two steps, besides that of the loop."""

    epoch: int = 0
    step: int = 0
    """Steps of this epoch that are done."""
    loss: float = 0.0
    """Sum of their mean losses."""
    correct: int = 0
    """Images that they classified correctly."""
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """The metrics of the epochs done."""
    best_epoch: int = 0
    """Number, from 1, of the epoch with the best monitored value; 0 before the first one ends."""
    best_value: float = math.nan
    elapsed_s: float = 0.0
    """Time spent in training, in all starts of the job."""
    epoch_elapsed_s: float = 0.0
    """Time spent in this epoch."""
    xla: bool | None = None
    """Whether XLA compiles steps, if a trial found out."""
    kernels: dict[str, str] | None = None
    """The ways of convolutions that a trial chose."""
    epoch_stalled_s: float = 0.0
    """Part of it in which steps waited for images."""


@dataclasses.dataclass
class Training:
    """The training of one job: the compiled loop, the images to measure, and the progress."""

    loop: Loop
    settings: Settings
    validation: ImageSet | None
    stop: Stop
    checkpoints: Path | None
    """Directory of the checkpoints, if the job writes any."""
    identity: Mapping[str, Any]
    log: Callable[[str], None]
    hosts: Hosts
    events: Events | None = None
    progress: Progress = dataclasses.field(default_factory=Progress)
    best: State | None = None
    """The weights of the best epoch, if `keep=best`."""
    is_xla_settled: bool = False
    """Whether a trial of XLA was made in this start of the job, or would not pay."""

    def run(self, deadline: float) -> str:
        """Train until the epochs are done, a stop, no more progress, or `deadline` (monotonic).

        Some steps are done however short the time is: a job that succeeds leaves a model (TRIP-24).

        Returns: why it ended.
        """
        saved = reported = time.monotonic()
        inner_steps, is_compiled = 1, False
        while not (reason := self._find_end()):
            started, stalled_s = time.monotonic(), self.loop.stalled_s
            is_late = bool(self.steps_done) and time.monotonic() > deadline
            reason, limit = self._agree(inner_steps, is_late=is_late)
            if reason:
                break
            count = min(limit, self.loop.steps_per_epoch - self.progress.step)
            if count:  # none are left if a stop came while the epoch was measured
                with phases.measure("first steps, traced"):
                    elapsed_s = self._run_inner_loop(count, started, stalled_s)
                self.stop.worth_saving = True
                if is_compiled:  # the first call also compiles
                    fitting = round(_INNER_LOOP_S * count / elapsed_s)
                    inner_steps = max(1, min(_INNER_STEPS_MAXIMUM, fitting))
                    self._settle_xla(elapsed_s / count)
                is_compiled = True
            if self.progress.step == self.loop.steps_per_epoch:
                self._end_epoch()
                reported = time.monotonic()
            elif time.monotonic() - reported >= _REPORT_INTERVAL_S:
                self._report_progress()
                reported = time.monotonic()
            if time.monotonic() - saved >= self.settings.checkpoint_interval_s:
                self.save()
                saved = time.monotonic()
        self.save()  # first, since what follows is not part of the uninterrupted job
        if self.progress.step:
            self._end_epoch(cut_short=True)
        return reason

    def resume(self) -> None:
        """Continue from the newest checkpoint, if there is one; all hosts use the chief's."""
        if self.checkpoints is None or not self.settings.resume:
            return
        found = None
        if self.hosts.is_chief:
            found = checkpoint.load_newest(self.checkpoints, self.identity, self.log)
        names: list[str] = []
        if found:
            names = sorted(set(found.arrays) - set(self.loop.state()))
        progress, names = self.hosts.exchange([found and found.progress, names])[0]
        if progress is None:
            return
        if found:
            arrays = dict(found.arrays)
        else:  # arrays of the same shapes, which the chief's replace
            plain = self.loop.result()
            best = {name: plain[name.removeprefix("best_")] for name in names}
            arrays = {**self.loop.state(), **best}
        arrays = self.hosts.broadcast(arrays)
        self.loop.restore(arrays)
        self.progress = Progress(**progress)
        self.loop.restore_xla(self.progress.xla)
        self.best = {name.removeprefix("best_"): arrays[name] for name in names} or None
        self.stop.worth_saving = True
        self.log(f"resumed after {self.steps_done} steps, in epoch {self.progress.epoch + 1}")

    def save(self) -> None:
        """Write a checkpoint; only the chief does (CK-3)."""
        if self.checkpoints is None or not self.hosts.is_chief:
            return
        best = {f"best_{name}": array for name, array in (self.best or {}).items()}
        arrays = {**self.loop.state(), **best}
        checkpoint.save(
            self.checkpoints,
            Checkpoint(arrays, dataclasses.asdict(self.progress), self.identity),
            step=self.steps_done,
            kept=self.settings.checkpoints_kept,
        )
        self.stop.saved = f"the checkpoint after {self.steps_done} steps"

    def result(self) -> State:
        """Return the weights to save: those of the best epoch or of the last step."""
        return self.best if self.best is not None else self.loop.result()

    @property
    def steps_done(self) -> int:
        """Steps since the first start of the job."""
        return self.progress.epoch * self.loop.steps_per_epoch + self.progress.step

    @property
    def monitored(self) -> str:
        """The metric that decides early stopping and `keep=best`."""
        if self.validation is None:
            return self.settings.monitor.replace("validation_", "train_")
        return self.settings.monitor

    def _find_end(self) -> str:
        """Return why no epoch is to be done; "" if there are more."""
        progress, patience = self.progress, self.settings.early_stopping_epochs
        if progress.epoch >= (self.settings.epochs or 0):
            return "all epochs are done"
        if patience and progress.best_epoch and progress.epoch - progress.best_epoch >= patience:
            return f"{self.monitored} has not improved since epoch {progress.best_epoch}"
        return ""

    def _agree(self, inner_steps: int, *, is_late: bool) -> tuple[str, int]:
        """Let all hosts end together, or do the same number of steps.

        Returns: why to end, or ""; and the steps: the chief's number, if all have images for it.
        """
        available: list[int] = []
        if self.hosts.count > 1:
            available = [0] * self.hosts.count
            count = self.loop.count_available(self.progress.epoch, self.progress.step)
            available[self.hosts.rank] = count
        wanted = inner_steps if self.hosts.is_chief else 0
        numbers = self.hosts.agree([self.stop.requested, is_late, wanted, *available])
        if numbers[0]:
            self.stop.requested = True
            return "a stop was requested", 0
        if numbers[1]:
            self.stop.requested = False
            return "max_runtime_s is over", 0
        return "", int(min(numbers[2:]))

    def _settle_xla(self, step_s: float) -> None:
        """Try once whether XLA is faster, if the rest of the job pays for that."""
        if self.is_xla_settled or self.progress.xla is not None:
            return
        self.is_xla_settled = True
        steps = self.loop.steps_per_epoch * (self.settings.epochs or 0) - self.steps_done
        if trial.pays(self.settings, self.hosts, steps * step_s):
            self.progress.xla = trial.choose_xla(self.loop, self.hosts, self.steps_done, self.log)

    def _measure(self, validation: ImageSet) -> tuple[float, float]:
        """Measure on the chief, whose numbers all hosts use; NaN if a stop interrupted it."""
        numbers = (0.0, 0.0)
        if self.hosts.is_chief:
            numbers = self.loop.measure(validation, lambda: self.stop.requested)
        loss, accuracy = self.hosts.agree(numbers)
        return loss, accuracy

    def _run_inner_loop(self, count: int, started: float, stalled_s: float) -> float:
        """Do `count` steps.

        Returns: the seconds since `started`, when `loop.stalled_s` was `stalled_s`.
        """
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
        """Estimate the time to the end of all epochs at the pace of this one."""
        rest = self.loop.steps_per_epoch * (self.settings.epochs or 0) - self.steps_done
        return rest * self.progress.epoch_elapsed_s / self.progress.step

    def _report_progress(self) -> None:
        """Log the progress of the epoch, in words that no metric's regex matches."""
        progress = self.progress
        images_per_s = progress.step * self.loop.batch_size / progress.epoch_elapsed_s
        self.log(
            f"epoch {progress.epoch + 1} of {self.settings.epochs}, step {progress.step} of "
            f"{self.loop.steps_per_epoch}: loss {progress.loss / progress.step:.4f}, "
            f"{images_per_s:.0f} images/s, {self._estimate_rest_s():.0f} s to go"
        )

    def _end_epoch(self, *, cut_short: bool = False) -> None:
        """Measure, log and record the epoch; one cut short is neither measured nor compared.

        If a stop interrupts the measurement, nothing is done: the epoch ends in the resumed job.
        """
        progress = self.progress
        metrics = {
            "epoch": progress.epoch + 1,
            "train_loss": progress.loss / progress.step,
            "train_accuracy": progress.correct / (progress.step * self.loop.batch_size),
        }
        if self.validation is not None and not cut_short:
            loss, accuracy = self._measure(self.validation)
            if math.isnan(accuracy):
                return
            metrics |= {"validation_loss": loss, "validation_accuracy": accuracy}
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
        progress.epoch += 1
        progress.step = progress.correct = 0
        progress.loss = progress.epoch_elapsed_s = progress.epoch_stalled_s = 0.0

    def _is_better(self, value: float) -> bool:
        if not self.progress.best_epoch:
            return True
        if self.monitored.endswith("loss"):
            return value < self.progress.best_value
        return value > self.progress.best_value
