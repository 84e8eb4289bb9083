"""Loss and accuracy of a network on many images, inside the graph."""

from typing import Any

import tensorflow as tf

from container.training.step.towers import FlatNetwork, Vectors, count_correct

_BATCH_IMAGES = 256


def add_up(
    network: FlatNetwork, vectors: Vectors, images: Any, labels: Any, *, mirrors: bool = False
) -> tuple[Any, Any]:
    """Return the sum of the losses, without label smoothing, and the number of correct images.

    `images` are `[n, height, width, channel] uint8`, `labels` `[n] int32`. With `mirrors`, logits
    are the mean of those of an image and of its mirror image.
    """
    weights, statistics = network.split(vectors.weights, vectors.statistics)
    count = tf.shape(labels)[0]

    def body(i: Any, loss: Any, correct: Any) -> tuple[Any, Any, Any]:
        end = tf.minimum(i + _BATCH_IMAGES, count)
        logits, _ = network.call(weights, statistics, images[i:end])
        if mirrors:
            mirrored, _ = network.call(weights, statistics, tf.reverse(images[i:end], [2]))
            logits = (logits + mirrored) / 2
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[i:end], logits)
        loss += tf.reduce_sum(losses)
        correct += count_correct(logits, labels[i:end])
        return end, loss, correct

    start = [tf.constant(0), tf.constant(0.0), tf.constant(0)]
    _, loss, correct = tf.while_loop(lambda i, *_: i < count, body, start, parallel_iterations=1)
    return loss, correct
