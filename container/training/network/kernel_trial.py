"""Which way computes each convolution of a twin fastest, by a short trial of its own shapes."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import keras
import tensorflow as tf

from container.training.network import twins

PAYING_OPERATIONS: Final = 3e13
"""A job with less to compute, minutes on two cores, does not pay for a trial of some seconds."""
_LEAST_OPERATIONS: Final = 2e8  # of a convolution on a part of a batch, for its time to be measured
_ROUNDS: Final = 3
_GAIN: Final = 0.9  # another way must be faster by more than what a busy machine makes of noise

Ways = dict[str, str]
"""The way of each convolution, by the name of its layer."""


def count_operations(twin: keras.Model) -> float:
    """Count additions and multiplications of the convolutions in a forward pass of one image."""
    return float(sum(_count(layer) for layer in twins.list_convolutions(twin)))


def apply(twin: keras.Model, ways: Mapping[str, str]) -> None:
    """Set the way of each convolution, before the first step is traced."""
    for layer in twins.list_convolutions(twin):
        found = ways.get(layer.name, layer.way)
        if found in layer.ways:  # else another version of the toolkit tried others
            layer.way = found


def choose(twin: keras.Model, image_count: int, log: Callable[[str], None]) -> Ways:
    """Time the gradient of each convolution on `image_count` images; return the fastest ways.

    The ways of the twin stay as they are.
    """
    started = time.monotonic()
    chosen: Ways = {}
    known: dict[Any, str] = {}
    changed = 0
    for layer in twins.list_convolutions(twin):
        ways = layer.ways
        if len(ways) == 1 or _count(layer) * image_count < _LEAST_OPERATIONS:
            continue
        key = _describe(layer)
        if key not in known:
            known[key] = _find_fastest(layer, ways, image_count)
        chosen[layer.name] = known[key]
        changed += known[key] != ways[0]
    seconds = time.monotonic() - started
    log(
        f"kernels: of {len(chosen)} convolutions tried in {seconds:.1f} s, {changed} are faster "
        "in another way than the usual one"
    )
    return chosen


def _find_fastest(layer: Any, ways: Any, image_count: int) -> str:
    before = layer.way
    runs = {}
    for way in ways:
        layer.way = way
        runs[way] = _make_run(layer, image_count)
        runs[way]()  # traced while the layer has this way
    layer.way = before
    times_s = dict.fromkeys(ways, math.inf)
    for _ in range(_ROUNDS):
        for way, run in runs.items():
            began = time.perf_counter()
            run()
            times_s[way] = min(times_s[way], time.perf_counter() - began)
    fastest = min(ways, key=times_s.__getitem__)
    if times_s[fastest] < _GAIN * times_s[ways[0]]:
        return str(fastest)
    return str(ways[0])


def _make_run(layer: Any, image_count: int) -> Callable[[], None]:
    """Return a function that computes the outputs and gradients of a layer once."""
    shape = [image_count, *layer.input.shape[1:]]
    images = tf.cast(tf.random.stateless_uniform(shape, [0, 1]), layer.compute_dtype)
    variables = list(layer.trainable_variables)
    weights = [tf.identity(variable.value) for variable in variables]

    def compute() -> Any:
        with tf.GradientTape() as tape:
            tape.watch([images, *weights])
            with keras.StatelessScope(zip(variables, weights, strict=True)):
                outputs = layer(images)
        parts = tape.gradient(outputs, [images, *weights], outputs, unconnected_gradients="zero")
        return [tf.reduce_max(part) for part in parts]

    # A concrete function: TensorFlow would warn of many traces of functions of one name.
    run = tf.function(compute, autograph=False).get_concrete_function()

    def finish() -> None:
        for value in run():
            value.numpy()

    return finish


def _count(layer: Any) -> int:
    """Count the operations of a convolution on one image."""
    places = math.prod(layer.output.shape[1:3])
    return int(2 * places * math.prod(layer.kernel.shape))


def _describe(layer: Any) -> tuple[Any, ...]:
    """Return what decides the time of a layer."""
    return (type(layer), layer.input.shape, tuple(layer.kernel.shape), layer.strides, layer.padding)
