"""The gradient of a batch, computed in towers: equal parts, side by side (see `device`)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from container.training.network import twins

# A network of this size is sent between replicas in parts, the last layers first: their gradients
# are ready while the others are computed.
_PACK_WEIGHTS = 6_000_000


class Batch(NamedTuple):
    """The images of one step, or of one tower."""

    images: Any
    """`[n, height, width, channel] uint8`."""
    targets: Any
    """`[n, class] float32`."""
    labels: Any
    """`[n] int32`."""


class Vectors(NamedTuple):
    """The variables of a network."""

    weights: Any
    """`[weight] float32`."""
    statistics: Any
    """`[statistic] float32`."""


class FlatNetwork:
    """A network as a function of two vectors: its weights, and its normalization statistics."""

    def __init__(self, twin: keras.Model, seed: int) -> None:
        """`twin` ends in logits (`twins.clone_for_training`); its variables are only read."""
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
        for name, normalization in twins.list_dropped_biases(self._twin):
            bias = network.get_layer(name).bias
            network.get_layer(normalization).moving_mean.assign_add(bias)


class Towers:
    """Computes the sums of a replica's part of a batch."""

    def __init__(
        self, network: FlatNetwork, count: int, batch_size: int, *, shared: bool, xla: bool
    ) -> None:
        """`batch_size` counts the images of all replicas; `shared`: there are several of them.

        With `xla` each tower is compiled.
        """
        self._network, self._count, self._batch_size = network, count, batch_size
        self._packs = [slice(0, None)]
        if shared:
            self._packs = _pack([math.prod(shape) for shape in network.weight_shapes])
        self._run = compile_by_xla(self._run_tower) if xla else self._run_tower

    def add_up(self, vectors: Vectors, batch: Batch, first_draw: Any, scale: Any) -> list[Any]:
        """Return vectors that are to be summed over all replicas; `join` reads their sums.

        The loss is multiplied by `scale`, if it is not None, before it is differentiated. Random
        draws are numbered from `first_draw` on, one per tower.
        """
        count = batch.images.shape[0]
        towers = min(self._count, count)
        variables = self._network.split(vectors.weights, vectors.statistics)
        sums = []
        for tower in range(towers):
            low, high = count * tower // towers, count * (tower + 1) // towers
            part = Batch(*(tensor[low:high] for tensor in batch))
            sums.append(self._run(variables, part, first_draw + tower, scale))
        if not sums:
            return self._make_zeros()
        return [tf.add_n(parts) for parts in zip(*sums, strict=True)]

    def join(self, sums: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Return gradient `[weight]`, statistics `[statistic]`, and loss and correct images `[2]`.

        `sums` are the vectors of `add_up`, summed over all replicas.
        """
        *later, first = sums
        sizes = [len(self._network.statistics), 2]
        gradient, statistics, reported = tf.split(first, [first.shape[0] - sum(sizes), *sizes])
        return tf.concat([gradient, *reversed(later)], 0), statistics, reported

    def _make_zeros(self) -> list[Any]:
        """Make the vectors of a replica without images."""
        shapes = self._network.weight_shapes
        sizes = [sum(math.prod(shape) for shape in shapes[pack]) for pack in self._packs]
        sizes[-1] += len(self._network.statistics) + 2
        return [tf.zeros([size]) for size in sizes]

    def _run_tower(
        self, variables: tuple[list[Any], list[Any]], part: Batch, draw: Any, scale: Any
    ) -> list[Any]:
        weights, statistics = variables
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
        packs = [_flatten(gradient[pack]) for pack in self._packs]
        packs[-1] = tf.concat([packs[-1], changed * share, reported[None], correct[None]], 0)
        return packs


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


def _pack(sizes: Sequence[int]) -> list[slice]:
    """Cut variables of these sizes into packs, the last variables first."""
    packs, end, size = [], len(sizes), 0
    for start in range(len(sizes) - 1, -1, -1):
        size += sizes[start]
        if size >= _PACK_WEIGHTS and start:
            packs.append(slice(start, end))
            end, size = start, 0
    return [*packs, slice(0, end)]
