"""Convolutions as matrix products, where a library's own kernels are slow on CPUs.

oneDNN computes the weights' gradient of 1x1 kernels and of small maps at a quarter of the speed of
a matrix product of the same numbers. A depthwise convolution has 2 operations per number that it
reads, so that no kernel for it is fast; as products with banded matrices it takes up to eight times
as many, at the speed of a product.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

LIBRARY: Final = "library"
PRODUCT: Final = "product"
DEPTHWISE: Final = "depthwise"
BANDED: Final = "banded"


class Convolution(keras.layers.Conv2D):  # type: ignore[misc]
    """A convolution that is computed in one of several ways."""

    way: str = LIBRARY
    """One of `ways`; set it before the first step is traced."""
    drops_bias: bool = False
    """Whether batch normalization follows, which subtracts the bias again."""

    def call(self, inputs: Any) -> Any:
        """Convolve, and add the bias unless it is dropped."""
        if self.drops_bias:
            return self.convolution_op(inputs, self.kernel)
        return super().call(inputs)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve `[n, height, width, channel]`."""
        if self.way == LIBRARY:
            return super().convolution_op(inputs, kernel)
        images = tf.cast(inputs, self.compute_dtype)
        values = tf.cast(tf.convert_to_tensor(kernel), self.compute_dtype)
        if self.way == PRODUCT:
            return convolve(images, values, self.strides[0], self.padding.upper())
        values = tf.transpose(values, [0, 1, 3, 2])
        if self.way == BANDED:
            return convolve_depthwise(images, values[..., 0])
        return tf.nn.depthwise_conv2d(images, values, [1, 1, 1, 1], "SAME")

    @property
    def ways(self) -> Sequence[str]:
        """The ways that compute this convolution; the first one is for a job without a trial."""
        is_plain = self.data_format == "channels_last" and set(self.dilation_rate) == {1}
        if not is_plain or len(set(self.strides)) > 1:
            return (LIBRARY,)
        if self.groups == 1 and self.padding in ("same", "valid"):
            return (LIBRARY, PRODUCT)
        is_depthwise = self.groups == self.filters == self.kernel.shape[2] * self.groups
        if is_depthwise and _is_centered(self):  # Keras compiles groups by XLA, which is slow
            return (DEPTHWISE, BANDED)
        return (LIBRARY,)


class DepthwiseConvolution(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """A depthwise convolution that is computed in one of several ways."""

    way: str = LIBRARY
    """One of `ways`; set it before the first step is traced."""

    def call(self, inputs: Any) -> Any:
        """Convolve, add the bias and apply the activation."""
        if self.way == LIBRARY:
            return super().call(inputs)
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), self.compute_dtype)
        outputs = convolve_depthwise(tf.cast(inputs, self.compute_dtype), kernel[..., 0])
        if self.use_bias:
            outputs += tf.cast(tf.convert_to_tensor(self.bias), outputs.dtype)
        return outputs if self.activation is None else self.activation(outputs)

    @property
    def ways(self) -> Sequence[str]:
        """The ways that compute this convolution; the first one is for a job without a trial."""
        is_plain = self.data_format == "channels_last" and set(self.dilation_rate) == {1}
        if is_plain and self.depth_multiplier == 1 and _is_centered(self):
            return (LIBRARY, BANDED)
        return (LIBRARY,)


def _is_centered(layer: Any) -> bool:
    is_odd = all(size % 2 for size in layer.kernel_size)
    return is_odd and layer.padding == "same" and set(layer.strides) == {1}


def convolve(images: Any, kernel: Any, stride: int, padding: str) -> Any:
    """Convolve by the library; the gradient of the kernel is a sum of matrix products.

    `images` are `[n, height, width, in]` of known height and width, `kernel` is `[height, width,
    in, out]`, `padding` is SAME or VALID.
    """
    strides = [1, stride, stride, 1]

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def compute(images: Any, kernel: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
        def differentiate(change: Any) -> tuple[Any, Any]:
            of_images = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(images),
                filter=kernel,
                out_backprop=change,
                strides=strides,
                padding=padding,
            )
            return of_images, _correlate(images, change, kernel.shape, stride, padding)

        return tf.nn.conv2d(images, kernel, strides, padding), differentiate

    return compute(images, kernel)


def _correlate(images: Any, change: Any, shape: Any, stride: int, padding: str) -> Any:
    """Return the gradient `shape` of a kernel: for each of its places, one matrix product."""
    height, width, depth, count = shape
    rows, columns = change.shape[1:3]
    if padding == "SAME":
        pads = [
            max((after - 1) * stride + size - before, 0)
            for after, size, before in zip(
                (rows, columns), (height, width), images.shape[1:3], strict=True
            )
        ]
        around = [[pad // 2, pad - pad // 2] for pad in pads]
        if any(pads):
            images = tf.pad(images, [[0, 0], *around, [0, 0]])
    flat = tf.reshape(change, [-1, count])
    products = []
    for row in range(height):
        for column in range(width):
            seen = images[
                :,
                row : row + (rows - 1) * stride + 1 : stride,
                column : column + (columns - 1) * stride + 1 : stride,
            ]
            products.append(tf.matmul(tf.reshape(seen, [-1, depth]), flat, transpose_a=True))
    return tf.reshape(tf.stack(products), shape)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def convolve_depthwise(images: Any, kernel: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
    """Convolve each channel with a kernel of its own, as products with banded matrices.

    `images` are `[n, height, width, channel]` of known height and width, `kernel` is `[height,
    width, channel]` with odd sides. Zeros surround the images, and the result is as large.
    """

    def differentiate(change: Any) -> tuple[Any, Any]:
        of_images = _multiply_by_bands(change, tf.reverse(kernel, [0, 1]))
        height, width, channels = kernel.shape
        rows = _gather_rows(images, height)
        columns = images.shape[2]
        flat = tf.reshape(tf.transpose(change, [3, 0, 1, 2]), [channels, -1, columns])
        of_bands = tf.reshape(
            tf.matmul(rows, flat, transpose_a=True), [channels * height, columns * columns]
        )
        places = tf.constant(_mark_bands(width, columns), of_bands.dtype)
        of_kernel = tf.matmul(of_bands, places, transpose_b=True)
        return of_images, tf.transpose(tf.reshape(of_kernel, [channels, height, width]), [1, 2, 0])

    return _multiply_by_bands(images, kernel), differentiate


def _multiply_by_bands(images: Any, kernel: Any) -> Any:
    height, width, channels = kernel.shape
    rows, columns = images.shape[1:3]
    places = tf.constant(_mark_bands(width, columns), kernel.dtype)
    by_channel = tf.reshape(tf.transpose(kernel, [2, 0, 1]), [channels * height, width])
    bands = tf.reshape(tf.matmul(by_channel, places), [channels, height * columns, columns])
    product = tf.matmul(_gather_rows(images, height), bands)
    return tf.transpose(tf.reshape(product, [channels, -1, rows, columns]), [1, 2, 3, 0])


def _gather_rows(images: Any, height: int) -> Any:
    """Return `[channel, n * height of images, height * width]`: the rows that each row sees."""
    rows, columns, channels = images.shape[1:]
    reach = height // 2
    around = tf.pad(tf.transpose(images, [3, 0, 1, 2]), [[0, 0], [0, 0], [reach, reach], [0, 0]])
    seen = tf.concat([around[:, :, row : row + rows] for row in range(height)], axis=3)
    return tf.reshape(seen, [channels, -1, height * columns])


@functools.lru_cache(maxsize=32)
def _mark_bands(width: int, columns: int) -> Any:
    """Return `[width, columns * columns]`: 1 where a place of the kernel joins two columns."""
    sources, targets = np.mgrid[:columns, :columns]
    places = sources - targets + width // 2
    return np.stack([places == place for place in range(width)]).reshape(width, -1)
