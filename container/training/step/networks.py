"""The networks, as plain Keras models, and the twin of a network that trains fast.

A network takes `[batch, height, width, channel] uint8 0-255`, normalizes inside its graph, and ends
with the layers
`logits` (`[batch, class]`) and `probabilities` (softmax, float32); it loads with stock Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from container import artifact
from container.errors import UserError

LOGITS: Final = "logits"
PROBABILITIES: Final = "probabilities"
_RESNET_BLOCKS: Final = {"resnet20": 3, "resnet32": 5, "resnet56": 9}
_APPLICATIONS: Final = {
    "resnet50": "ResNet50",
    "mobilenet_v3_small": "MobileNetV3Small",
    "mobilenet_v3_large": "MobileNetV3Large",
    "efficientnet_b0": "EfficientNetB0",
    "convnext_tiny": "ConvNeXtTiny",
}
_APPLICATION_PIXELS: Final = 32  # the smallest side that keras.applications accept
_IMAGENET_MEAN: Final = (
    103.939,
    116.779,
    123.68,
)  # blue, green, red: what ResNet50's published weights expect
_WEIGHT_SUFFIXES: Final = (".keras", ".h5")


def build(
    name: str,
    shape: tuple[int, int, int],
    class_count: int,
    pixels: tuple[float, float],
    pretrained: Path | None = None,
) -> keras.Model:
    """Build a network for images of `shape` = height, width, channels.

    `pixels` are mean and standard deviation of the training pixels, in units of 0-1. `pretrained` is a directory with
    an artifact of this toolkit, or one `.keras` or `.h5` file, whose layers are taken over by name where they fit: the
    last layer of another set of classes does not, and starts anew.

    Raises: UserError if the images are too small for the network, or nothing of `pretrained` fits
    it.
    """
    inputs = keras.Input(shape, dtype="uint8", name="images")
    weights = None if pretrained is None else _find_weights(pretrained)
    if name in _APPLICATIONS:
        features = _build_application(name, inputs, weights)
    else:
        mean, deviation = pixels
        x = keras.layers.Rescaling(1 / (255 * deviation), -mean / deviation, name="normalize")(
            inputs
        )
        features = (
            _build_small_cnn(x) if name == "small_cnn" else _build_resnet(x, _RESNET_BLOCKS[name])
        )
    x = keras.layers.Dense(class_count, kernel_initializer="he_normal", name=LOGITS)(features)
    network = keras.Model(
        inputs, keras.layers.Softmax(dtype="float32", name=PROBABILITIES)(x), name=name
    )
    if weights is not None and weights.suffix == ".keras":
        _transfer(network, weights)
    return network


def freeze_trunk(network: keras.Model) -> None:
    """Leave the layer `logits` alone trainable."""
    for layer in network.layers:
        layer.trainable = layer.name == LOGITS


def clone_for_training(model: keras.Model, precision: str) -> keras.Model:
    """Clone `model` up to its logits, in `precision` (float32, bfloat16 or float16), with fused batch normalization.

    The clone's variables have the order, shapes and values of the model's own.
    """
    policy = "float32" if precision == "float32" else f"mixed_{precision}"

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        cls = (
            _FusedBatchNormalization
            if type(layer) is keras.layers.BatchNormalization
            else type(layer)
        )
        if isinstance(layer, keras.layers.Layer) and not isinstance(layer, keras.layers.InputLayer):
            config["dtype"] = policy  # the others are bare operations, which take what comes
        return cls.from_config(config)

    trunk = keras.Model(model.input, model.get_layer(LOGITS).output, name=model.name)
    twin = keras.models.clone_model(trunk, clone_function=clone)
    twin.set_weights(trunk.get_weights())
    return twin


def _build_small_cnn(x: Any) -> Any:
    """Add a strided 5x5 convolution, then 3x3 ones of doubling width with 2x2 pooling until 4 pixels are left.

    Pooling comes before normalization and ReLU, which then touch a quarter of the elements; widths
    are multiples of 16, the blocks in which oneDNN computes.
    """
    layers = keras.layers
    width, number = 16, 1
    x = _convolve(x, width, 5, 2 if min(x.shape[1:3]) >= 24 else 1, "conv1")
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, name="norm1")(x))
    while max(x.shape[1:3]) > 4 or width == 16:
        width, number = min(2 * width, 256), number + 1
        x = _convolve(x, width, 3, 1, f"conv{number}")
        x = layers.MaxPooling2D(tuple(min(2, side) for side in x.shape[1:3]))(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, name=f"norm{number}")(x))
    return layers.Flatten()(x)


def _build_resnet(x: Any, block_count: int) -> Any:
    """Add the residual network for small images: three stages of `block_count` blocks of two 3x3 convolutions.

    Source: He et al., Deep Residual Learning, 2015, section 4.2, with 1x1 projections where the
    shape changes.
    """
    layers = keras.layers

    def normalize(x: Any, name: str) -> Any:
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)

    x = layers.ReLU()(normalize(_convolve(x, 16, 3, 1, "stem"), "stem"))
    for stage, width in enumerate((16, 32, 64)):
        for block in range(block_count):
            name = f"stage{stage + 1}_block{block + 1}"
            stride = 2 if stage and not block else 1
            y = layers.ReLU()(
                normalize(_convolve(x, width, 3, stride, f"{name}_conv1"), f"{name}_conv1")
            )
            y = normalize(_convolve(y, width, 3, 1, f"{name}_conv2"), f"{name}_conv2")
            if stride == 2:
                x = normalize(_convolve(x, width, 1, stride, f"{name}_project"), f"{name}_project")
            x = layers.ReLU()(layers.Add()([x, y]))
    return layers.GlobalAveragePooling2D()(x)


def _build_application(name: str, inputs: Any, weights: Path | None) -> Any:
    """Build a trunk of keras.applications on uint8 images, grey or color, with the preprocessing that it expects."""
    height, width, depth = inputs.shape[1:]
    if min(height, width) < _APPLICATION_PIXELS or depth not in (1, 3):
        message = (
            f"model={name} needs images of at least {_APPLICATION_PIXELS}x{_APPLICATION_PIXELS} pixels and 1 or 3 "
            f"channels; these have {height}x{width}x{depth}"
        )
        raise UserError(message)
    x = keras.layers.Rescaling(1.0, name="cast")(inputs)
    if depth == 1:
        x = keras.layers.Concatenate(name="color")([x, x, x])
    if name == "resnet50":  # the others bring their own
        swap = keras.layers.Conv2D(3, 1, name="to_blue_green_red", trainable=False)
        x = swap(x)
        swap.set_weights(
            [
                np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3),
                -np.array(_IMAGENET_MEAN, np.float32),
            ]
        )
    make: Callable[..., keras.Model] = getattr(keras.applications, _APPLICATIONS[name])
    is_published = weights is not None and weights.suffix == ".h5"
    try:
        trunk = make(
            include_top=False,
            weights=str(weights) if is_published else None,
            input_tensor=x,
            pooling="avg",
        )
    except (ValueError, OSError) as error:
        message = (
            f"{weights} does not fit model={name} (weights without the top are expected): {error}"
        )
        raise UserError(message) from error
    return trunk.output


def _find_weights(directory: Path) -> Path:
    """Find the file with weights: the artifact's Keras model, or the only `.keras` or `.h5` file."""
    if (directory / artifact.MANIFEST_NAME).exists():
        return artifact.load(directory).keras
    found = sorted(
        path for path in directory.rglob("*") if path.suffix in _WEIGHT_SUFFIXES and path.is_file()
    )
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        message = f"{directory} must hold an artifact of this toolkit or one .keras or .h5 file; found {names}"
        raise UserError(message)
    return found[0]


def _transfer(network: keras.Model, path: Path) -> None:
    """Copy into `network` the weights of each layer that the model in `path` has by the same name and shapes.

    Raises: UserError if none fits, or the file is no Keras model.
    """
    try:
        source = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, TypeError) as error:
        message = f"{path} cannot be loaded as a Keras model: {error}"
        raise UserError(message) from error
    there = {layer.name: layer.get_weights() for layer in source.layers}
    fitting = []
    for layer in network.layers:
        own, found = layer.get_weights(), there.get(layer.name, [])
        if own and [array.shape for array in own] == [array.shape for array in found]:
            layer.set_weights(found)
            fitting.append(layer.name)
    if not set(fitting) - {LOGITS}:
        message = (
            f"no layer of the {source.name} in {path} fits model={network.name} for these images"
        )
        raise UserError(message)


def _convolve(x: Any, width: int, size: int, stride: int, name: str) -> Any:
    return keras.layers.Conv2D(
        width,
        size,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


class _FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalization of images in TensorFlow's one fused kernel; statistics stay float32 under bfloat16."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: FBT001 - Keras' signature
        """Normalize; in training, by the batch's own mean and variance."""
        if (
            self.axis not in (-1, 3)
            or len(inputs.shape) != 4
            or not (self.center and self.scale)
            or mask is not None
        ):
            return super().call(inputs, training=training, mask=mask)
        train = bool(training) and self.trainable
        scale, offset, mean, variance = (
            tf.cast(tf.convert_to_tensor(variable), tf.float32)
            for variable in (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        )
        outputs = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, self.compute_dtype),
            scale=scale,
            offset=offset,
            mean=tf.zeros(0) if train else mean,
            variance=tf.zeros(0) if train else variance,
            epsilon=self.epsilon,
            is_training=train,
        )
        if train:
            # Keras' own rule; TensorFlow's kernel has Bessel's correction in its variance, which is
            # all the better.
            keep = self.momentum
            self.moving_mean.assign(mean * keep + outputs.batch_mean * (1 - keep))
            self.moving_variance.assign(variance * keep + outputs.batch_variance * (1 - keep))
        return outputs.y
