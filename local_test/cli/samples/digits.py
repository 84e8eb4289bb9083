"""Handwritten digits as CSV files: scikit-learn's `load_digits`, 1797 images of 8 x 8 pixels."""

import random
from dataclasses import dataclass
from pathlib import Path

TEST_SHARE = 5
"""One image in this many is a test image."""


@dataclass(frozen=True)
class Digits:
    """A directory for each channel, with one CSV: a header, then label and pixels (0-255)."""

    training: Path
    test: Path

    def test_rows(self) -> list[tuple[str, str]]:
        """Return every test image as its label and the CSV line of its pixels."""
        lines = (self.test / "digits.csv").read_text(encoding="ascii").splitlines()[1:]
        return [(label, pixels) for label, _, pixels in (line.partition(",") for line in lines)]


def write(directory: Path, seed: int = 0) -> Digits:
    """Write `training/digits.csv` and `test/digits.csv`, split at random."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes seconds

    bunch = load_digits()
    header = ",".join(["label", *(f"pixel{index}" for index in range(64))])
    rows = [
        ",".join([str(label), *(str(round(pixel * 255 / 16)) for pixel in pixels)])
        for label, pixels in zip(bunch.target.tolist(), bunch.data.tolist(), strict=True)
    ]
    random.Random(seed).shuffle(rows)  # noqa: S311 - a split, not a secret
    count = len(rows) // TEST_SHARE
    digits = Digits(directory / "training", directory / "test")
    for place, part in ((digits.test, rows[:count]), (digits.training, rows[count:])):
        place.mkdir(parents=True, exist_ok=True)
        (place / "digits.csv").write_text("\n".join([header, *part]) + "\n", encoding="ascii")
    return digits
