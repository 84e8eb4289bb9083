"""Lookahead: a slow copy of the weights, to which they return every few steps.

Source: Zhang et al., Lookahead Optimizer, 2019; with the strength of arXiv:2404.00498, section 3.3,
which grows from nothing at the first step to three quarters at the last one.
"""

from typing import Any, Final

import tensorflow as tf

from container.training.settings import Settings

_LAST_KEPT: Final = 0.95**5


class Lookahead:
    """The slow copies of weights and statistics: `slow`, variables by name."""

    def __init__(self, settings: Settings, total_steps: int, weights: Any, statistics: Any) -> None:
        """`weights` and `statistics` are the variables that the steps change."""
        self._period, self._total_steps = settings.lookahead_steps, total_steps
        self._fast = (weights, statistics)
        names = ("slow_weights", "slow_statistics")
        self.slow = {
            name: tf.Variable(fast.numpy()) for name, fast in zip(names, self._fast, strict=True)
        }

    def apply(self, step: Any) -> None:
        """Move weights and copy to one place if it is time; after the last step, to the copy.

        Steps are counted from 0.
        """
        done = step + 1
        is_last = done >= self._total_steps
        is_due = tf.logical_or(tf.equal(done % self._period, 0), is_last)
        kept = _LAST_KEPT * (tf.cast(done, tf.float32) / self._total_steps) ** 3
        kept = tf.where(is_last, 1.0, kept)

        def move() -> Any:
            for slow, fast in zip(self.slow.values(), self._fast, strict=True):
                value = kept * slow + (1 - kept) * fast
                slow.assign(value)
                fast.assign(value)
            return tf.constant(0)

        tf.cond(is_due, move, lambda: tf.constant(0))
