"""The networks as plain Keras models; `twins` has copies of them that train faster.

A network takes `[batch, height, width, channel] uint8 0-255`, normalizes inside its graph, and ends
with the layers `logits` (`[batch, class]`) and `probabilities` (softmax, float32). It loads with
stock Keras.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from container.errors import UserError
from container.training.defaults.pretrained import find_weights
from container.training.distributed.rendezvous import Hosts
from container.training.network import whitened
from container.training.network.whitened import WHITENING, Covariance

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


def build(  # noqa: PLR0913, PLR0917 - what decides the layers, and their first weights
    name: str,
    shape: tuple[int, int, int],
    class_count: int,
    pixels: tuple[float, float],
    pretrained: Path | None = None,
    covariance: Covariance | None = None,
) -> keras.Model:
    """Build a network for images of `shape` = height, width, channels.

    `pixels` are mean and standard deviation of the training pixels, in units of 0-1. `pretrained`
    is a directory with an artifact of this toolkit, or with one `.keras` or `.h5` file. Layers that
    match by name and shape get its weights; the last layer does not match for other classes.
    `covariance` is that of the patches that `whitened_cnn` makes white.

    Raises: UserError if the images are too small for the network, or no layer matches.
    """
    inputs = keras.Input(shape, dtype="uint8", name="images")
    weights = None if pretrained is None else find_weights(pretrained)
    if name in _APPLICATIONS:
        features = _build_application(name, inputs, weights)
    else:
        mean, deviation = pixels
        scale = keras.layers.Rescaling(1 / (255 * deviation), -mean / deviation, name="normalize")
        features = _build_small(name, scale(inputs))
    x = keras.layers.Dense(class_count, kernel_initializer="he_normal", name=LOGITS)(features)
    outputs = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)(x)
    network = keras.Model(inputs, outputs, name=name)
    if name == "whitened_cnn":
        whitened.initialize(network, covariance)
    is_trunk = name in _APPLICATIONS and weights is not None and weights.suffix == ".h5"
    if weights is not None and not is_trunk:
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


def average_mirrored(network: keras.Model) -> keras.Model:
    """Return a network whose logits are the mean of those of an image and of its mirror image."""
    logits = network.get_layer(LOGITS).output
    trunk = keras.Model(network.input, logits, name=f"{network.name}_view")
    inputs = keras.Input(network.input_shape[1:], dtype="uint8", name="images")
    views = [trunk(inputs), trunk(keras.ops.flip(inputs, axis=2))]
    mean = keras.layers.Average(dtype="float32", name="mean_logits")(views)
    outputs = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)(mean)
    return keras.Model(inputs, outputs, name=network.name)


def list_rate_factors(network: keras.Model, offset_rate: float) -> list[float]:
    """List a factor of the learning rate for each trainable variable of the network.

    It is 0 for what no step may change, and `offset_rate` for offsets of batch normalization.
    """
    factors = {}
    for layer in network.layers:
        for variable in layer.trainable_variables:
            factors[id(variable)] = 1.0
            if layer.name == WHITENING and variable.name == "kernel":
                factors[id(variable)] = 0.0
            if isinstance(layer, keras.layers.BatchNormalization) and variable.name == "beta":
                factors[id(variable)] = offset_rate
    return [factors[id(variable)] for variable in network.trainable_variables]


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


def _build_small(name: str, x: Any) -> Any:
    """Add the layers of a network for small images to normalized ones.

    Raises: UserError if the images are too small.
    """
    if name == "small_cnn":
        return _build_small_cnn(x)
    if name == "whitened_cnn":
        if min(x.shape[1:3]) < whitened.LEAST_PIXELS:
            least, (height, width) = whitened.LEAST_PIXELS, x.shape[1:3]
            raise UserError(
                f"model={name} needs images of at least {least}x{least} pixels; these have "
                f"{height}x{width}"
            )
        return whitened.add_layers(x)
    return _build_resnet(x, _RESNET_BLOCKS[name])


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
        raise UserError(
            f"model={name} needs images of at least {_APPLICATION_PIXELS}x{_APPLICATION_PIXELS} "
            f"pixels and 1 or 3 channels; these have {height}x{width}x{depth}"
        )
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


def _transfer(network: keras.Model, path: Path) -> None:
    """Copy the weights of each layer of the model in `path` that matches by name and shapes.

    Raises: UserError if no layer matches, or the file is not a Keras model.
    """
    try:
        source = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, TypeError) as error:
        raise UserError(
            f"{path} cannot be loaded as a Keras model: {error}; if it holds only the weights of a "
            f"network of keras.applications, set `model` to one of {', '.join(_APPLICATIONS)}"
        ) from error
    layers: list[Any] = []
    for layer in source.layers:  # of an artifact with mirrored views, those of the network within
        layers += layer.layers if isinstance(layer, keras.Model) else [layer]
    available = {layer.name: layer.get_weights() for layer in layers}
    matching = set()
    for layer in network.layers:
        own, found = layer.get_weights(), available.get(layer.name, [])
        if own and [array.shape for array in own] == [array.shape for array in found]:
            layer.set_weights(found)
            matching.add(layer.name)
    if not matching - {LOGITS}:
        raise UserError(
            f"no layer of the {source.name} in {path} fits model={network.name} for these images"
        )


def _convolve(x: Any, width: int, size: int, stride: int, name: str) -> Any:
    options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    return keras.layers.Conv2D(width, size, stride, name=name, **options)(x)
