"""A twin computes and learns what its network does, in each way of its convolutions."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from container.data.images import LabeledImages
from container.training.distributed.rendezvous import Hosts
from container.training.network import kernel_trial, networks, twins
from container.training.settings import Settings
from container.training.step import trial
from container.training.step.device import Device
from container.training.step.loop import Loop

DEVICE = Device("float32", 1, 1, 1, xla=False, reasons=())
SETTINGS = Settings(
    epochs=1, batch_size=8, optimizer="sgd", learning_rate=0.01, schedule="constant", flip=True
)
layers = keras.layers


def build() -> keras.Model:
    """Build a network with every kind of convolution; biases precede normalizations."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(inputs)
    draw = functools.partial(keras.initializers.RandomNormal, stddev=0.3)
    x = layers.Conv2D(8, 1, name="point", bias_initializer=draw(seed=1))(x)
    x = layers.ReLU()(layers.BatchNormalization(name="point_norm")(x))
    x = layers.Conv2D(8, 7, padding="same", groups=8, name="grouped")(x)
    y = layers.DepthwiseConv2D(5, padding="same", activation="relu", name="depthwise")(x)
    x = layers.Conv2D(
        8, 3, strides=2, padding="same", name="shared", bias_initializer=draw(seed=2)
    )(layers.Add()([x, y]))
    z = layers.BatchNormalization(name="shared_norm", scale=False)(x)
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, z]))
    logits = layers.Dense(4, name=networks.LOGITS)(x)
    return keras.Model(inputs, layers.Softmax(name=networks.PROBABILITIES)(logits))


@pytest.fixture(scope="module")
def images() -> LabeledImages:
    chance = np.random.default_rng(0)
    labels = np.arange(32, dtype=np.int32) % 4
    pixels = chance.integers(0, 256, (32, 8, 8, 3)).astype(np.uint8)
    return LabeledImages(pixels, labels, (0, 1, 2, 3))


def train(images: LabeledImages, ways: dict[str, str], *, keeps_biases: bool = False) -> Any:
    """Train some steps; return the network's probabilities, and the bias."""
    network = build()
    twin = twins.clone_for_training(network, "float32")
    if keeps_biases:
        for convolution, normalization in twins.list_dropped_biases(twin):
            twin.get_layer(normalization).moving_mean.assign_add(twin.get_layer(convolution).bias)
            twin.get_layer(convolution).drops_bias = False
    kernel_trial.apply(twin, ways)
    loop = Loop(twin, images, SETTINGS, DEVICE)
    loop.run(0, 0, 4, (0.0, 0))
    loop.write_to(network, loop.result())
    accuracy = loop.measure(images)[1]
    probabilities = network(images.images, training=False).numpy()
    assert accuracy == (probabilities.argmax(1) == images.labels).mean()
    return probabilities, network.get_layer("point").bias.numpy()


@pytest.fixture(scope="module")
def usual(images: LabeledImages) -> Any:
    """Train a twin as it is made."""
    return train(images, {})


def test_a_bias_before_a_normalization_is_dropped_and_the_network_stays_equal(
    images: LabeledImages, usual: Any
) -> None:
    twin = twins.clone_for_training(build(), "float32")
    assert twins.list_dropped_biases(twin) == [("point", "point_norm")]  # "shared" is used twice
    kept, bias_after = train(images, {}, keeps_biases=True)
    dropped, bias_before = usual
    assert np.array_equal(bias_before, build().get_layer("point").bias.numpy())
    assert np.abs(bias_before).max() > 0.1
    assert np.abs(bias_after - bias_before).max() < 1e-5  # its gradient was nothing but rounding
    assert np.abs(kept - dropped).max() < 1e-5


def test_every_way_learns_the_same(images: LabeledImages, usual: Any) -> None:
    twin = twins.clone_for_training(build(), "float32")
    others = {layer.name: layer.ways[1] for layer in twins.list_convolutions(twin)}
    kinds = {"point": "product", "grouped": "banded", "depthwise": "banded", "shared": "product"}
    assert others == kinds
    found, _ = train(images, others)
    assert np.abs(found - usual[0]).max() < 1e-5


def test_a_trial_chooses_ways_that_there_are_and_leaves_the_twin_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernel_trial, "_LEAST_OPERATIONS", 1)
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    twin = twins.clone_for_training(build(), "bfloat16")
    lines: list[str] = []
    ways = kernel_trial.choose(twin, 4, lines.append)
    found = {layer.name: layer for layer in twins.list_convolutions(twin)}
    assert ways.keys() == found.keys()
    assert all(way in found[name].ways for name, way in ways.items())
    assert all(layer.way == layer.ways[0] for layer in found.values())
    assert lines[0].startswith("kernels: of 4 convolutions tried in ")
    assert caplog.messages == []  # TensorFlow warns of functions that it traces often
    kernel_trial.apply(twin, {"point": "product", "shared": "unknown", "absent": "product"})
    assert (found["point"].way, found["shared"].way) == ("product", "library")
    operations = 2 * 64 * (3 * 8 + 49 * 8 + 25 * 8) + 2 * 16 * 9 * 64
    assert kernel_trial.count_operations(twin) == operations


def test_a_trial_is_made_only_where_it_pays(
    images: LabeledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_trial, "choose", lambda *_: {"point": "product"})
    for changes, least, expected in (
        ({}, 1, {"point": "product"}),
        ({}, 1e30, None),
        ({"deterministic": True}, 1, None),
    ):
        monkeypatch.setattr(kernel_trial, "PAYING_OPERATIONS", least)
        settings = dataclasses.replace(SETTINGS, **changes)
        loop = Loop(twins.clone_for_training(build(), "float32"), images, settings, DEVICE)
        assert loop.try_kernels(print) == expected


def test_the_ways_in_a_checkpoint_are_used_and_not_tried_again(
    images: LabeledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settle(known: dict[str, str] | None, steps_done: int) -> tuple[Any, dict[str, str]]:
        twin = twins.clone_for_training(build(), "float32")
        loop = Loop(twin, images, SETTINGS, DEVICE)
        kept = trial.settle_kernels(loop, Hosts(), known, steps_done, print)
        return kept, {layer.name: layer.way for layer in twins.list_convolutions(twin)}

    monkeypatch.setattr(kernel_trial, "PAYING_OPERATIONS", 1)
    monkeypatch.setattr(kernel_trial, "choose", lambda *_: {"point": "product"})
    kept, ways = settle(None, 0)
    assert kept == {"point": "product"}
    assert (ways["point"], ways["shared"]) == ("product", "library")
    kept, ways = settle({"shared": "product"}, 2)
    assert kept == {"shared": "product"}
    assert (ways["point"], ways["shared"]) == ("library", "product")
    kept, ways = settle(None, 2)  # began without a trial, and so goes on
    assert kept is None
    assert ways["point"] == "library"


def test_a_frozen_normalization_keeps_the_bias_that_learns() -> None:
    network = build()
    network.get_layer("point_norm").trainable = False
    twin = twins.clone_for_training(network, "float32")
    assert twins.list_dropped_biases(twin) == []
    networks.freeze_trunk(network)
    twin = twins.clone_for_training(network, "float32")
    assert twins.list_dropped_biases(twin) == [("point", "point_norm")]
    chance = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)
    logits = twin(chance, training=False)
    expected = network(chance, training=False).numpy()
    assert np.abs(tf.nn.softmax(logits).numpy() - expected).max() < 1e-6
