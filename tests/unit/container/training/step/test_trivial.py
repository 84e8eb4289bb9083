"""TrivialAugment's operations, against Pillow as oracle."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from container.training.step import trivial

SIZE = (14, 10)


def draw(depth: int) -> NDArray[np.uint8]:
    chance = np.random.default_rng(0)
    return chance.integers(20, 230, (*SIZE, depth)).astype(np.uint8)


def apply(image: NDArray[np.uint8], name: str, strength: float) -> NDArray[np.int64]:
    kinds = tf.constant([trivial.OPERATIONS.index(name)])
    found = trivial.apply(
        tf.constant(image[None]), kinds, tf.constant([abs(strength)]), tf.constant([strength])
    )
    assert found.dtype == tf.uint8
    return found.numpy()[0].astype(int)


ORACLES = {
    "identity": lambda image, _: image,
    "brightness": lambda image, s: ImageEnhance.Brightness(image).enhance(1 + 0.99 * s),
    "color": lambda image, s: ImageEnhance.Color(image).enhance(1 + 0.99 * s),
    "contrast": lambda image, s: ImageEnhance.Contrast(image).enhance(1 + 0.99 * s),
    "sharpness": lambda image, s: ImageEnhance.Sharpness(image).enhance(1 + 0.99 * s),
    "posterize": lambda image, s: ImageOps.posterize(image, 8 - round(abs(s) * 6)),
    "solarize": lambda image, s: ImageOps.solarize(image, round(255 * (1 - abs(s)))),
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "translate_x": lambda image, s: image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, round(10 * s), 0, 1, 0)
    ),
    "translate_y": lambda image, s: image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, 0, 0, 1, round(14 * s))
    ),
}


@pytest.mark.parametrize("strength", [-1.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ORACLES)
def test_an_operation_gives_what_pillow_gives(name: str, strength: float) -> None:
    image = draw(3)
    expected = np.asarray(ORACLES[name](Image.fromarray(image), strength)).astype(int)
    # Pillow blends in integers, from a rounded gray.
    assert np.abs(apply(image, name, strength) - expected).max() <= 1


@pytest.mark.parametrize("name", ["shear_x", "shear_y", "rotate"])
def test_a_move_goes_both_ways_about_the_center_and_leaves_black(name: str) -> None:
    image = np.full((15, 15, 1), 200, np.uint8)
    image[7, 7] = 255
    found = [apply(image, name, strength)[..., 0] for strength in (-1.0, 1.0)]
    for moved in found:
        assert set(np.unique(moved)) == {0, 200, 255}
        assert moved[7, 7] == 255
    ramp = np.arange(225, dtype=np.uint8).reshape(15, 15, 1) + 5
    one, other = (apply(ramp, name, strength)[..., 0] for strength in (-1.0, 1.0))
    assert not np.array_equal(one, other)
    assert np.array_equal(found[0], found[0][::-1, ::-1])


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_every_operation_takes_any_channels_and_flat_images(depth: int) -> None:
    for name in trivial.OPERATIONS:
        flat = np.full((4, 5, depth), 70, np.uint8)
        assert apply(flat, name, 0.0).shape == flat.shape
        assert (apply(flat[:1, :1], name, 0.0) == 70).all()


def test_all_operations_are_drawn_and_a_host_draws_its_part() -> None:
    images = tf.constant(np.stack([draw(3)] * 500))
    seed = tf.constant([1, 2], tf.int64)
    whole = trivial.change(images, seed, (0, 500)).numpy()
    part = trivial.change(images[300:], seed, (300, 500)).numpy()
    assert np.array_equal(part, whole[300:])
    assert np.array_equal(whole, trivial.change(images, seed, (0, 500)).numpy())
    assert len(np.unique(whole.reshape(500, -1), axis=0)) > 150
    same = (whole == images.numpy()).all(axis=(1, 2, 3)).mean()
    assert 1 / 14 * 0.5 < same < 0.3
