"""The inner loop: many training steps in one call of one compiled function.

All weights are one float32 vector, all gradients another, so an update rule, a decay or a running
mean is one operation for any network, and so is the sum over hosts. The images stay on the device
as uint8; a step gathers its batch by index, augments it, and cuts it into towers (see `device`).
What a step does depends on the seed and the step's number alone: no iterator holds state, so that a
job can be resumed at any step.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from container.data.loading import LabeledImages, Stream
from container.errors import UserError
from container.training.distributed.rendezvous import Hosts
from container.training.distributed.shares import Share, share_alone
from container.training.settings import Settings
from container.training.step.augmentation import augment
from container.training.step.device import Device
from container.training.step.optimizer import Optimizer
from container.training.step.source import Block, Source, iterate

_EVALUATION_IMAGES = 256
# float16 ends at 65504 and loses what is below 6e-8: gradients are scaled up as far as they do not
# overflow.
_FIRST_LOSS_SCALE = 2.0**15
_GROWTH_STEPS = 2000

State = dict[str, npt.NDArray[Any]]
"""Arrays by name."""


class Loop:
    """A network in training: its variables, and the compiled functions that change and measure them."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is another thing
        self,
        twin: keras.Model,
        data: LabeledImages | Stream,
        settings: Settings,
        device: Device,
        share: Share | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        """`twin` ends in logits (`model.clone_for_training`) and gives the initial values; `data` are this host's."""
        share = share or share_alone(data, settings.batch_size)
        self._twin, self._settings, self._device = twin, settings, device
        self._share, self._hosts = share, hosts
        self.batch_size = settings.batch_size
        self.steps_per_epoch = share.image_count // settings.batch_size
        self._part_size = share.high - share.low
        self.stalled_s = 0.0  # waited for images, since the loop was made
        self._class_count = len(data.classes)
        self._class_weights = (
            _weigh_classes(share) if settings.class_weights == "balanced" else None
        )
        if (
            not self._part_size
        ):  # nothing of a batch is this host's; it takes part in the sums all the same
            black = np.zeros((64, *twin.input_shape[1:]), np.uint8)
            data = LabeledImages(black, np.zeros(64, np.int32), data.classes)
        if share.sharded:
            self._source = Source(data, max(1, self._part_size), settings.seed)
        else:
            self._source = Source(
                data, settings.batch_size, settings.seed, slice(share.low, share.high)
            )

        self._roles = _assign_roles(twin)
        self._shapes = {
            role: [tuple(v.shape) for v in found] for role, found in self._roles.items()
        }
        self._weights = tf.Variable(_concatenate(self._roles["weight"]))
        self._statistics = tf.Variable(_concatenate(self._roles["statistic"]))
        self._optimizer = Optimizer(
            settings,
            self._shapes["weight"],
            self.steps_per_epoch * (settings.epochs or 1),
            hosts.count if hosts else 1,
        )
        self._variables = {
            "weights": self._weights,
            "statistics": self._statistics,
            **self._optimizer.slots,
        }
        if settings.ema_decay:
            self._variables["mean_weights"] = tf.Variable(self._weights)
            self._variables["mean_statistics"] = tf.Variable(self._statistics)

        if device.precision == "float16":
            self._variables["loss_scale"] = tf.Variable(
                [_FIRST_LOSS_SCALE, 0.0]
            )  # and steps since it was changed
        # What XLA compiles lies on one device.
        self._tower = _compile(self._run_tower) if device.xla and device.places else self._run_tower
        self._step = _compile(self._do_step) if device.xla and not device.places else self._do_step
        whole = tf.TensorSpec([], tf.int32)
        images = tf.TensorSpec([None, *twin.input_shape[1:]], tf.uint8)
        labels = tf.TensorSpec([None], tf.int32)
        sums = [tf.TensorSpec([], tf.float64), tf.TensorSpec([], tf.int64)]
        self._run = tf.function(
            self._run_steps,
            autograph=False,
            input_signature=[images, labels, labels, whole, whole, whole, *sums],
        )
        self._measure = tf.function(
            self._measure_batches, autograph=False, input_signature=[images, labels]
        )

    def run(self, epoch: int, start: int, count: int, sums: tuple[float, int]) -> tuple[float, int]:
        """Do `count` steps of an epoch from `start` on; `sums` are those of the epoch's steps so far.

        Several hosts must all have the images for them at hand (`count_available`).

        Returns: the sum of the epoch's mean losses and the number of images that its steps
        classified rightly, which are handed on and so are the same bits wherever an epoch is cut.

        Raises: UserError that names the first step whose loss was not finite.
        """
        first = step = epoch * self.steps_per_epoch + start
        while step < first + count:
            block = self._find_block(step)
            end = min(first + count, block.end_step)
            with self._hosts.watched() if self._hosts else contextlib.nullcontext():
                loss, correct, bad = self._run(
                    block.images, block.labels, block.order, block.first_step, step, end, *sums
                )
            if int(bad) >= 0:
                message = (
                    f"the loss is not finite in step {int(bad) - first + start + 1} of epoch {epoch + 1}: "
                    f"learning_rate={self._settings.learning_rate:g} is too high for this data, most likely"
                )
                raise UserError(message)
            step, sums = end, (float(loss), int(correct))
        return sums

    def count_available(self, epoch: int, start: int) -> int:
        """Count the steps from `start` on whose images are at hand, in the same block."""
        step = epoch * self.steps_per_epoch + start
        return self._find_block(step).end_step - step

    def measure(
        self, data: LabeledImages | Stream, is_stopped: Callable[[], bool] = bool
    ) -> tuple[float, float]:
        """Give mean loss (without label smoothing) and accuracy, on `data`, of what would be saved now.

        Both are NaN if `is_stopped` became true meanwhile.
        """
        loss, correct = 0.0, 0
        for part in iterate(data):
            if is_stopped():
                return math.nan, math.nan
            part_loss, part_correct = self._measure(
                tf.constant(part.images), tf.constant(part.labels)
            )
            loss, correct = loss + float(part_loss), correct + int(part_correct)
        return loss / len(data.labels), correct / len(data.labels)

    def learning_rate(self, epoch: int, step: int) -> float:
        """Rate of the step of an epoch, both counted from 0."""
        return float(self._optimizer.rate(epoch * self.steps_per_epoch + step))

    def state(self) -> State:
        """Copy all that the next step depends on."""
        return {name: variable.numpy() for name, variable in self._variables.items()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over a state of `state`, of a loop of the same network and settings."""
        for name, variable in self._variables.items():
            variable.assign(state[name])

    def result(self) -> State:
        """Copy what would be saved now: `weights` and `statistics`, or their running means."""
        prefix = "mean_" if self._settings.ema_decay else ""
        return {name: self._variables[prefix + name].numpy() for name in ("weights", "statistics")}

    def write_to(self, network: keras.Model, result: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write a `result` into the variables of the network that the twin was cloned from."""
        roles = _assign_roles(network)
        for name, role in (("weights", "weight"), ("statistics", "statistic")):
            values = _split(tf.constant(result[name]), self._shapes[role])
            for variable, value in zip(roles[role], values, strict=True):
                variable.assign(value)

    def _find_block(self, step: int) -> Block:
        started = time.monotonic()
        block = self._source.find_block(step)
        self.stalled_s += time.monotonic() - started
        return block

    def _run_steps(  # noqa: PLR0913, PLR0917 - the signature of a compiled function
        self,
        images: Any,
        labels: Any,
        order: Any,
        block_step: Any,
        first: Any,
        end: Any,
        loss: Any,
        correct: Any,
    ) -> tuple[Any, Any, Any]:
        def body(step: Any, loss: Any, correct: Any, bad: Any) -> tuple[Any, ...]:
            at = (step - block_step) * self._part_size
            batch = tf.ensure_shape(order[at : at + self._part_size], [self._part_size])
            step_loss, step_correct = self._step(
                tf.gather(images, batch), tf.gather(labels, batch), step
            )
            bad = tf.where(tf.math.is_finite(step_loss), bad, step)
            return (
                step + 1,
                loss + tf.cast(step_loss, tf.float64),
                correct + tf.cast(step_correct, tf.int64),
                bad,
            )

        def go_on(step: Any, _loss: Any, _correct: Any, bad: Any) -> Any:
            return tf.logical_and(step < end, bad < 0)

        loop = [first, loss, correct, tf.constant(-1)]
        _, loss, correct, bad = tf.while_loop(go_on, body, loop, parallel_iterations=1)
        return loss, correct, bad

    def _do_step(self, images: Any, labels: Any, step: Any) -> tuple[Any, Any]:
        """Do one step; give its mean loss and the number of images that were classified rightly."""
        smoothing = self._settings.label_smoothing
        targets = (
            tf.one_hot(labels, self._class_count) * (1 - smoothing) + smoothing / self._class_count
        )
        if self._class_weights is not None:
            targets *= tf.gather(self._class_weights, labels)[:, None]
        images, targets = augment(
            images, targets, self._settings, step, (self._share.low, self.batch_size)
        )
        weights = _split(self._weights.read_value(), self._shapes["weight"])
        statistics = _split(self._statistics.read_value(), self._shapes["statistic"])
        towers = min(self._device.towers, self._part_size)
        bounds = (
            [self._part_size * tower // towers for tower in range(towers + 1)] if towers else []
        )
        results = []
        for tower, (low, high) in enumerate(itertools.pairwise(bounds)):
            with tf.device(
                self._device.places[tower % len(self._device.places)]
                if self._device.places
                else None
            ):
                part = (images[low:high], targets[low:high], labels[low:high])
                results.append(self._tower(weights, statistics, *part, step, tower))
        sizes = [sum(map(math.prod, self._shapes[role])) for role in ("weight", "statistic")]
        total = tf.add_n(results) if results else tf.zeros([sum(sizes) + 2])
        if self._hosts:
            total = self._hosts.add(total)
        gradient, new_statistics, told = tf.split(total, [*sizes, 2])
        if "loss_scale" in self._variables:
            self._update_scaled(gradient, new_statistics, step)
        else:
            self._update(gradient, new_statistics, step)
        self._update_means(step)
        return told[0], tf.cast(tf.round(told[1]), tf.int32)

    def _update(self, gradient: Any, statistics: Any, step: Any) -> None:
        self._optimizer.apply(self._weights, gradient, step)
        self._statistics.assign(statistics)

    def _update_scaled(self, gradient: Any, statistics: Any, step: Any) -> None:
        """Update by a scaled gradient; one that overflowed is left out, and halves the scale."""
        variable = self._variables["loss_scale"]
        scale, steps = tf.unstack(variable.read_value())
        fits = tf.reduce_all(tf.math.is_finite(gradient)) & tf.reduce_all(
            tf.math.is_finite(statistics)
        )

        def update() -> Any:
            self._update(gradient / scale, statistics, step)
            grows = steps + 1 >= _GROWTH_STEPS
            return tf.where(grows, [2 * scale, 0.0], [scale, steps + 1])

        variable.assign(tf.cond(fits, update, lambda: tf.stack([tf.maximum(scale / 2, 1.0), 0.0])))

    def _run_tower(  # noqa: PLR0913, PLR0917 - one step's arguments
        self,
        weights: Sequence[Any],
        statistics: Sequence[Any],
        images: Any,
        targets: Any,
        labels: Any,
        step: Any,
        tower: int,
    ) -> Any:
        """Compute a tower's part of the step's sums: gradient, statistics, loss and images classified rightly."""
        share = images.shape[0] / self.batch_size
        draws = self._device.towers * (self._hosts.count if self._hosts else 1)
        draw = step * draws + self._device.towers * (self._hosts.rank if self._hosts else 0) + tower
        others = self._fill_roles(statistics, draw)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            logits, state = self._twin.stateless_call(weights, others, images, training=True)
            logits = tf.cast(logits, tf.float32)
            loss = (
                tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
                / self.batch_size
            )
            if "loss_scale" in self._variables:
                loss *= self._variables["loss_scale"][0]
        # What is told is comparable with the loss on other images: no smoothing, weights or
        # blending.
        told = (
            tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)) * share
        )
        gradient = tape.gradient(loss, weights, unconnected_gradients="zero")
        correct = tf.cast(_count_correct(logits, labels), tf.float32)
        parts = [
            _flatten(gradient),
            _flatten(self._pick_statistics(state)) * share,
            told[None],
            correct[None],
        ]
        return tf.concat(parts, axis=0)

    def _update_means(self, step: Any) -> None:
        if not self._settings.ema_decay:
            return
        done = tf.cast(step, tf.float32)
        decay = tf.minimum(
            self._settings.ema_decay, (1 + done) / (10 + done)
        )  # the first steps are forgotten sooner
        for name in ("weights", "statistics"):
            mean = self._variables[f"mean_{name}"]
            mean.assign(decay * mean + (1 - decay) * self._variables[name])

    def _fill_roles(self, statistics: Sequence[Any], draw: Any) -> list[Any]:
        """Give values for all variables of the twin that are no weights: statistics, states of generators, the rest."""
        rest = iter(statistics)
        generator = tf.stack([tf.constant(self._settings.seed, tf.int64), tf.cast(draw, tf.int64)])
        values = []
        for variable in self._twin.non_trainable_variables:
            if _is_generator(variable):
                values.append(tf.cast(generator, variable.dtype))
            else:
                values.append(next(rest) if _is_statistic(variable) else variable.value)
        return values

    def _pick_statistics(self, state: Sequence[Any]) -> list[Any]:
        variables = self._twin.non_trainable_variables
        return [
            value
            for variable, value in zip(variables, state, strict=True)
            if _is_statistic(variable)
        ]

    def _measure_batches(self, images: Any, labels: Any) -> tuple[Any, Any]:
        prefix = "mean_" if self._settings.ema_decay else ""
        weights = _split(self._variables[f"{prefix}weights"].read_value(), self._shapes["weight"])
        statistics = _split(
            self._variables[f"{prefix}statistics"].read_value(), self._shapes["statistic"]
        )
        others = self._fill_roles(statistics, tf.constant(0))
        count = tf.shape(labels)[0]

        def body(i: Any, loss: Any, correct: Any) -> tuple[Any, Any, Any]:
            end = tf.minimum(i + _EVALUATION_IMAGES, count)
            logits, _ = self._twin.stateless_call(weights, others, images[i:end], training=False)
            logits = tf.cast(logits, tf.float32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[i:end], logits)
            return (
                end,
                loss + tf.reduce_sum(losses),
                correct + _count_correct(logits, labels[i:end]),
            )

        start = [tf.constant(0), tf.constant(0.0), tf.constant(0)]
        _, loss, correct = tf.while_loop(
            lambda i, *_: i < count, body, start, parallel_iterations=1
        )
        return loss, correct


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let XLA compile a function."""
    compiled: Callable[..., Any] = tf.function(function, autograph=False, jit_compile=True)
    return compiled


def _is_generator(variable: Any) -> bool:
    """Tell whether a variable is the state of a random generator, as dropout has one."""
    return bool(variable.name == "seed_generator_state")


def _is_statistic(variable: Any) -> bool:
    """Tell whether a variable is a running mean or variance, which steps change."""
    return bool(variable.name in ("moving_mean", "moving_variance"))


def _assign_roles(network: keras.Model) -> dict[str, list[Any]]:
    return {
        "weight": list(network.trainable_variables),
        "statistic": [
            variable for variable in network.non_trainable_variables if _is_statistic(variable)
        ],
    }


def _weigh_classes(share: Share) -> Any:
    """Give weights `[class] float32` with which every class counts the same, and the mean image counts 1."""
    counts = share.class_counts
    return tf.constant(counts.sum() / (len(counts) * np.maximum(counts, 1)), tf.float32)


def _concatenate(variables: Sequence[Any]) -> npt.NDArray[np.float32]:
    values = [np.ravel(variable.value.numpy()).astype(np.float32) for variable in variables]
    return np.concatenate([*values, np.zeros(0, np.float32)])


def _split(vector: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Cut a vector into tensors of the shapes."""
    parts = tf.split(vector, [math.prod(shape) for shape in shapes]) if shapes else []
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def _flatten(tensors: Sequence[Any]) -> Any:
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors] or [tf.zeros(0)], axis=0)


def _count_correct(logits: Any, labels: Any) -> Any:
    return tf.reduce_sum(
        tf.cast(tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels), tf.int32)
    )
