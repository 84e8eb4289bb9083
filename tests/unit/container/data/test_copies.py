"""Copies of images are named, within a set and across sets, in each format and from a pipe."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from container import contract
from container.data import loading
from container.data.formats.parts import Options
from container.data.gathering import run_ahead
from container.training.input import channels
from container.training.settings import Settings

NOISE = np.random.default_rng(3).integers(0, 256, (9, 8, 8), np.uint8)


def write(directory: Path, kind: str, images: NDArray[np.uint8], labels: list[int]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if kind == "npz":
        np.savez(directory / "set.npz", images=images, labels=labels)
    elif kind == "csv":
        rows = np.column_stack([labels, images.reshape(len(images), -1)])
        # Blank lines are no rows.
        text = "\n".join([*(",".join(map(str, row)) + "\n" for row in rows.tolist()), ""])
        (directory / "rows.csv.gz").write_bytes(gzip.compress(text.encode()))
    else:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = directory / f"{label}/{index}.{kind}"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(path, lossless=True)


def places(directory: Path, kind: str, *pictures: tuple[int, int]) -> list[str]:
    """Name images by class and index, as messages do."""
    if kind in ("png", "webp"):
        return [f"{directory}/{label}/{index}.{kind}" for label, index in pictures]
    if kind == "npz":
        return [f"{directory}/set.npz, images, image {index}" for _, index in pictures]
    return [f"{directory}/rows.csv.gz, row {2 * index + 1}" for _, index in pictures]


@pytest.mark.parametrize("budget_bytes", [None, 100])  # in memory, and in scratch space
@pytest.mark.parametrize("kind", ["png", "webp", "csv", "npz"])
def test_copies_in_a_set_are_counted_and_the_first_is_named(
    kind: str, budget_bytes: int | None, tmp_path: Path
) -> None:
    images = NOISE[[0, 1, 0, 2, 0, 1]]
    write(tmp_path, kind, images, [0, 0, 0, 1, 1, 1])
    notes = loading.load(tmp_path, Options(memory_budget_bytes=budget_bytes)).notes
    one, same, contrary = places(tmp_path, kind, (0, 0), (0, 2), (1, 4))
    repeated, doubtful = notes
    assert repeated == (
        "warning: 1 images have the pixels of an earlier one of their class, which counts twice; "
        f"remove the copies if this is wrong; the first: {same} equals {one}"
    )
    assert doubtful == (
        "warning: 2 images have the pixels of an earlier one of another class; remove the one "
        f"whose label is wrong; the first: {contrary} equals {same}"
    )


@pytest.mark.parametrize("kind", ["png", "csv", "npz"])
def test_different_images_and_images_of_one_brightness_are_no_copies(
    kind: str, tmp_path: Path
) -> None:
    blank = np.full((3, 8, 8), 200, np.uint8)
    write(tmp_path, kind, np.concatenate([NOISE, blank]), [0] * 6 + [1] * 6)
    assert loading.load(tmp_path).notes == ()


@pytest.mark.parametrize("skipped", [False, True])
@pytest.mark.parametrize("kind", ["png", "csv"])
def test_test_images_that_are_in_the_training_set_are_counted(
    kind: str,
    skipped: bool,
    tmp_path: Path,
) -> None:
    layout = contract.Layout(tmp_path)
    training, test = layout.channel("train"), layout.channel("test")
    write(training, kind, NOISE[:6], [0, 1, 0, 1, 0, 1])
    write(test, "png", NOISE[[8, 3, 7, 5]], [0, 1, 1, 0])
    chosen = Settings(validation_fraction=0.2)
    if skipped:  # which moves the others
        chosen = dataclasses.replace(chosen, on_bad_record="skip")
        (test / "0/damaged.png").write_bytes(b"no picture")
    config = contract.TrainingConfig()
    lines: list[str] = []
    found = channels.find(layout, config)
    sets = channels.load(layout, found, chosen, run_ahead, lines.append)
    [line] = [line for line in lines if "training set" in line]
    [image] = places(test, "png", (0, 3))
    [twin] = places(training, kind, (1, 5))
    assert line == (
        "  warning: 2 of the 4 test images are in the training set, too, so that what is measured "
        f"is too good; remove them from one of the two; the first: {image} equals {twin}"
    )
    assert sets.training.prints is None
