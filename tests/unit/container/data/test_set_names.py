"""Sets in one channel: which names are sets, and that no test set is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from container.data import loading, set_names
from container.errors import UserError

ROW = b"1,1,2,3,4\n2,1,2,3,4\n"


def add(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(ROW)


@pytest.mark.parametrize(
    ("names", "sets"),
    [
        (["train", "test"], ["test", "train"]),
        (["Training Set", "Test Set"], ["Test Set", "Training Set"]),
        (["seg_train", "seg_test"], ["seg_test", "seg_train"]),
        (["mnist-train", "mnist-val", "other"], ["mnist-train", "mnist-val"]),
        (["trainImages", "validateImages"], ["trainImages", "validateImages"]),
        (["train2017", "val2017"], ["train2017", "val2017"]),
        (["bullet_train", "test_tube"], []),
        (["bullet_train", "freight_train"], []),
        (["cat", "dog", "trail"], []),
    ],
)
def test_names_that_differ_in_their_role_are_sets(names: list[str], sets: list[str]) -> None:
    assert set_names.list_sets(names) == sets


@pytest.mark.parametrize(
    ("files", "places"),
    [
        (["train.csv", "test.csv"], ["training={}/train.csv", "test={}/test.csv"]),
        (["mnist_train.csv", "mnist_test.csv"], ["training={}/mnist_train.csv"]),
        (["train/a.csv", "val/b.csv"], ["training={}/train ", "validation={}/val"]),
        (["data/train/a.csv", "data/test/b.csv"], ["test={}/data/test"]),
        (["train-00.csv", "train-01.csv", "t10k.csv"], ["test={}/t10k.csv"]),
        (["Training.csv", "Holdout.csv"], ["test={}/Holdout.csv"]),
    ],
)
def test_files_of_several_sets_are_refused_with_the_channels_that_were_meant(
    files: list[str], places: list[str], tmp_path: Path
) -> None:
    add(tmp_path, *files)
    with pytest.raises(UserError, match="are sets of images and not parts of one set") as caught:
        loading.load(tmp_path)
    for place in places:
        assert f"--channel {place.format(tmp_path)}" in f"{caught.value} "


@pytest.mark.parametrize(
    "files",
    [
        ["train-00.csv", "train-01.csv"],
        ["test.csv"],
        ["part-00.csv", "part-01.csv"],
        ["train/a.csv", "train/b.csv"],
        ["trains.csv", "contest.csv"],
    ],
)
def test_parts_of_one_set_are_read_together(files: list[str], tmp_path: Path) -> None:
    add(tmp_path, *files)
    assert len(loading.load(tmp_path).labels) == 2 * len(files)
