"""Splitting sets: what a split takes away is said."""

from __future__ import annotations

import numpy as np

from container.data import sets
from container.data.images import LabeledImages


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
