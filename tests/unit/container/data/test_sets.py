"""Splitting sets: what a split takes away is said."""

from __future__ import annotations

import numpy as np

from container.data import sets
from container.data.images import LabeledImages


def test_images_as_small_as_rows_of_a_table_draw_a_warning() -> None:
    for side, is_said in ((3, True), (7, False)):
        images = np.zeros((2, side, side, 1), np.uint8)
        found = LabeledImages(images, np.arange(2, dtype=np.int32), ("cat", "dog"))
        assert ("if they are a table" in sets.describe(found, "training")) is is_said


def test_a_class_of_which_all_images_are_held_out_is_named() -> None:
    labels = np.array([0] * 20 + [1], np.int32)
    images = LabeledImages(np.zeros((21, 2, 2, 1), np.uint8), labels, ("cat", "dog"))
    notes = []
    for seed in range(20):
        kept, held_out = sets.split(images, 0.5, seed)
        assert len(kept.labels) + len(held_out.labels) == 21
        assert held_out.notes == ()
        is_lost = 1 not in kept.labels
        assert bool(kept.notes) == is_lost
        notes += kept.notes
    assert set(notes) == {"warning: all images of dog are held out"}
