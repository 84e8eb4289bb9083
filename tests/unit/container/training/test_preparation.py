"""How long a job trains unasked, and what its log says about it."""

from __future__ import annotations

import dataclasses

import pytest

from container.training import preparation, settings

START = "3 epochs of 2 steps of 64 images"


@pytest.mark.parametrize(
    ("images", "batch", "epochs"), [(59, 256, 100), (640, 64, 50), (60_000, 64, 3), (2, 1, 100)]
)
def test_a_few_photos_do_not_train_for_hundreds_of_epochs(
    images: int, batch: int, epochs: int
) -> None:
    chosen = settings.parse({"model": "small_cnn", "batch_size": str(batch)})[0]
    assert preparation.complete(chosen, images).epochs == epochs
    asked = dataclasses.replace(chosen, epochs=500)
    assert preparation.complete(asked, images).epochs == 500


@pytest.mark.parametrize(
    ("images", "plan"),
    [
        (59, "3 epochs of 1 step of 59 images"),
        (128, START),
        (150, f"{START}; each epoch leaves out 22 of 150 images, different ones each time"),
    ],
)
def test_the_log_says_what_an_epoch_leaves_out(images: int, plan: str) -> None:
    chosen = settings.parse({"model": "small_cnn", "batch_size": "64", "epochs": "3"})[0]
    chosen = preparation.complete(chosen, images)
    assert preparation.describe_plan(chosen, images) == plan
