"""Folders of classes: which are none, and what is reported of other files."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from container.data import loading, sets
from container.data.formats.parts import Options
from container.errors import UserError


def add(root: Path, *names: str, content: bytes | None = None) -> None:
    stream = io.BytesIO()
    Image.new("L", (3, 3), 7).save(stream, "PNG")
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream.getvalue() if content is None else content)


@pytest.mark.parametrize(
    "names",
    [
        ("train", "test"),
        ("train", "val", "test"),
        ("Training", "Validation"),
        ("train2017", "val2017"),
        ("train_set", "test_set"),
        ("train-images", "eval-images"),
    ],
)
@pytest.mark.parametrize("below", ["a.png", "cat/a.png"])
def test_sets_in_place_of_classes_are_refused_with_the_command_that_was_meant(
    names: tuple[str, ...], below: str, tmp_path: Path
) -> None:
    add(tmp_path, *(f"{name}/{below}" for name in names))
    with pytest.raises(UserError, match="are sets of images and not classes") as caught:
        loading.load(tmp_path)
    assert f"--channel training={tmp_path}/{names[0]}" in str(caught.value)
    for name in names:
        assert f"={tmp_path / name}" in str(caught.value)


def test_sets_beside_another_directory_are_refused_if_classes_are_below_them(
    tmp_path: Path,
) -> None:
    add(tmp_path, "train/cat/a.png", "test/cat/a.png", "extra/cat/a.png")
    with pytest.raises(UserError, match=r"test, train below .* are sets of images"):
        loading.load(tmp_path)
    other = tmp_path / "classes"
    add(other, "train/a.png", "test/a.png", "car/a.png")
    assert loading.load(other).classes == ("car", "test", "train")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["cat/train/a.png", "cat/test/a.png", "dog/train/a.png"], "test, train below the classes"),
        (["train/cat/a.png", "cat/b.png", "dog/c.png"], "train in .* holds the directories of"),
    ],
)
def test_sets_within_classes_and_classes_within_a_set_are_refused(
    names: list[str], reason: str, tmp_path: Path
) -> None:
    add(tmp_path, *names)
    with pytest.raises(UserError, match=reason):
        loading.load(tmp_path)


@pytest.mark.parametrize("mark", [".gitkeep", ".DS_Store", "Thumbs.db"])
def test_a_directory_with_marks_only_is_named(mark: str, tmp_path: Path) -> None:
    add(tmp_path, "cat/a.png", "dog/b.png", f"bird/{mark}")
    note = "warning: the directories bird are empty and do not count as classes"
    assert note in loading.load(tmp_path).notes


@pytest.mark.parametrize("names", [("train", "car"), ("test", "control"), ("train", "trail")])
def test_classes_that_are_called_like_a_set_among_others_are_classes(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    add(tmp_path, *(f"{name}/a.png" for name in names))
    assert loading.load(tmp_path).classes == tuple(sorted(names))


def test_files_passed_over_are_counted_by_suffix_and_class_and_single_ones_named(
    tmp_path: Path,
) -> None:
    add(tmp_path, "cat/a.png", "dog/b.png")
    add(tmp_path, *(f"cat/{n}.heic" for n in range(3)), content=b"no format of ours")
    add(tmp_path, "dog/c.HEIC", "labels.txt", "dog/.hidden", content=b"no format of ours")
    add(tmp_path, "dog/d.jpg", content=b"")
    loaded = loading.load(tmp_path)
    assert len(loaded.labels) == 2
    text = sets.describe(loaded, "training")
    assert "passed over 6 files:" in text
    for line in ("3 .heic in cat", "dog/c.HEIC", "dog/d.jpg (empty)", "labels.txt"):
        assert f"    {line}" in text


def test_files_of_another_format_than_the_chosen_one_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n2,255\n")
    add(tmp_path, "picture.png")
    loaded = loading.load(tmp_path, Options(data_format="csv"))
    assert loaded.notes == ("passed over 1 file:", "  picture.png")


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".svg", ".mp4", ".npy.gz"])
def test_a_class_whose_every_picture_is_notes_ends_the_job(suffix: str, tmp_path: Path) -> None:
    add(tmp_path, "cat/a.png", "dog/b.png")
    add(tmp_path, f"bird/a{suffix}", f"bird/deeper/b{suffix}", content=b"no format of ours")
    with pytest.raises(UserError, match="would lose all their pictures") as caught:
        loading.load(tmp_path, Options(data_format="images"))
    assert f"bird: 2 {Path(suffix).suffix or suffix}" in str(caught.value)


def test_a_class_whose_every_picture_is_empty_or_damaged_ends_the_job(tmp_path: Path) -> None:
    add(tmp_path, "cat/a.png", "dog/b.png")
    add(tmp_path, "bird/a.jpg", content=b"")
    add(tmp_path, "fish/a.jpg", "fish/b.jpg", content=b"not a picture")
    with pytest.raises(UserError) as caught:
        loading.load(tmp_path, Options(bad_record_limit=9))
    assert "bird: 1 empty .jpg" in str(caught.value)
    assert "fish: 2 pictures that cannot be read" in str(caught.value)


def test_notes_and_folder_marks_are_no_classes(tmp_path: Path) -> None:
    add(tmp_path, "1/a.png", "+2/b.png")  # classes that become integers
    add(tmp_path, "annotations/a.xml", "docs/README", content=b"<a/>")
    add(tmp_path, "empty/folder", content=b"")
    assert loading.load(tmp_path).classes == (1, 2)


def test_each_picture_of_a_test_set_has_its_path(tmp_path: Path) -> None:
    add(tmp_path, "cat/a.png", "cat/b.png", "dog/c.png")
    add(tmp_path, "cat/bad.png", content=b"bad")

    loaded = loading.load(tmp_path, Options(role="test", bad_record_limit=1))

    assert loaded.names == ("cat/a.png", "cat/b.png", "dog/c.png")
    assert loaded.take(np.array([2, 0])).names == ("dog/c.png", "cat/a.png")
    training = loading.load(tmp_path, Options(bad_record_limit=1))
    assert training.names == ()  # of millions, in memory
    assert training.take(np.array([1])).names == ()


def test_pictures_beyond_the_memory_budget_keep_their_paths(tmp_path: Path) -> None:
    add(tmp_path, "cat/a.png", "dog/c.png")
    loaded = loading.load(tmp_path, Options(role="validation", memory_budget_bytes=1))
    assert loaded.names == ("cat/a.png", "dog/c.png")


def test_all_bad_pictures_are_named_with_the_remedy_first(tmp_path: Path) -> None:
    add(tmp_path, "cat/good.png", "dog/good.png")
    add(tmp_path, *(f"cat/bad{number:02}.png" for number in range(23)), content=b"bad")

    with pytest.raises(UserError) as caught:
        loading.load(tmp_path)

    first, *faults = str(caught.value).splitlines()
    assert "on_bad_record=skip" in first
    assert len(faults) == 21
    assert "cat/bad00.png: not a PNG" in faults[0]
    assert faults[-1] == "  - and 3 more"


def test_classes_below_other_directories_and_empty_classes_are_named(tmp_path: Path) -> None:
    add(tmp_path, *(f"fold{n}/{name}/{n}.png" for n in (1, 2) for name in ("cat", "dog")))
    add(tmp_path, "fold2/bird/a.png")
    (tmp_path / "fold3/cat").mkdir(parents=True)
    (tmp_path / ".cache").mkdir()
    doubts = loading.load(tmp_path).notes
    assert any("each of the classes fold1, fold2 has the directories cat, dog" in d for d in doubts)
    assert "warning: the directories fold3 are empty and do not count as classes" in doubts


@pytest.mark.parametrize("names", [("cat", "cat "), ("caf\xe9", "cafe\u0301"), ("1", "\ufeff1")])
def test_directories_that_become_one_class_are_named(
    names: tuple[str, str], tmp_path: Path
) -> None:
    add(tmp_path, *(f"{name}/{number}.png" for number, name in enumerate((*names, "dog"))))
    loaded = loading.load(tmp_path)
    assert len(loaded.classes) == 2
    [doubt] = [note for note in loaded.notes if "are the one class" in note]
    assert all(repr(name) in doubt for name in names)


@pytest.mark.parametrize(
    "names",
    [
        ("cat/a.png", "dog/b.png"),
        ("cat/1/a.png", "dog/2/b.png"),
        ("cat/young/a.png", "dog/young/b.png"),
        ("cat/young/a.png", "cat/old/a.png", "dog/young/b.png", "dog/old/b.png", "dog/c.png"),
        ("x/cat/a.png", "x/dog/b.png"),
    ],
)
def test_classes_with_directories_of_their_own_are_not_doubted(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    add(tmp_path, *names)
    assert not any("if these are the classes" in note for note in loading.load(tmp_path).notes)


def test_names_of_directories_that_are_not_utf_8_ask_for_their_charset(tmp_path: Path) -> None:
    names = ["caf\xe9", "caf\xe8"]
    for name in names:
        add(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name.encode("latin-1"))), "a.png")
    with pytest.raises(UserError, match=r"its label b'caf\\xe\d' is not utf-8; set charset"):
        loading.load(tmp_path)
    loaded = loading.load(tmp_path, Options(charset="latin-1"))
    assert sorted(map(str, loaded.classes)) == sorted(names)


@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
def test_names_of_directories_that_are_utf_8_are_taken_as_they_are(
    charset: str, tmp_path: Path
) -> None:
    add(tmp_path, "caf\xe9/a.png", "\u65e5\u672c/b.png")
    loaded = loading.load(tmp_path, Options(charset=charset))
    assert loaded.classes == ("caf\xe9", "\u65e5\u672c")
