"""Loss and accuracy of many images, with Keras as the oracle."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from container.training.network import networks, twins
from container.training.step import measurement
from container.training.step.towers import FlatNetwork, Vectors


@pytest.mark.parametrize("count", [1, 256, 300])
def test_sums_are_those_of_keras(count: int) -> None:
    keras.utils.set_random_seed(0)
    network = networks.build("small_cnn", (8, 8, 1), 4, (0.5, 0.3))
    flat = FlatNetwork(twins.clone_for_training(network, "float32"), 0)
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (count, 8, 8, 1)).astype(np.uint8)
    labels = chance.integers(0, 4, count).astype(np.int32)
    vectors = Vectors(tf.constant(flat.weights), tf.constant(flat.statistics))
    loss, correct = measurement.add_up(flat, vectors, tf.constant(images), tf.constant(labels))
    probabilities = network(images, training=False)
    losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    assert float(loss) == pytest.approx(float(np.sum(losses)), rel=1e-4)
    assert int(correct) == int((np.argmax(probabilities, axis=1) == labels).sum())
