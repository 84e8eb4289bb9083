"""Joining the records of a set: what makes its pixels look wrong is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from container.data import loading, sets
from container.data.formats.parts import Options

RANDOM = np.random.default_rng(0)
LABELS = np.arange(6) % 2


def _write(directory: Path, data_format: str, images: NDArray[Any]) -> None:
    """Write `[image, 8, 8]` in this format, with two classes."""
    if data_format == "npz":
        np.savez(directory / "set.npz", images=images, labels=LABELS)
        return
    pixels = images.astype(np.uint8)
    if data_format == "csv":
        rows = np.column_stack([LABELS, pixels.reshape(len(pixels), -1)])
        np.savetxt(directory / "rows.csv", rows, fmt="%d", delimiter=",")
        return
    for index, picture in enumerate(pixels):
        place = directory / f"class{LABELS[index]}" / f"{index}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(place)


@pytest.mark.parametrize(
    ("data_format", "dtype", "brightest"),
    [
        ("npz", np.bool_, 1),
        ("npz", np.uint8, 1),
        ("npz", np.float32, 1),
        ("npz", np.int64, 16),
        ("csv", np.uint8, 1),
        ("csv", np.uint8, 16),
        ("images", np.uint8, 1),
        ("images", np.uint8, 0),
    ],
)
@pytest.mark.parametrize("budget_bytes", [None, 100])  # in memory, and in scratch space
def test_values_on_another_scale_draw_a_warning_in_each_format(
    tmp_path: Path, data_format: str, dtype: type[Any], brightest: int, budget_bytes: int | None
) -> None:
    images = RANDOM.integers(0, brightest + 1, (6, 8, 8))
    images[-1, -1, -1] = brightest
    _write(tmp_path, data_format, images.astype(dtype))
    found = loading.load(tmp_path, Options(memory_budget_bytes=budget_bytes))
    text = sets.describe(found, "training")
    assert f"  warning: no pixel is above {brightest}, where 255 is white" in text
    assert int(found.images.max()) == brightest


@pytest.mark.parametrize("data_format", ["npz", "csv", "images"])
def test_one_bright_pixel_in_the_last_image_is_enough(tmp_path: Path, data_format: str) -> None:
    images = np.zeros((6, 8, 8), np.uint8)
    images[-1, -1, -1] = 32
    _write(tmp_path, data_format, images)
    assert loading.load(tmp_path).notes == ()


def test_shares_of_1_and_pictures_of_one_bit_are_on_the_right_scale(tmp_path: Path) -> None:
    (tmp_path / "floats").mkdir()
    _write(tmp_path / "floats", "npz", RANDOM.random((6, 8, 8)))
    assert loading.load(tmp_path / "floats").notes == ()
    for index in range(4):
        place = tmp_path / "bits" / f"class{index % 2}" / f"{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RANDOM.random((8, 8)) > 0.5).save(place)
    assert loading.load(tmp_path / "bits").notes == ()
