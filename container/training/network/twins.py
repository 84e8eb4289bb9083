"""The twin of a network: the same function and variables, in layers that train faster."""

from typing import Any

import keras
import tensorflow as tf

from container.training.network.convolution import Convolution, DepthwiseConvolution
from container.training.network.networks import LOGITS


def clone_for_training(model: keras.Model, precision: str) -> keras.Model:
    """Clone `model` up to its logits, in another precision and in layers that train faster.

    The variables of the clone have the order, shapes and values of those of the model, but for the
    means of the batch normalizations that follow a dropped bias (see `list_dropped_biases`).
    """
    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    replacements: dict[type, Any] = {
        keras.layers.BatchNormalization: _FusedBatchNormalization,
        keras.layers.Conv2D: Convolution,
        keras.layers.DepthwiseConv2D: DepthwiseConvolution,
    }

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, keras.layers.Layer) and not isinstance(layer, keras.layers.InputLayer):
            config["dtype"] = policy  # the others are operations, which keep the dtype of inputs
        kind = replacements.get(type(layer), type(layer))
        return kind.from_config(config)

    trunk = keras.Model(model.input, model.get_layer(LOGITS).output, name=model.name)
    twin = keras.models.clone_model(trunk, clone_function=clone)
    twin.set_weights(trunk.get_weights())
    for layer in list_convolutions(twin):
        layer.way = layer.ways[0]
    for convolution, normalization in _find_needless_biases(twin):
        convolution.drops_bias = True
        normalization.moving_mean.assign_sub(convolution.bias)
    return twin


def list_convolutions(twin: keras.Model) -> list[Any]:
    """List the layers of a twin that can be computed in several ways."""
    kinds = (Convolution, DepthwiseConvolution)
    return [layer for layer in twin.layers if isinstance(layer, kinds)]


def list_dropped_biases(twin: keras.Model) -> list[tuple[str, str]]:
    """List the layers whose bias the twin drops, each with its batch normalization.

    The twin's normalization subtracts a mean without the bias, the network's one with it.
    """
    return [
        (convolution.name, normalization.name)
        for convolution, normalization in _find_needless_biases(twin)
        if convolution.drops_bias
    ]


def _find_needless_biases(twin: keras.Model) -> list[tuple[Any, Any]]:
    """Find convolutions with a bias that only a batch normalization follows, which undoes it."""
    found = []
    for layer in twin.layers:
        if not isinstance(layer, Convolution) or not layer.use_bias:
            continue
        nodes = layer._outbound_nodes  # noqa: SLF001 - Keras has no public graph
        followers = {id(node.operation): node.operation for node in nodes}
        if layer.activation is not keras.activations.linear or len(followers) != 1:
            continue
        [follower] = followers.values()
        is_own = isinstance(follower, _FusedBatchNormalization) and follower.axis in (-1, 3)
        # A frozen normalization does not follow a bias that changes.
        if is_own and (follower.trainable or not layer.trainable):
            found.append((layer, follower))
    return found


class _FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalization of images in one fused kernel, with float32 statistics."""

    def call(
        self,
        inputs: Any,
        training: bool | None = None,  # noqa: FBT001 - Keras' signature
        mask: Any = None,
    ) -> Any:
        """Normalize; in training, by the mean and variance of the batch."""
        if self.axis not in (-1, 3) or len(inputs.shape) != 4 or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        train = bool(training) and self.trainable
        mean = tf.cast(tf.convert_to_tensor(self.moving_mean), tf.float32)
        variance = tf.cast(tf.convert_to_tensor(self.moving_variance), tf.float32)
        scale = tf.ones_like(mean)
        if self.scale:
            scale = tf.cast(tf.convert_to_tensor(self.gamma), tf.float32)
        offset = tf.zeros_like(mean)
        if self.center:
            offset = tf.cast(tf.convert_to_tensor(self.beta), tf.float32)
        given_mean, given_variance = mean, variance
        if train:  # the kernel computes its own
            given_mean = given_variance = tf.zeros(0)
        outputs = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, self.compute_dtype),
            scale=scale,
            offset=offset,
            mean=given_mean,
            variance=given_variance,
            epsilon=self.epsilon,
            is_training=train,
        )
        if train:
            # Keras' own rule, but for Bessel's correction in the variance of TensorFlow's kernel.
            keep = self.momentum
            self.moving_mean.assign(mean * keep + outputs.batch_mean * (1 - keep))
            self.moving_variance.assign(variance * keep + outputs.batch_variance * (1 - keep))
        return outputs.y
