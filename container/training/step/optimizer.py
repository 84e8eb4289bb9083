"""Update rules and learning-rate schedules on one vector of all weights, inside the graph."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from container.training.settings import Settings

_EPSILON = 1e-7
_FALLS = (0.5, 0.75)  # of all steps: the schedule `step` divides the rate by 10


class Optimizer:
    """An update rule and its state between steps: `slots`, variables `[weight] float32` by name."""

    def __init__(
        self,
        settings: Settings,
        shapes: Sequence[tuple[int, ...]],
        total_steps: int,
        host_count: int,
        rate_factors: Sequence[float] = (),
    ) -> None:
        """`shapes` are those of the variables of the layers, in their order in the vectors.

        `rate_factors` multiply the learning rate of each variable: 0 leaves it as it is for any
        update rule; only sgd follows the others.
        """
        self._settings = settings
        self._total_steps = float(total_steps)
        self._peak = settings.learning_rate * (host_count if settings.scale_learning_rate else 1)
        self._sizes = [math.prod(shape) for shape in shapes]
        names = ("momentum",) if settings.optimizer == "sgd" else ("first_moment", "second_moment")
        self.slots = {name: tf.Variable(tf.zeros([sum(self._sizes)])) for name in names}
        # Only kernels decay, which have two axes or more; biases and scales have one. Offsets with
        # a rate of their own do, too.
        factors = list(rate_factors) or [1.0] * len(shapes)
        decays = [
            float(factor not in (0, 1) or (factor == 1 and len(shape) > 1))
            for shape, factor in zip(shapes, factors, strict=True)
        ]
        self._decayed = tf.Variable(self._spread(decays), trainable=False)
        self._factors = None
        if set(factors) - {1.0}:
            self._factors = tf.Variable(self._spread(factors), trainable=False)

    def _spread(self, values: Sequence[float]) -> Any:
        """Return a vector `[weight]` with one value per variable."""
        return tf.repeat(tf.constant(values, tf.float32), self._sizes)

    def rate(self, step: Any) -> Any:
        """Return the learning rate `[] float32` of a step, counted from 0."""
        kind, total = self._settings.schedule, self._total_steps
        warm = max(1.0, self._settings.warmup_fraction * total)
        done = tf.cast(step, tf.float32)
        if kind == "linear":
            share = (total - done) / max(1.0, total - warm)
        elif kind == "cosine":
            cooled = tf.clip_by_value((done - warm) / max(1.0, total - warm), 0.0, 1.0)
            share = 0.5 + 0.5 * tf.cos(math.pi * cooled)
        elif kind == "step":
            share = tf.reduce_prod([tf.where(done >= fall * total, 0.1, 1.0) for fall in _FALLS])
        else:
            share = tf.ones([])
        return self._peak * tf.minimum((done + 1) / warm, share)

    def apply(self, weights: Any, gradient: Any, step: Any) -> None:
        """Update the variable `weights` by one step against `gradient`."""
        settings, rate = self._settings, self.rate(step)
        if settings.clip_norm:
            gradient *= tf.minimum(1.0, settings.clip_norm / (tf.norm(gradient) + _EPSILON))
        if self._factors is not None:
            gradient *= self._factors
        if settings.optimizer == "lamb":
            self._apply_lamb(weights, gradient, rate, step)
            return
        if settings.weight_decay:
            weights.assign_sub(rate * settings.weight_decay * self._decayed * weights)
        if settings.optimizer == "sgd":
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=weights.handle,
                accum=self.slots["momentum"].handle,
                lr=rate,
                grad=gradient,
                momentum=settings.momentum,
                use_nesterov=True,
            )
            return
        count = tf.cast(step + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=weights.handle,
            m=self.slots["first_moment"].handle,
            v=self.slots["second_moment"].handle,
            beta1_power=tf.pow(settings.beta_1, count),
            beta2_power=tf.pow(settings.beta_2, count),
            lr=rate,
            beta1=settings.beta_1,
            beta2=settings.beta_2,
            epsilon=_EPSILON,
            grad=gradient,
        )

    def _apply_lamb(self, weights: Any, gradient: Any, rate: Any, step: Any) -> None:
        """Move in Adam's direction, scaled layer by layer to the length of the layer's weights.

        Source: You et al., Large Batch Optimization for Deep Learning, 2020, algorithm 2.
        """
        settings, count = self._settings, tf.cast(step + 1, tf.float32)
        beta_1, beta_2 = settings.beta_1, settings.beta_2
        first, second = self.slots["first_moment"], self.slots["second_moment"]
        mean = first.assign(beta_1 * first + (1 - beta_1) * gradient)
        square = second.assign(beta_2 * second + (1 - beta_2) * tf.square(gradient))
        direction = mean / (1 - tf.pow(beta_1, count))
        direction /= tf.sqrt(square / (1 - tf.pow(beta_2, count))) + _EPSILON
        direction += settings.weight_decay * self._decayed * weights
        ratios = []
        layers = tf.split(weights.read_value(), self._sizes)
        for layer, part in zip(layers, tf.split(direction, self._sizes), strict=True):
            length, wanted = tf.norm(layer), tf.norm(part)
            ratios.append(tf.where((length > 0) & (wanted > 0), length / (wanted + _EPSILON), 1.0))
        weights.assign_sub(rate * tf.repeat(tf.stack(ratios), self._sizes) * direction)
