"""Axes of arrays: pixels are taken in their order, or the array is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from container.data import loading
from container.data.array_shapes import find_shape
from container.data.formats.parts import Options, Shape
from container.errors import UserError


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ((28, 28), None, (28, 28, 1)),
        ((784,), None, (28, 28, 1)),
        ((1, 28, 28), None, (28, 28, 1)),
        ((32, 32, 3), None, (32, 32, 3)),
        ((64, 64, 13), None, (64, 64, 13)),
        ((1, 28, 3), None, (1, 28, 3)),
        ((784,), (28, 28, 1), (28, 28, 1)),
        ((3072,), (32, 32, 3), (32, 32, 3)),
        ((1, 28, 28), (28, 28, 1), (28, 28, 1)),
        ((28, 28, 1, 1), (28, 28, 1), (28, 28, 1)),
        ((3, 32, 32), (3, 32, 32), (3, 32, 32)),
    ],
)
def test_axes_that_keep_the_order_of_the_pixels_are_taken(
    found: tuple[int, ...], wanted: Shape | None, expected: Shape
) -> None:
    assert find_shape("x", found, wanted) == expected


@pytest.mark.parametrize(
    ("found", "wanted", "reason"),
    [
        ((3, 32, 32), None, "the channels come first"),
        ((4, 480, 640), None, "the channels come first"),
        ((3, 32, 32), (32, 32, 3), r"expected \[32, 32, 3\]; the channels come first"),
        ((28, 28), (14, 56, 1), r"shape \[28, 28\], expected \[14, 56, 1\]"),
        ((32, 32, 3), (32, 32, 1), "expected"),
        ((3072,), None, "set image_shape"),
        ((0, 28), None, "no pixels"),
        ((28, 0, 1), (28, 0, 1), "no pixels"),
        ((2, 2, 2, 2), None, "set image_shape"),
    ],
)
def test_other_axes_are_refused(found: tuple[int, ...], wanted: Shape | None, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        find_shape("x", found, wanted)


@pytest.mark.parametrize("shape", [None, (8, 8, 3)])
def test_images_of_pytorch_are_read_once_they_are_transposed(
    shape: Shape | None, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=[0, 1, 0, 1])
    with pytest.raises(UserError, match=r"save images\.transpose\(0, 2, 3, 1\)"):
        loading.load(tmp_path, Options(image_shape=shape))
    np.savez(tmp_path / "a.npz", images=images.transpose(0, 2, 3, 1), labels=[0, 1, 0, 1])
    assert np.array_equal(
        loading.load(tmp_path, Options(image_shape=shape)).images, images.transpose(0, 2, 3, 1)
    )
