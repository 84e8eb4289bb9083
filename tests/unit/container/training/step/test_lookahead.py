"""Lookahead, against its rule in NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from container.training.settings import Settings
from container.training.step.lookahead import Lookahead


def test_weights_return_to_the_slow_copy_every_few_steps_and_at_the_end() -> None:
    settings = dataclasses.replace(Settings(), lookahead_steps=4)
    weights, statistics = tf.Variable([1.0, 2.0]), tf.Variable([5.0])
    total = 10
    rule = Lookahead(settings, total, weights, statistics)
    apply = tf.function(rule.apply, autograph=False)
    fast, slow = np.array([1.0, 2.0]), np.array([1.0, 2.0])
    for step in range(total):
        weights.assign_add([1.0, -3.0])
        fast += [1.0, -3.0]
        apply(tf.constant(step))
        done = step + 1
        if done % 4 == 0 or done == total:
            kept = 1.0 if done == total else 0.95**5 * (done / total) ** 3
            slow = kept * slow + (1 - kept) * fast
            fast = slow.copy()
        assert np.allclose(weights.numpy(), fast, atol=1e-5)
        assert np.allclose(rule.slow["slow_weights"].numpy(), slow, atol=1e-5)
    assert statistics.numpy().tolist() == [5.0]
