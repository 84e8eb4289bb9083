"""The networks, as plain Keras models, and the twin of a network that trains fast.

A network takes `[batch, height, width, channel] uint8 0-255`, normalises inside its graph, and ends with the layers
`logits` (`[batch, class]`) and `probabilities` (softmax, float32); it loads with stock Keras.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

LOGITS = "logits"
PROBABILITIES = "probabilities"


def build_small_cnn(shape: tuple[int, int, int], class_count: int, mean: float, deviation: float) -> keras.Model:
    """Build the bundled CNN for images of `shape` = height, width, channels.

    `mean` and `deviation` are those of the training pixels, in units of 0-1. A strided 5x5 convolution, then 3x3
    ones of doubling width, each followed by 2x2 max pooling until the image is at most 4 pixels wide. Pooling comes
    before normalisation and ReLU, which then touch a quarter of the elements; widths are multiples of 16, the
    blocks in which oneDNN computes.
    """
    layers = keras.layers
    inputs = keras.Input(shape, dtype="uint8", name="images")
    x = layers.Rescaling(1 / (255 * deviation), -mean / deviation, name="normalise")(inputs)
    width = 16
    stride = 2 if min(shape[:2]) >= 24 else 1
    x = _convolve(x, width, 5, stride)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    while max(x.shape[1:3]) > 4 or width == 16:
        width = min(2 * width, 256)
        x = _convolve(x, width, 3, 1)
        x = layers.MaxPooling2D(tuple(min(2, side) for side in x.shape[1:3]))(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dense(class_count, kernel_initializer="he_normal", name=LOGITS)(layers.Flatten()(x))
    x = layers.Softmax(dtype="float32", name=PROBABILITIES)(x)
    return keras.Model(inputs, x, name="small_cnn")


def _convolve(x: Any, width: int, size: int, stride: int) -> Any:
    return keras.layers.Conv2D(width, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)


class _FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation of images in TensorFlow's one fused kernel; statistics stay float32 under bfloat16."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: FBT001 - Keras' signature
        """Normalise; in training, by the batch's own mean and variance."""
        if self.axis not in (-1, 3) or len(inputs.shape) != 4 or not (self.center and self.scale) or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        train = bool(training) and self.trainable
        f32 = [tf.cast(tf.convert_to_tensor(v), tf.float32) for v in (self.gamma, self.beta)]
        moving = [] if train else [tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance)]
        outputs = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, self.compute_dtype),
            scale=f32[0],
            offset=f32[1],
            mean=moving[0] if moving else tf.zeros(0),
            variance=moving[1] if moving else tf.zeros(0),
            epsilon=self.epsilon,
            is_training=train,
        )
        if train:
            for variable, batch in (
                (self.moving_mean, outputs.batch_mean),
                (self.moving_variance, outputs.batch_variance),
            ):
                variable.assign(variable * self.momentum + batch * (1 - self.momentum))
        return outputs.y


def clone_for_training(model: keras.Model, precision: str) -> keras.Model:
    """Clone `model` up to its logits, in `precision` (float32 or bfloat16), with fused batch normalisation.

    The clone's variables have the order and shapes of the model's own.
    """
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        cls = _FusedBatchNormalization if type(layer) is keras.layers.BatchNormalization else type(layer)
        if not isinstance(layer, keras.layers.InputLayer):
            config["dtype"] = policy
        return cls.from_config(config)

    trunk = keras.Model(model.inputs, model.get_layer(LOGITS).output, name=model.name)
    return keras.models.clone_model(trunk, clone_function=clone)
