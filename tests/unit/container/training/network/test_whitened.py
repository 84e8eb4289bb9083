"""The network that whitens patches: its first weights, and what its training changes."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from container.data.images import LabeledImages
from container.errors import UserError
from container.training.defaults import recipes
from container.training.distributed.rendezvous import Hosts
from container.training.network import networks, twins, whitened
from container.training.settings import Settings, parse
from container.training.step.device import Device
from container.training.step.loop import Loop

PIXELS = (0.5, 0.2)
SHAPE = (10, 12, 3)


def draw(count: int) -> NDArray[np.uint8]:
    """Draw images whose neighbors are alike, as in photographs."""
    chance = np.random.default_rng(0)
    coarse = chance.normal(128, 50, (count, 5, 6, 3))
    fine = coarse.repeat(2, axis=1).repeat(2, axis=2) + chance.normal(0, 9, (count, *SHAPE))
    return fine.clip(0, 255).astype(np.uint8)


def build(images: NDArray[np.uint8]) -> keras.Model:
    keras.utils.set_random_seed(0)
    covariance = whitened.measure_patches(images, PIXELS, Hosts())
    return networks.build("whitened_cnn", SHAPE, 4, PIXELS, covariance=covariance)


def test_the_first_layer_makes_patches_white() -> None:
    images = draw(400)
    network = build(images)
    before = keras.Model(network.input, network.get_layer("normalize").output)(images).numpy()
    after = network.get_layer("whitening")(before).numpy().reshape(-1, 24)
    assert np.abs(after[:, :12] + after[:, 12:]).max() < 1e-4
    moments = after[:, :12].T @ after[:, :12] / len(after)
    assert np.abs(moments - np.eye(12)).max() < 0.02
    raw = before[:, :-1, :-1].reshape(-1, 3)
    assert np.abs(np.corrcoef(raw.T)).max() > 0.5  # which they were not


def test_hosts_agree_on_one_covariance() -> None:
    images = draw(30)

    class Half(Hosts):
        """Adds what the other host found."""

        def __init__(self, other: Sequence[float]) -> None:
            super().__init__()
            self.other, self.own = other, []

        def agree(self, values: Sequence[float]) -> list[float]:
            self.own = list(values)
            return [a + b for a, b in zip(values, self.other, strict=True)]

    first = Half([0.0] * 145)
    whitened.measure_patches(images[:10], PIXELS, first)
    both = whitened.measure_patches(images[10:], PIXELS, Half(first.own))
    alone = whitened.measure_patches(images, PIXELS, Hosts())
    assert np.allclose(both, alone, atol=1e-6)  # sums in another order
    none = np.zeros((0, *SHAPE), np.uint8)  # a host with an empty shard
    assert not whitened.measure_patches(none, PIXELS, Hosts()).any()


def test_convolutions_start_as_the_identity() -> None:
    network = build(draw(20))
    convolution = network.get_layer("block1_conv1")
    inputs = np.random.default_rng(0).normal(size=(1, 9, 11, 24)).astype(np.float32)
    outputs = convolution(inputs).numpy()
    assert np.allclose(outputs[..., :24], inputs)
    assert not np.allclose(outputs[..., 24:48], inputs)


def test_training_leaves_the_whitening_and_scales_the_rate_of_offsets() -> None:
    images = draw(16)
    data = LabeledImages(images, np.arange(16, dtype=np.int32) % 4, (0, 1, 2, 3))
    settings = parse({"model": "whitened_cnn", "epochs": "4", "batch_size": "8"})[0]
    device = Device("float32", 1, 1, 1, xla=False, reasons=())
    moved = {}
    for offset_rate in (1.0, 64.0):
        network = build(images)
        before = {variable.path: variable.numpy() for variable in network.trainable_variables}
        chosen = dataclasses.replace(
            settings, offset_rate=offset_rate, weight_decay=0.0, schedule="constant"
        )
        loop = Loop(twins.clone_for_training(network, "float32"), data, chosen, device)
        loop.run(0, 0, 1, (0.0, 0))
        loop.write_to(network, loop.result())
        changes = {
            variable.path: np.abs(variable.numpy() - before[variable.path]).max()
            for variable in network.trainable_variables
        }
        assert changes.pop("whitening/kernel") == 0
        assert min(changes.values()) > 0
        moved[offset_rate] = changes
    ratio = moved[64.0]["block1_conv1_norm/beta"] / moved[1.0]["block1_conv1_norm/beta"]
    assert ratio == pytest.approx(64, rel=1e-3)
    kernel = "block1_conv1/kernel"
    assert moved[64.0][kernel] == pytest.approx(moved[1.0][kernel], rel=1e-3)


def test_mirrored_views_are_averaged_in_the_saved_model_and_in_measurements(
    tmp_path: Path,
) -> None:
    images = draw(16)
    network = build(images)
    averaged = networks.average_mirrored(network)
    logits = keras.Model(network.input, network.get_layer(networks.LOGITS).output)
    mean = (logits(images) + logits(images[:, :, ::-1])) / 2
    expected = keras.ops.softmax(mean).numpy()
    with warnings.catch_warnings():  # Keras 3.15 warns about NumPy 2 in each save
        warnings.simplefilter("ignore", DeprecationWarning)
        averaged.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for model in (averaged, loaded):
        assert np.abs(model(images).numpy() - expected).max() < 1e-6
    assert np.abs(network(images).numpy() - expected).max() > 1e-4
    data = LabeledImages(images, np.arange(16, dtype=np.int32) % 4, (0, 1, 2, 3))
    device = Device("float32", 1, 1, 1, xla=False, reasons=())
    for mirrors, model in ((True, averaged), (False, network)):
        settings = Settings(batch_size=8, mirror_views=mirrors)
        loop = Loop(twins.clone_for_training(network, "float32"), data, settings, device)
        losses = -np.log(model(images).numpy()[np.arange(16), data.labels])
        assert loop.measure(data)[0] == pytest.approx(losses.mean(), rel=1e-4)
    # A job that starts from it finds the layers within, and the network's name.
    assert recipes.choose_model(SHAPE, tmp_path)[0] == "whitened_cnn"
    keras.utils.set_random_seed(9)
    tuned = networks.build("whitened_cnn", SHAPE, 7, PIXELS, tmp_path)
    for name in ("whitening", "block3_conv2", "block1_conv1_norm"):
        for ours, theirs in zip(
            tuned.get_layer(name).get_weights(), network.get_layer(name).get_weights(), strict=True
        ):
            assert np.array_equal(ours, theirs)


def test_images_that_are_too_small_are_refused_with_what_is_possible() -> None:
    with pytest.raises(UserError, match="at least 9x9 pixels; these have 8x12"):
        networks.build("whitened_cnn", (8, 12, 3), 4, PIXELS)
    networks.build("whitened_cnn", (9, 9, 1), 4, PIXELS)
