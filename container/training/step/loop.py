"""The inner loop: many training steps in one call of one compiled function.

All weights are one float32 vector and all gradients another, so an update rule, a decay, a running
mean or a sum over hosts is one operation for any network. The images stay on the device as uint8; a
step gathers its batch by index, augments it, and computes its gradient in towers. A step depends
only on the seed and its number: no iterator holds state, so a job can resume at any step.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy.typing as npt
import tensorflow as tf

from container.data.stream import ImageSet
from container.errors import UserError
from container.training.distributed.rendezvous import Hosts
from container.training.distributed.shares import Share, share_alone
from container.training.network import kernel_trial, networks
from container.training.network.kernel_trial import Ways
from container.training.settings import Settings
from container.training.step import measurement, memory, source
from container.training.step.augmentation import augment
from container.training.step.device import Device
from container.training.step.lookahead import Lookahead
from container.training.step.optimizer import Optimizer
from container.training.step.source import Block, iterate
from container.training.step.towers import Batch, FlatNetwork, Towers, Vectors, compile_by_xla

# float16 ends at 65504 and loses what is below 6e-8: gradients are scaled up until they overflow.
_FIRST_LOSS_SCALE = 2.0**15
_GROWTH_STEPS = 2000

State = dict[str, npt.NDArray[Any]]
"""Arrays by name."""
Step = Callable[[Batch, Any, Any], tuple[Any, Any]]
"""Does a step on a batch by its number and that of its first random draw (see `Loop._do_step`)."""


class Loop:
    """A network in training: its variables, and compiled functions that update and measure them."""

    def __init__(  # noqa: PLR0913, PLR0917 - a network, its data, and how to train it
        self,
        twin: keras.Model,
        data: ImageSet,
        settings: Settings,
        device: Device,
        share: Share | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        """`twin` ends in logits and has the initial values; `data` are the images of this host."""
        share = share or share_alone(data, settings.batch_size)
        self._settings, self._share, self._hosts = settings, share, hosts or Hosts()
        self.batch_size = settings.batch_size
        self.steps_per_epoch = share.image_count // settings.batch_size
        self._part_size = share.high - share.low
        self._precision = device.precision
        self.stalled_s = 0.0
        """Time spent waiting for images since the loop was created."""
        self._class_count = len(data.classes)
        self._class_weights = None
        if settings.class_weights == "balanced":
            self._class_weights = tf.constant(share.weigh_classes(), tf.float32)
        self._source = source.make(data, share, settings, twin.input_shape)
        self._twin = twin
        self._network = FlatNetwork(twin, settings.seed)
        self._tower_count = device.towers
        with self._hosts.scope():
            self._weights = tf.Variable(self._network.weights)
            self._statistics = tf.Variable(self._network.statistics)
            total_steps = self.steps_per_epoch * (settings.epochs or 1)
            shapes = self._network.weight_shapes
            self._optimizer = Optimizer(
                settings,
                shapes,
                total_steps,
                self._hosts.count,
                networks.list_rate_factors(twin, settings.offset_rate),
            )
            self._variables = {
                "weights": self._weights,
                "statistics": self._statistics,
                **self._optimizer.slots,
            }
            if settings.ema_decay:
                self._variables["mean_weights"] = tf.Variable(self._network.weights)
                self._variables["mean_statistics"] = tf.Variable(self._network.statistics)
            if settings.lookahead_steps:
                self._lookahead = Lookahead(settings, total_steps, self._weights, self._statistics)
                self._variables |= self._lookahead.slow
            if device.precision == "float16":  # and the steps since it was changed
                self._variables["loss_scale"] = tf.Variable([_FIRST_LOSS_SCALE, 0.0])
        self._images = tf.TensorSpec([None, *twin.input_shape[1:]], tf.uint8)
        self._labels = tf.TensorSpec([None], tf.int32)
        self._measure = tf.function(
            self._measure_batches, autograph=False, input_signature=[self._images, self._labels]
        )
        self._compiled: dict[bool, Any] = {}
        self.use_xla(device.xla)

    def use_xla(self, xla: bool) -> None:  # noqa: FBT001 - the only argument
        """Compile the next steps with XLA, or without."""
        self.xla = xla
        """Whether XLA compiles steps."""
        if xla not in self._compiled:
            bounds = (tf.TensorSpec([], tf.int32),) * 3
            sums = (tf.TensorSpec([], tf.float64), tf.TensorSpec([], tf.int64))
            self._compiled[xla] = tf.function(
                functools.partial(self._run_steps, self._make_step(xla=xla)),
                autograph=False,
                input_signature=[(self._images, self._labels, self._labels), bounds, sums],
            )
        self._run = self._compiled[xla]

    def restore_xla(self, chosen: bool | None) -> None:  # noqa: FBT001 - the only argument
        """Compile as a trial before the checkpoint chose, unless it is set now."""
        if chosen is not None and self._settings.xla == "auto":
            self.use_xla(chosen)

    def try_kernels(self, log: Callable[[str], None]) -> Ways | None:
        """Choose the fastest way of each convolution, if that pays; else return None.

        It pays in a long job on CPUs without XLA, and is not repeatable. Call it before the first
        step.
        """
        settings = self._settings
        steps = self.steps_per_epoch * (settings.epochs or 1)
        operations = 3 * steps * self._part_size * kernel_trial.count_operations(self._twin)
        is_on_gpu = bool(tf.config.get_visible_devices("GPU"))
        if settings.deterministic or self.xla or is_on_gpu:
            return None
        if operations < kernel_trial.PAYING_OPERATIONS:
            return None
        return kernel_trial.choose(self._twin, self._part_size // self._tower_count, log)

    def set_kernels(self, ways: Mapping[str, str]) -> None:
        """Let convolutions be computed as a trial chose, from the first step on."""
        kernel_trial.apply(self._twin, ways)

    def _make_step(self, *, xla: bool) -> Step:
        """Make the function of a step of one replica, after augmentation.

        XLA compiles the entire step of the only replica; of several only what comes before the sum.
        """
        is_shared = self._hosts.replica_count > 1
        towers = Towers(
            self._network,
            self._tower_count,
            self.batch_size,
            shared=is_shared,
            xla=xla and is_shared,
        )
        step = functools.partial(self._do_step, towers)
        return compile_by_xla(step) if xla and not is_shared else step

    def run(self, epoch: int, start: int, count: int, sums: tuple[float, int]) -> tuple[float, int]:
        """Do `count` steps of an epoch from `start` on; `sums` are those of its steps so far.

        All hosts of a job must have the images for them available (`count_available`).

        Returns: the sum of the mean losses of the epoch, and the number of its images classified
        correctly; carried from call to call, they are the same bits wherever an epoch is cut.

        Raises: UserError that names the first step whose loss was not finite.
        """
        first = step = epoch * self.steps_per_epoch + start
        while step < first + count:
            block = self._find_block(step)
            end = min(first + count, block.end_step)
            with self._hosts.watched(), memory.explained(self.batch_size, self._precision):
                arrays = (block.images, block.labels, block.order)
                loss, correct, bad = self._run(arrays, (block.first_step, step, end), sums)
            if int(bad) >= 0:
                raise UserError(
                    f"the loss is not finite in step {int(bad) - first + start + 1} of epoch "
                    f"{epoch + 1}; learning_rate={self._settings.learning_rate:g} is probably too "
                    "high for this data"
                )
            step = end
            sums = float(loss), int(correct)
        return sums

    def count_available(self, epoch: int, start: int) -> int:
        """Count the steps from `start` on whose images are available, in the same block."""
        step = epoch * self.steps_per_epoch + start
        return self._find_block(step).end_step - step

    def measure(self, data: ImageSet, is_stopped: Callable[[], bool] = bool) -> tuple[float, float]:
        """Return mean loss (without label smoothing) and accuracy of what would be saved now.

        Both are NaN if `is_stopped` became true.
        """
        loss, correct = 0.0, 0
        for part in iterate(data):
            if is_stopped():
                return math.nan, math.nan
            with memory.explained(self.batch_size, self._precision):
                sums = self._measure(tf.constant(part.images), tf.constant(part.labels))
            loss += float(sums[0])
            correct += int(sums[1])
        return loss / len(data.labels), correct / len(data.labels)

    def learning_rate(self, epoch: int, step: int) -> float:
        """Return the rate of a step of an epoch, both counted from 0."""
        return float(self._optimizer.rate(epoch * self.steps_per_epoch + step))

    def state(self) -> State:
        """Copy everything that the next step depends on."""
        return {name: variable.numpy() for name, variable in self._variables.items()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set the `state` of a loop of the same network and settings."""
        for name, variable in self._variables.items():
            variable.assign(state[name])

    def result(self) -> State:
        """Copy what would be saved now: `weights` and `statistics`, or their running means."""
        prefix = "mean_" if self._settings.ema_decay else ""
        return {name: self._variables[prefix + name].numpy() for name in ("weights", "statistics")}

    def write_to(self, network: keras.Model, result: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write a `result` into the variables of the network that the twin was cloned from."""
        self._network.write_to(network, result)

    def _find_block(self, step: int) -> Block:
        started = time.monotonic()
        block = self._source.find_block(step)
        self.stalled_s += time.monotonic() - started
        return block

    def _run_steps(
        self, do_step: Step, arrays: Any, bounds: Any, sums: Any
    ) -> tuple[Any, Any, Any]:
        """Do the steps of `bounds`: first step of the block, first step, and end."""
        images, labels, order = arrays
        block_step, first, end = bounds

        def body(step: Any, loss: Any, correct: Any, bad: Any) -> tuple[Any, ...]:
            at = (step - block_step) * self._part_size
            batch = tf.ensure_shape(order[at : at + self._part_size], [self._part_size])
            step_loss, step_correct = self._hosts.run(
                functools.partial(self._do_replica_step, do_step), [(images, labels, batch), step]
            )
            bad = tf.where(tf.math.is_finite(step_loss), bad, step)
            loss += tf.cast(step_loss, tf.float64)
            correct += tf.cast(step_correct, tf.int64)
            return step + 1, loss, correct, bad

        def has_more(step: Any, _loss: Any, _correct: Any, bad: Any) -> Any:
            return tf.logical_and(step < end, bad < 0)

        start = [first, *sums, tf.constant(-1)]
        _, loss, correct, bad = tf.while_loop(has_more, body, start, parallel_iterations=1)
        return loss, correct, bad

    def _do_replica_step(
        self, do_step: Step, replica: int, arrays: Any, step: Any
    ) -> tuple[Any, Any]:
        """Do one step of a replica; `arrays` are images, labels, and indices of this host's part.

        Returns: the mean loss of all replicas, and the number of images classified correctly.
        """
        images, labels, batch = arrays
        count = self._hosts.own_replica_count
        low, high = (self._part_size * (replica % count + end) // count for end in (0, 1))
        with tf.device(self._source.place):
            images = tf.gather(images, batch[low:high])
            labels = tf.gather(labels, batch[low:high])
        smoothing = self._settings.label_smoothing
        one_hot = tf.one_hot(labels, self._class_count)
        targets = one_hot * (1 - smoothing) + smoothing / self._class_count
        if self._class_weights is not None:
            targets *= tf.gather(self._class_weights, labels)[:, None]
        part = (self._share.low + low, self.batch_size)
        epoch = step // self.steps_per_epoch
        images, targets = augment(images, targets, self._settings, step, part, epoch)
        first_draw = (step * self._hosts.replica_count + replica) * self._tower_count
        return do_step(Batch(images, targets, labels), step, first_draw)

    def _do_step(self, towers: Towers, batch: Batch, step: Any, first_draw: Any) -> tuple[Any, Any]:
        """Compute the gradient of a replica's part, sum it over all of them, and update."""
        scale = self._variables["loss_scale"][0] if "loss_scale" in self._variables else None
        vectors = Vectors(self._weights.read_value(), self._statistics.read_value())
        sums = self._hosts.add(towers.add_up(vectors, batch, first_draw, scale))
        gradient, new_statistics, reported = towers.join(sums)
        if scale is None:
            self._update(gradient, new_statistics, step)
        else:
            self._update_scaled(gradient, new_statistics, step)
        if self._settings.lookahead_steps:
            self._lookahead.apply(step)
        self._update_means(step)
        return reported[0], tf.cast(tf.round(reported[1]), tf.int32)

    def _update(self, gradient: Any, statistics: Any, step: Any) -> None:
        self._optimizer.apply(self._weights, gradient, step)
        self._statistics.assign(statistics)

    def _update_scaled(self, gradient: Any, statistics: Any, step: Any) -> None:
        """Update by a scaled gradient; one that overflowed is skipped and halves the scale."""
        variable = self._variables["loss_scale"]
        scale, steps = tf.unstack(variable.read_value())
        fits = tf.reduce_all(tf.math.is_finite(gradient))
        fits &= tf.reduce_all(tf.math.is_finite(statistics))

        def update() -> Any:
            self._update(gradient / scale, statistics, step)
            grows = steps + 1 >= _GROWTH_STEPS
            return tf.where(grows, [2 * scale, 0.0], [scale, steps + 1])

        variable.assign(tf.cond(fits, update, lambda: tf.stack([tf.maximum(scale / 2, 1.0), 0.0])))

    def _update_means(self, step: Any) -> None:
        if not self._settings.ema_decay:
            return
        done = tf.cast(step, tf.float32)
        # The first steps are forgotten sooner.
        decay = tf.minimum(self._settings.ema_decay, (1 + done) / (10 + done))
        for name in ("weights", "statistics"):
            mean = self._variables[f"mean_{name}"]
            mean.assign(decay * mean + (1 - decay) * self._variables[name])

    def _measure_batches(self, images: Any, labels: Any) -> tuple[Any, Any]:
        prefix = "mean_" if self._settings.ema_decay else ""
        vectors = [self._variables[prefix + name] for name in Vectors._fields]
        values = Vectors(*(vector.read_value() for vector in vectors))
        mirrors = self._settings.mirror_views
        return measurement.add_up(self._network, values, images, labels, mirrors=mirrors)
