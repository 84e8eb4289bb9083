"""The gradient of a batch, computed in towers: equal parts, side by side (see `device`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from container.training.distributed.rendezvous import Hosts
from container.training.step.device import Device


class Batch(NamedTuple):
    """The images of one step, or of one tower."""

    images: Any
    """`[n, height, width, channel] uint8`."""
    targets: Any
    """`[n, class] float32`."""
    labels: Any
    """`[n] int32`."""


class FlatNetwork:
    """A network as a function of two vectors: its weights, and its normalization statistics."""

    def __init__(self, twin: keras.Model, seed: int) -> None:
        """`twin` ends in logits (`networks.clone_for_training`); its variables are only read."""
        self._twin, self._seed = twin, seed
        self.weights = _concatenate(_list_weights(twin))
        """Initial values `[weight] float32`."""
        self.statistics = _concatenate(_list_statistics(twin))
        """Initial values `[statistic] float32`."""
        self.weight_shapes = [tuple(variable.shape) for variable in _list_weights(twin)]
        self._statistic_shapes = [tuple(variable.shape) for variable in _list_statistics(twin)]

    def split(self, weights: Any, statistics: Any) -> tuple[list[Any], list[Any]]:
        """Cut the vectors into one tensor per variable."""
        return _split(weights, self.weight_shapes), _split(statistics, self._statistic_shapes)

    def call(
        self, weights: Sequence[Any], statistics: Sequence[Any], images: Any, draw: Any = None
    ) -> tuple[Any, Any]:
        """Return logits `[n, class] float32` and new statistics `[statistic]`.

        `draw` numbers the random draws of a training step; without it the network is only measured.
        """
        seed = tf.constant(self._seed, tf.int64)
        number = tf.cast(0 if draw is None else draw, tf.int64)
        others = self._fill(statistics, tf.stack([seed, number]))
        is_training = draw is not None
        logits, state = self._twin.stateless_call(weights, others, images, training=is_training)
        variables = self._twin.non_trainable_variables
        pairs = zip(variables, state, strict=True)
        changed = _flatten([value for variable, value in pairs if _is_statistic(variable)])
        return tf.cast(logits, tf.float32), changed

    def _fill(self, statistics: Sequence[Any], generator: Any) -> list[Any]:
        """Return values of all non-trainable variables: statistics, random generators, the rest."""
        remaining = iter(statistics)
        values = []
        for variable in self._twin.non_trainable_variables:
            if variable.name == "seed_generator_state":  # as dropout has one
                values.append(tf.cast(generator, variable.dtype))
            elif _is_statistic(variable):
                values.append(next(remaining))
            else:
                values.append(variable.value)
        return values

    def write_to(self, network: keras.Model, result: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the vectors `weights` and `statistics` into the network of this twin."""
        values = self.split(tf.constant(result["weights"]), tf.constant(result["statistics"]))
        variables = (_list_weights(network), _list_statistics(network))
        for targets, parts in zip(variables, values, strict=True):
            for variable, value in zip(targets, parts, strict=True):
                variable.assign(value)


class Towers:
    """Computes the sums of a batch."""

    def __init__(self, network: FlatNetwork, device: Device, hosts: Hosts, batch_size: int) -> None:
        """`batch_size` counts the images of all hosts."""
        self._network, self._device, self._batch_size = network, device, batch_size
        self._draws_per_step = device.towers * hosts.count
        self._first_draw = device.towers * hosts.rank
        # A function that XLA compiles runs on one device.
        self._run = self._run_tower
        if device.xla and device.places:
            self._run = compile_by_xla(self._run_tower)

    def add_up(self, weights: Any, statistics: Any, batch: Batch, step: Any, scale: Any) -> Any:
        """Return `[weight + statistic + 2]`: gradient, statistics, loss and correct images.

        The loss is multiplied by `scale`, if it is not None, before it is differentiated.
        """
        count = batch.images.shape[0]
        towers = min(self._device.towers, count)
        places = self._device.places or (None,)
        vectors = self._network.split(weights, statistics)
        sums = [tf.zeros([len(self._network.weights) + len(self._network.statistics) + 2])]
        if towers:
            sums = []
        for tower in range(towers):
            low, high = count * tower // towers, count * (tower + 1) // towers
            with tf.device(places[tower % len(places)]):
                part = Batch(*(tensor[low:high] for tensor in batch))
                draw = step * self._draws_per_step + self._first_draw + tower
                sums.append(self._run(vectors, part, draw, scale))
        return tf.add_n(sums)

    def _run_tower(
        self, vectors: tuple[list[Any], list[Any]], part: Batch, draw: Any, scale: Any
    ) -> Any:
        weights, statistics = vectors
        share = part.images.shape[0] / self._batch_size
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            logits, changed = self._network.call(weights, statistics, part.images, draw)
            losses = tf.nn.softmax_cross_entropy_with_logits(part.targets, logits)
            loss = tf.reduce_sum(losses) / self._batch_size
            if scale is not None:
                loss *= scale
        gradient = tape.gradient(loss, weights, unconnected_gradients="zero")
        # The reported loss excludes smoothing, weights and blending, as on validation images.
        plain = tf.nn.sparse_softmax_cross_entropy_with_logits(part.labels, logits)
        reported = tf.reduce_mean(plain) * share
        correct = tf.cast(count_correct(logits, part.labels), tf.float32)
        return tf.concat([_flatten(gradient), changed * share, reported[None], correct[None]], 0)


def compile_by_xla(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let XLA compile a function."""
    compiled: Callable[..., Any] = tf.function(function, autograph=False, jit_compile=True)
    return compiled


def count_correct(logits: Any, labels: Any) -> Any:
    """Count the images whose label has the highest logit."""
    predicted = tf.argmax(logits, axis=1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(tf.equal(predicted, labels), tf.int32))


def _is_statistic(variable: Any) -> bool:
    return variable.name in ("moving_mean", "moving_variance")


def _list_weights(network: keras.Model) -> list[Any]:
    return list(network.trainable_variables)


def _list_statistics(network: keras.Model) -> list[Any]:
    return [variable for variable in network.non_trainable_variables if _is_statistic(variable)]


def _concatenate(variables: Sequence[Any]) -> npt.NDArray[np.float32]:
    values = [np.ravel(variable.value.numpy()).astype(np.float32) for variable in variables]
    return np.concatenate([*values, np.zeros(0, np.float32)])


def _split(vector: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    parts = tf.split(vector, [math.prod(shape) for shape in shapes]) if shapes else []
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def _flatten(tensors: Sequence[Any]) -> Any:
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors] or [tf.zeros(0)], axis=0)
