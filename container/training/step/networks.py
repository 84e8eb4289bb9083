"""The networks as plain Keras models, and for each of them a twin that trains faster.

A network takes `[batch, height, width, channel] uint8 0-255`, normalizes inside its graph, and ends
with the layers `logits` (`[batch, class]`) and `probabilities` (softmax, float32). It loads with
stock Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from container import artifact
from container.errors import UserError
from container.training.distributed.rendezvous import Hosts

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
_APPLICATION_PIXELS: Final = 32  # the smallest side that keras.applications accepts
# Blue, green, red: what the published weights of ResNet50 expect.
_IMAGENET_MEAN: Final = (103.939, 116.779, 123.68)
_WEIGHT_SUFFIXES: Final = (".keras", ".h5")


def build(
    name: str,
    shape: tuple[int, int, int],
    class_count: int,
    pixels: tuple[float, float],
    pretrained: Path | None = None,
) -> keras.Model:
    """Build a network for images of `shape` = height, width, channels.

    `pixels` are mean and standard deviation of the training pixels, in units of 0-1. `pretrained`
    is a directory with an artifact of this toolkit, or with one `.keras` or `.h5` file. Layers that
    match by name and shape get its weights; the last layer does not match for other classes.

    Raises: UserError if the images are too small for the network, or no layer matches.
    """
    inputs = keras.Input(shape, dtype="uint8", name="images")
    weights = None if pretrained is None else _find_weights(pretrained)
    if name in _APPLICATIONS:
        features = _build_application(name, inputs, weights)
    else:
        mean, deviation = pixels
        scale = keras.layers.Rescaling(1 / (255 * deviation), -mean / deviation, name="normalize")
        x = scale(inputs)
        if name == "small_cnn":
            features = _build_small_cnn(x)
        else:
            features = _build_resnet(x, _RESNET_BLOCKS[name])
    x = keras.layers.Dense(class_count, kernel_initializer="he_normal", name=LOGITS)(features)
    outputs = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)(x)
    network = keras.Model(inputs, outputs, name=name)
    if weights is not None and weights.suffix == ".keras":
        _transfer(network, weights)
    return network


def measure_pixels(images: npt.NDArray[np.uint8], hosts: Hosts) -> tuple[float, float]:
    """Return mean and standard deviation of the pixels of all hosts, in units of 0-1."""
    scaled = images / np.float64(255)
    sums = [float(scaled.size), float(scaled.sum()), float(np.square(scaled).sum())]
    count, total, squares = hosts.agree(sums)
    mean = total / count
    return round(mean, 4), round(max(math.sqrt(max(0.0, squares / count - mean * mean)), 0.01), 4)


def freeze_trunk(network: keras.Model) -> None:
    """Leave only the layer `logits` trainable."""
    for layer in network.layers:
        layer.trainable = layer.name == LOGITS


def clone_for_training(model: keras.Model, precision: str) -> keras.Model:
    """Clone `model` up to its logits, in another precision and with fused batch normalization.

    The variables of the clone have the order, shapes and values of those of the model.
    """
    policy = "float32" if precision == "float32" else f"mixed_{precision}"

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, keras.layers.Layer) and not isinstance(layer, keras.layers.InputLayer):
            config["dtype"] = policy  # the others are operations, which keep the dtype of inputs
        if type(layer) is keras.layers.BatchNormalization:
            return _FusedBatchNormalization.from_config(config)
        return type(layer).from_config(config)

    trunk = keras.Model(model.input, model.get_layer(LOGITS).output, name=model.name)
    twin = keras.models.clone_model(trunk, clone_function=clone)
    twin.set_weights(trunk.get_weights())
    return twin


def _build_small_cnn(x: Any) -> Any:
    """Add a strided 5x5 convolution, then 3x3 ones of doubling width and pooling, to 4 pixels.

    Normalization and ReLU follow pooling, which leaves a quarter of the elements; widths are
    multiples of 16, the block size of oneDNN.
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
    """Add the residual network for small images: three stages of `block_count` blocks.

    Source: He et al., Deep Residual Learning, 2015, section 4.2, with 1x1 projections wherever the
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
            y = _convolve(x, width, 3, stride, f"{name}_conv1")
            y = layers.ReLU()(normalize(y, f"{name}_conv1"))
            y = normalize(_convolve(y, width, 3, 1, f"{name}_conv2"), f"{name}_conv2")
            if stride == 2:
                x = normalize(_convolve(x, width, 1, stride, f"{name}_project"), f"{name}_project")
            x = layers.ReLU()(layers.Add()([x, y]))
    return layers.GlobalAveragePooling2D()(x)


def _build_application(name: str, inputs: Any, weights: Path | None) -> Any:
    """Build a trunk of keras.applications with its preprocessing, for gray or color images."""
    height, width, depth = inputs.shape[1:]
    if min(height, width) < _APPLICATION_PIXELS or depth not in (1, 3):
        message = (
            f"model={name} needs images of at least {_APPLICATION_PIXELS}x{_APPLICATION_PIXELS} "
            f"pixels and 1 or 3 channels; these have {height}x{width}x{depth}"
        )
        raise UserError(message)
    x = keras.layers.Rescaling(1.0, name="cast")(inputs)
    if depth == 1:
        x = keras.layers.Concatenate(name="color")([x, x, x])
    if name == "resnet50":  # the other networks include it
        swap = keras.layers.Conv2D(3, 1, name="to_blue_green_red", trainable=False)
        x = swap(x)
        reversed_channels = np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3)
        swap.set_weights([reversed_channels, -np.array(_IMAGENET_MEAN, np.float32)])
    make: Callable[..., keras.Model] = getattr(keras.applications, _APPLICATIONS[name])
    is_published = weights is not None and weights.suffix == ".h5"
    try:
        path = str(weights) if is_published else None
        trunk = make(include_top=False, weights=path, input_tensor=x, pooling="avg")
    except (ValueError, OSError) as error:
        message = f"{weights} does not fit model={name}; expected weights without the top: {error}"
        raise UserError(message) from error
    return trunk.output


def _find_weights(directory: Path) -> Path:
    """Find the Keras model of an artifact, or the only `.keras` or `.h5` file."""
    if (directory / artifact.MANIFEST_NAME).exists():
        return artifact.load(directory).keras
    paths = [path for path in directory.rglob("*") if path.suffix in _WEIGHT_SUFFIXES]
    found = sorted(path for path in paths if path.is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        message = (
            f"{directory} must hold an artifact of this toolkit or one .keras or .h5 file; found "
            f"{names}"
        )
        raise UserError(message)
    return found[0]


def _transfer(network: keras.Model, path: Path) -> None:
    """Copy the weights of each layer of the model in `path` that matches by name and shapes.

    Raises: UserError if no layer matches, or the file is not a Keras model.
    """
    try:
        source = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, TypeError) as error:
        message = f"{path} cannot be loaded as a Keras model: {error}"
        raise UserError(message) from error
    available = {layer.name: layer.get_weights() for layer in source.layers}
    matching = set()
    for layer in network.layers:
        own, found = layer.get_weights(), available.get(layer.name, [])
        if own and [array.shape for array in own] == [array.shape for array in found]:
            layer.set_weights(found)
            matching.add(layer.name)
    if not matching - {LOGITS}:
        message = (
            f"no layer of the {source.name} in {path} fits model={network.name} for these images"
        )
        raise UserError(message)


def _convolve(x: Any, width: int, size: int, stride: int, name: str) -> Any:
    options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    return keras.layers.Conv2D(width, size, stride, name=name, **options)(x)


class _FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalization of images in one fused kernel, with float32 statistics."""

    def call(
        self,
        inputs: Any,
        training: bool | None = None,  # noqa: FBT001 - Keras' signature
        mask: Any = None,
    ) -> Any:
        """Normalize; in training, by the mean and variance of the batch."""
        is_usual = self.axis in (-1, 3) and self.center and self.scale
        if not is_usual or len(inputs.shape) != 4 or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        train = bool(training) and self.trainable
        scale, offset, mean, variance = (
            tf.cast(tf.convert_to_tensor(variable), tf.float32)
            for variable in (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        )
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
