"""Convolutions as matrix products equal those of the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from container.training.network.convolution import convolve, convolve_depthwise


def differentiate(function: Callable[..., Any], *inputs: Any) -> list[Any]:
    """Return outputs, and the gradients of a sum of them that weighs each differently."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(*inputs)
        weights = tf.random.stateless_uniform(outputs.shape, [3, 4])
        total = tf.reduce_sum(outputs * weights)
    return [outputs.numpy(), *(found.numpy() for found in tape.gradient(total, inputs))]


def draw(*shape: int) -> Any:
    return tf.random.stateless_normal(shape, [sum(shape), 1])


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("sides", "kernel"), [((8, 7), (1, 1)), ((7, 8), (3, 3)), ((9, 9), (2, 5)), ((3, 3), (3, 1))]
)
def test_a_convolution_and_its_gradients_equal_the_library(
    sides: tuple[int, int], kernel: tuple[int, int], stride: int, padding: str
) -> None:
    if padding == "VALID" and any(a < b for a, b in zip(sides, kernel, strict=True)):
        kernel = (1, 1)
    inputs = (draw(2, *sides, 3), draw(*kernel, 3, 4))
    ours = differentiate(lambda *given: convolve(*given, stride, padding), *inputs)
    strides = [1, stride, stride, 1]
    theirs = differentiate(lambda *given: tf.nn.conv2d(*given, strides, padding), *inputs)
    for found, expected in zip(ours, theirs, strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("kernel", [(7, 7), (3, 5), (1, 1)])
@pytest.mark.parametrize("sides", [(7, 7), (4, 9), (2, 3), (1, 1)])
def test_a_depthwise_convolution_and_its_gradients_equal_the_library(
    sides: tuple[int, int], kernel: tuple[int, int]
) -> None:
    inputs = (draw(2, *sides, 5), draw(*kernel, 5))
    ours = differentiate(convolve_depthwise, *inputs)
    theirs = differentiate(
        lambda images, kernel: tf.nn.depthwise_conv2d(
            images, kernel[..., None], [1, 1, 1, 1], "SAME"
        ),
        *inputs,
    )
    for found, expected in zip(ours, theirs, strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-4
