"""A network that learns small color pictures in few passes.

Its first layer makes patches of 2x2 pixels white, by kernels that are computed from the training
images and stay as they are. Three blocks of two convolutions follow, with pooling before the
normalization; convolutions start as the identity of their first channels, and normalization has
offsets without scales. Source: Jordan, 94% in 3.29 Seconds on a Single GPU, 2024
(arXiv:2404.00498), sections 3.1 to 3.5.
"""

from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from container.training.distributed.rendezvous import Hosts

WHITENING: Final = "whitening"
"""Name of the first layer, whose kernel no step changes."""
LEAST_PIXELS: Final = 9  # pooled three times, after the patches, a side is still a pixel long
_PATCH: Final = 2
_WIDTHS: Final = (64, 256, 256)
_SMALLEST_VARIANCE: Final = 5e-4
_LOGIT_SCALE: Final = 1 / 9
_IMAGES_AT_ONCE: Final = 250

Covariance = npt.NDArray[np.float64]
"""`[4 * channel, 4 * channel]` of the pixels of a patch, by row, column and channel."""


def measure_patches(
    images: npt.NDArray[np.uint8], pixels: tuple[float, float], hosts: Hosts
) -> Covariance:
    """Return the covariance of the patches of the images of all hosts.

    `images` are `[n, height, width, channel]`; `pixels` are mean and deviation in units of 0-1.
    """
    mean, deviation = pixels
    size = _PATCH * _PATCH * images.shape[3]
    total, count = np.zeros((size, size)), 0
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        part = (images[start : start + _IMAGES_AT_ONCE] / np.float32(255) - mean) / deviation
        windows = sliding_window_view(part.astype(np.float32), (_PATCH, _PATCH), axis=(1, 2))
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size)
        total += patches.T @ patches
        count += len(patches)
    *sums, patch_count = hosts.agree([*total.ravel(), float(count)])
    covariance: Covariance = np.reshape(sums, (size, size)) / max(1.0, patch_count)
    return covariance


def add_layers(x: Any) -> Any:
    """Add the layers from normalized images to features."""
    layers = keras.layers
    x = layers.Conv2D(2 * _PATCH * _PATCH * x.shape[3], _PATCH, name=WHITENING)(x)
    x = layers.Activation("gelu", name=f"{WHITENING}_gelu")(x)
    for block, width in enumerate(_WIDTHS, 1):
        for number in (1, 2):
            name = f"block{block}_conv{number}"
            # Keras' name for a uniform distribution within 1 / sqrt(inputs).
            start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
            x = layers.Conv2D(
                width, 3, padding="same", use_bias=False, kernel_initializer=start, name=name
            )(x)
            if number == 1:
                x = layers.MaxPooling2D(2)(x)
            x = layers.BatchNormalization(
                momentum=0.9, epsilon=1e-5, scale=False, name=f"{name}_norm"
            )(x)
            x = layers.Activation("gelu", name=f"{name}_gelu")(x)
    x = layers.GlobalMaxPooling2D()(x)
    return layers.Rescaling(_LOGIT_SCALE, name="scale_logits")(x)


def initialize(network: keras.Model, covariance: Covariance | None) -> None:
    """Set the kernels that whiten patches, and let the convolutions start as the identity.

    Without `covariance` patches pass as they are.
    """
    for layer in network.layers:
        if layer.name == WHITENING:
            kernel, bias = layer.get_weights()
            layer.set_weights([_find_kernel(covariance, kernel.shape), 0 * bias])
        elif isinstance(layer, keras.layers.Conv2D):
            [kernel] = layer.get_weights()
            same = range(min(kernel.shape[2:]))
            kernel[..., : len(same)] = 0
            kernel[1, 1, same, same] = 1
            layer.set_weights([kernel])


def _find_kernel(covariance: Covariance | None, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the eigenvectors of patches, each scaled to a variance of one, and their negatives."""
    height, width, depth, _ = shape
    if covariance is None:
        covariance = np.eye(height * width * depth)
    variances, vectors = np.linalg.eigh(covariance)
    scaled = vectors / np.sqrt(np.maximum(variances, 0) + _SMALLEST_VARIANCE)
    # The sign of an eigenvector is arbitrary: the largest part is positive, on any machine.
    largest = np.abs(scaled).argmax(axis=0)
    scaled = scaled * np.sign(scaled[largest, np.arange(scaled.shape[1])])
    kernel: npt.NDArray[np.float32] = np.concatenate([scaled, -scaled], axis=1).astype(np.float32)
    return kernel.reshape(shape)
