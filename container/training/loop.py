"""The inner loop: many training steps in one call of one compiled function.

All weights are one float32 vector, all gradients another, so an update rule, a decay or a running mean is one
operation for any network, and so is the sum over hosts. The images stay on the device as uint8; a step gathers its
batch by index, augments it, and cuts it into towers (see `device`). What a step does depends on the seed and the step's
number alone: no iterator holds state, so that a job can be resumed at any step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from container.dataset import LabelledImages, Stream
from container.errors import UserError
from container.training.augmentation import augment
from container.training.device import Device
from container.training.optimizer import Optimizer
from container.training.settings import Settings
from container.training.source import Source, iterate

_EVALUATION_IMAGES = 256

State = dict[str, npt.NDArray[Any]]
"""Arrays by name."""


class Loop:
    """A network in training: its variables, and the compiled functions that change and measure them."""

    def __init__(self, twin: keras.Model, data: LabelledImages | Stream, settings: Settings, device: Device) -> None:
        """`twin` ends in logits (`model.clone_for_training`) and gives the initial values."""
        self._twin, self._settings, self._device = twin, settings, device
        self.batch_size = settings.batch_size
        self.steps_per_epoch = len(data.labels) // settings.batch_size
        self._class_count = len(data.classes)
        self._class_weights = _weigh_classes(data) if settings.class_weights == "balanced" else None
        self._source = Source(data, settings.batch_size, settings.seed)

        self._roles = _assign_roles(twin)
        self._shapes = {role: [tuple(v.shape) for v in found] for role, found in self._roles.items()}
        self._weights = tf.Variable(_concatenate(self._roles["weight"]))
        self._statistics = tf.Variable(_concatenate(self._roles["statistic"]))
        self._optimizer = Optimizer(
            settings, self._shapes["weight"], self.steps_per_epoch * (settings.epochs or 1), host_count=1
        )
        self._variables = {
            "weights": self._weights,
            "statistics": self._statistics,
            **self._optimizer.slots,
        }
        if settings.ema_decay:
            self._variables["mean_weights"] = tf.Variable(self._weights)
            self._variables["mean_statistics"] = tf.Variable(self._statistics)

        step = self._do_step
        if device.xla:
            step = tf.function(step, autograph=False, jit_compile=True)
        self._step = step
        whole = tf.TensorSpec([], tf.int32)
        images = tf.TensorSpec([None, *twin.input_shape[1:]], tf.uint8)
        labels = tf.TensorSpec([None], tf.int32)
        sums = [tf.TensorSpec([], tf.float64), tf.TensorSpec([], tf.int64)]
        self._run = tf.function(
            self._run_steps, autograph=False, input_signature=[images, labels, labels, whole, whole, whole, *sums]
        )
        self._measure = tf.function(self._measure_batches, autograph=False, input_signature=[images, labels])

    def run(self, epoch: int, start: int, count: int, sums: tuple[float, int]) -> tuple[int, tuple[float, int]]:
        """Do up to `count` steps of an epoch from `start` on; `sums` are those of the epoch's steps so far.

        Returns: how many steps were done, fewer where a block of images ends; and the sum of the epoch's mean losses
        and number of images that its steps classified rightly, which are handed on and so are the same bits wherever
        an epoch is cut.

        Raises: UserError that names the first step whose loss was not finite.
        """
        first = epoch * self.steps_per_epoch + start
        block = self._source.find_block(first)
        end = min(first + count, block.end_step)
        loss, correct, bad = self._run(block.images, block.labels, block.order, block.first_step, first, end, *sums)
        if int(bad) >= 0:
            message = (
                f"the loss is not finite in step {int(bad) - first + start + 1} of epoch {epoch + 1}: "
                f"learning_rate={self._settings.learning_rate:g} is too high for this data, most likely"
            )
            raise UserError(message)
        return end - first, (float(loss), int(correct))

    def measure(self, data: LabelledImages | Stream) -> tuple[float, float]:
        """Give mean loss (without label smoothing) and accuracy, on `data`, of what would be saved now."""
        loss, correct = 0.0, 0
        for part in iterate(data):
            part_loss, part_correct = self._measure(tf.constant(part.images), tf.constant(part.labels))
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

    def _run_steps(  # noqa: PLR0913, PLR0917 - the signature of a compiled function
        self, images: Any, labels: Any, order: Any, block_step: Any, first: Any, end: Any, loss: Any, correct: Any
    ) -> tuple[Any, Any, Any]:
        def body(step: Any, loss: Any, correct: Any, bad: Any) -> tuple[Any, ...]:
            at = (step - block_step) * self.batch_size
            batch = tf.ensure_shape(order[at : at + self.batch_size], [self.batch_size])
            step_loss, step_correct = self._step(tf.gather(images, batch), tf.gather(labels, batch), step)
            bad = tf.where(tf.math.is_finite(step_loss), bad, step)
            return step + 1, loss + tf.cast(step_loss, tf.float64), correct + tf.cast(step_correct, tf.int64), bad

        def go_on(step: Any, _loss: Any, _correct: Any, bad: Any) -> Any:
            return tf.logical_and(step < end, bad < 0)

        loop = [first, loss, correct, tf.constant(-1)]
        _, loss, correct, bad = tf.while_loop(go_on, body, loop, parallel_iterations=1)
        return loss, correct, bad

    def _do_step(self, images: Any, labels: Any, step: Any) -> tuple[Any, Any]:
        """Do one step; give its mean loss and the number of images that were classified rightly."""
        size = self.batch_size
        smoothing = self._settings.label_smoothing
        targets = tf.one_hot(labels, self._class_count) * (1 - smoothing) + smoothing / self._class_count
        images, targets = augment(images, targets, self._settings, step, (0, size))
        if self._class_weights is not None:
            targets *= tf.gather(self._class_weights, labels)[:, None]
        weights = _split(self._weights.read_value(), self._shapes["weight"])
        statistics = _split(self._statistics.read_value(), self._shapes["statistic"])
        towers = self._device.towers
        bounds = [size * tower // towers for tower in range(towers + 1)]
        gradients, losses, corrects, new_statistics = [], [], [], []
        for tower, (low, high) in enumerate(itertools.pairwise(bounds)):
            others = self._fill_roles(statistics, step * towers + tower)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(weights)
                logits, state = self._twin.stateless_call(weights, others, images[low:high], training=True)
                logits = tf.cast(logits, tf.float32)
                loss = tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(targets[low:high], logits)) / size
            # What is told is comparable with the loss on other images: no smoothing, weights or blending.
            told = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[low:high], logits)
            gradients.append(_flatten(tape.gradient(loss, weights, unconnected_gradients="zero")))
            new_statistics.append(_flatten(self._pick_statistics(state)) * ((high - low) / size))
            losses.append(tf.reduce_sum(told) / size)
            corrects.append(_count_correct(logits, labels[low:high]))
        self._optimizer.apply(self._weights, tf.add_n(gradients), step)
        self._statistics.assign(tf.add_n(new_statistics))
        self._update_means(step)
        return tf.add_n(losses), tf.add_n(corrects)

    def _update_means(self, step: Any) -> None:
        if not self._settings.ema_decay:
            return
        done = tf.cast(step, tf.float32)
        decay = tf.minimum(self._settings.ema_decay, (1 + done) / (10 + done))  # the first steps are forgotten sooner
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
        return [value for variable, value in zip(variables, state, strict=True) if _is_statistic(variable)]

    def _measure_batches(self, images: Any, labels: Any) -> tuple[Any, Any]:
        prefix = "mean_" if self._settings.ema_decay else ""
        weights = _split(self._variables[f"{prefix}weights"].read_value(), self._shapes["weight"])
        statistics = _split(self._variables[f"{prefix}statistics"].read_value(), self._shapes["statistic"])
        others = self._fill_roles(statistics, tf.constant(0))
        count = tf.shape(labels)[0]

        def body(i: Any, loss: Any, correct: Any) -> tuple[Any, Any, Any]:
            end = tf.minimum(i + _EVALUATION_IMAGES, count)
            logits, _ = self._twin.stateless_call(weights, others, images[i:end], training=False)
            logits = tf.cast(logits, tf.float32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[i:end], logits)
            return end, loss + tf.reduce_sum(losses), correct + _count_correct(logits, labels[i:end])

        start = [tf.constant(0), tf.constant(0.0), tf.constant(0)]
        _, loss, correct = tf.while_loop(lambda i, *_: i < count, body, start, parallel_iterations=1)
        return loss, correct


def _is_generator(variable: Any) -> bool:
    """Tell whether a variable is the state of a random generator, as dropout has one."""
    return bool(variable.name == "seed_generator_state")


def _is_statistic(variable: Any) -> bool:
    """Tell whether a variable is a running mean or variance, which steps change."""
    return bool(variable.name in ("moving_mean", "moving_variance"))


def _assign_roles(network: keras.Model) -> dict[str, list[Any]]:
    return {
        "weight": list(network.trainable_variables),
        "statistic": [variable for variable in network.non_trainable_variables if _is_statistic(variable)],
    }


def _weigh_classes(data: LabelledImages | Stream) -> Any:
    """Give weights `[class] float32` with which every class counts the same, and the mean image counts 1."""
    counts = np.bincount(data.labels, minlength=len(data.classes))
    return tf.constant(len(data.labels) / (len(data.classes) * np.maximum(counts, 1)), tf.float32)


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
    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels), tf.int32))
