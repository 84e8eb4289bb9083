"""The inner loop: many training steps in one call of one compiled function.

All weights are one float32 vector, all gradients another, so an optimiser, a decay or an average is one operation
for any network, and so is a sum over hosts. The images stay on the device as uint8; a step gathers its batch by
index, augments it, and cuts it into towers (see `device`). What a step does depends on the seed and the step's number
alone: no iterator holds state, so a job can be resumed at any step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from container.dataset import LabelledImages
from container.errors import UserError
from container.training.device import Device
from container.training.settings import Settings

_EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Progress:
    """What one call of the inner loop did."""

    loss: float
    """Sum of the steps' mean losses."""
    correct: int
    """Training images classified rightly, as seen during the steps."""


class Vector:
    """Variables of a Keras model as one float32 vector, in the order of `variables`."""

    def __init__(self, variables: Sequence[Any]) -> None:
        """Take the variables' present values."""
        self.shapes = [tuple(variable.shape) for variable in variables]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        values = [np.ravel(variable.value.numpy()).astype(np.float32) for variable in variables]
        self.variable = tf.Variable(np.concatenate([*values, np.zeros(0, np.float32)]))

    def split(self, vector: Any) -> list[Any]:
        """Cut a vector into tensors of the variables' shapes."""
        parts = tf.split(vector, self.sizes) if self.sizes else []
        return [tf.reshape(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def assign_to(self, variables: Sequence[Any]) -> None:
        """Write the vector's values into the variables."""
        for variable, value in zip(variables, self.split(self.variable), strict=True):
            variable.assign(value)


class Loop:
    """A network in training: its variables, and the compiled functions that change and measure them."""

    def __init__(self, twin: keras.Model, data: LabelledImages, settings: Settings, device: Device) -> None:
        """`twin` ends in logits (`model.clone_for_training`) and gives the initial values."""
        self._twin, self._settings, self._device = twin, settings, device
        self._order: tuple[int, Any] | None = None
        self._image_shape = data.images.shape[1:]
        self._class_count = len(data.classes)
        self.batch_size = settings.batch_size
        self.steps_per_epoch = len(data.labels) // settings.batch_size
        self._total_steps = self.steps_per_epoch * (settings.epochs or 1)
        self._images, self._labels = tf.constant(data.images), tf.constant(data.labels)
        self.weights = Vector(twin.trainable_variables)
        self.statistics = Vector(twin.non_trainable_variables)
        self._first_moment = tf.Variable(tf.zeros_like(self.weights.variable))
        self._second_moment = tf.Variable(tf.zeros_like(self.weights.variable))
        kernels = [np.full(math.prod(shape), float(len(shape) > 1), np.float32) for shape in self.weights.shapes]
        self._decayed = tf.constant(np.concatenate(kernels))
        scalar = tf.TensorSpec([], tf.int32)
        self._run = tf.function(
            self._run_steps, autograph=False, input_signature=[tf.TensorSpec([None], tf.int32), scalar, scalar, scalar]
        )
        self._measure = tf.function(self._measure_batches, autograph=False, reduce_retracing=True)

    def run(self, epoch: int, start: int, count: int) -> Progress:
        """Do steps `start` to `start + count` of an epoch.

        Raises: UserError that names the first step whose loss was not finite.
        """
        first = epoch * self.steps_per_epoch
        loss, correct, bad = self._run(self._shuffle(epoch), first, start, count)
        if int(bad) >= 0:
            message = (
                f"the loss is not finite in step {int(bad) - first + 1} of epoch {epoch + 1}: "
                f"learning_rate={self._settings.learning_rate:g} is too high for this data, most likely"
            )
            raise UserError(message)
        return Progress(float(loss), int(correct))

    def measure(self, data: LabelledImages) -> tuple[float, float]:
        """Give mean loss (without label smoothing) and accuracy of the current network on `data`."""
        loss, correct = self._measure(tf.constant(data.images), tf.constant(data.labels))
        return float(loss) / len(data.labels), int(correct) / len(data.labels)

    def learning_rate(self, epoch: int, step: int) -> float:
        """Rate of the step of an epoch, both counted from 0."""
        return float(self._schedule(epoch * self.steps_per_epoch + step))

    def _schedule(self, step: Any) -> Any:
        """Give the rate of a step: it rises linearly over the warm-up, then falls linearly to 0."""
        total = float(self._total_steps)
        warm = max(1.0, self._settings.warmup_fraction * total)
        done = tf.cast(step, tf.float32)
        return self._settings.learning_rate * tf.minimum((done + 1) / warm, (total - done) / max(1.0, total - warm))

    def _shuffle(self, epoch: int) -> Any:
        """Give the order of the images in an epoch: the same for the same seed and epoch on any machine."""
        if self._order is None or self._order[0] != epoch:
            order = np.random.default_rng([self._settings.seed, epoch]).permutation(len(self._labels))
            self._order = epoch, tf.constant(order.astype(np.int32))
        return self._order[1]

    def _run_steps(self, order: Any, epoch_step: Any, start: Any, count: Any) -> tuple[Any, Any, Any]:
        def body(i: Any, loss: Any, correct: Any, bad: Any) -> tuple[Any, ...]:
            step = epoch_step + i
            step_loss, step_correct = self._do_step(order, i, step)
            bad = tf.where(tf.math.is_finite(step_loss), bad, step)
            return i + 1, loss + step_loss, correct + step_correct, bad

        def go_on(i: Any, _loss: Any, _correct: Any, bad: Any) -> Any:
            return tf.logical_and(i < start + count, bad < 0)

        _, loss, correct, bad = tf.while_loop(
            go_on, body, [start, tf.constant(0.0), tf.constant(0), tf.constant(-1)], parallel_iterations=1
        )
        return loss, correct, bad

    def _do_step(self, order: Any, i: Any, step: Any) -> tuple[Any, Any]:
        """Do one step; give its mean loss and the number of images that were classified rightly."""
        size = self.batch_size
        batch = tf.ensure_shape(order[i * size : (i + 1) * size], [size])
        images = self._augment(tf.gather(self._images, batch), step)
        labels = tf.gather(self._labels, batch)
        targets = self._smooth(labels)
        weights = self.weights.split(self.weights.variable.read_value())
        statistics = self.statistics.split(self.statistics.variable.read_value())
        bounds = [size * tower // self._device.towers for tower in range(self._device.towers + 1)]
        gradients, losses, corrects, new_statistics = [], [], [], []
        for low, high in itertools.pairwise(bounds):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(weights)
                logits, state = self._twin.stateless_call(weights, statistics, images[low:high], training=True)
                logits = tf.cast(logits, tf.float32)
                loss = tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(targets[low:high], logits)) / size
            gradients.append(_flatten(tape.gradient(loss, weights, unconnected_gradients="zero")))
            new_statistics.append(_flatten(state) * ((high - low) / size))
            losses.append(loss)
            corrects.append(_count_correct(logits, labels[low:high]))
        self._update(tf.add_n(gradients), step)
        self.statistics.variable.assign(tf.add_n(new_statistics))
        return tf.add_n(losses), tf.add_n(corrects)

    def _smooth(self, labels: Any) -> Any:
        """Give target probabilities `[image, class]`, a share of each spread over all classes."""
        smoothing = self._settings.label_smoothing
        return tf.one_hot(labels, self._class_count) * (1 - smoothing) + smoothing / self._class_count

    def _augment(self, images: Any, step: Any) -> Any:
        """Shift the whole batch by up to `shift_pixels` each way; what moves in is black."""
        reach = min(self._settings.shift_pixels, *(side // 4 for side in self._image_shape[:2]))
        if not reach:
            return images
        offset = tf.random.stateless_uniform([2], [self._settings.seed, step], 0, 2 * reach + 1, tf.int32)
        padded = tf.pad(images, [[0, 0], [reach, reach], [reach, reach], [0, 0]])
        return tf.slice(padded, [0, offset[0], offset[1], 0], images.shape)

    def _update(self, gradient: Any, step: Any) -> None:
        """Adam with decoupled decay of the kernels."""
        weights = self.weights.variable
        rate = self._schedule(step)
        if self._settings.weight_decay:
            weights.assign_sub(rate * self._settings.weight_decay * self._decayed * weights)
        count = tf.cast(step + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=weights.handle,
            m=self._first_moment.handle,
            v=self._second_moment.handle,
            beta1_power=tf.pow(0.9, count),
            beta2_power=tf.pow(0.99, count),
            lr=rate,
            beta1=0.9,
            beta2=0.99,
            epsilon=1e-7,
            grad=gradient,
        )

    def _measure_batches(self, images: Any, labels: Any) -> tuple[Any, Any]:
        weights = self.weights.split(self.weights.variable.read_value())
        statistics = self.statistics.split(self.statistics.variable.read_value())
        count = tf.shape(labels)[0]

        def body(i: Any, loss: Any, correct: Any) -> tuple[Any, Any, Any]:
            end = tf.minimum(i + _EVALUATION_BATCH, count)
            logits, _ = self._twin.stateless_call(weights, statistics, images[i:end], training=False)
            logits = tf.cast(logits, tf.float32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[i:end], logits)
            return end, loss + tf.reduce_sum(losses), correct + _count_correct(logits, labels[i:end])

        start = [tf.constant(0), tf.constant(0.0), tf.constant(0)]
        _, loss, correct = tf.while_loop(lambda i, *_: i < count, body, start, parallel_iterations=1)
        return loss, correct


def _flatten(tensors: Sequence[Any]) -> Any:
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors] or [tf.zeros(0)], axis=0)


def _count_correct(logits: Any, labels: Any) -> Any:
    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels), tf.int32))
