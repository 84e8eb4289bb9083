"""Files of a channel: none vanishes, and what systems leave behind is not data."""

from __future__ import annotations

from pathlib import Path

import pytest

from container.data import detection
from container.errors import UserError


def test_links_to_directories_are_followed_and_a_loop_is_entered_once(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/a.png").write_bytes(b"a")
    channel = tmp_path / "channel"
    channel.mkdir()
    (channel / "cat").symlink_to("../pool")
    (channel / "dog").symlink_to("../pool")
    (tmp_path / "pool/up").symlink_to("..")
    (tmp_path / "pool/self").symlink_to("../channel")
    names = [str(path.relative_to(channel)) for path in detection.list_files(channel)]
    assert names == ["cat/a.png", "dog/a.png"]


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "b.png").symlink_to("absent.png")
    with pytest.raises(UserError, match=r"b\.png cannot be read, perhaps as a link"):
        detection.list_files(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["__MACOSX/cat/._a.png", "cat/._a.png", "cat/.DS_Store", "cat/Thumbs.db", "cat/desktop.ini"],
)
def test_what_systems_leave_behind_is_not_data(name: str, tmp_path: Path) -> None:
    for path in ("cat/a.png", name):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"data")
    assert detection.list_files(tmp_path) == [tmp_path / "cat/a.png"]


@pytest.mark.parametrize("name", ["train.csv.bak", "train.csv~", "train.old", "train.csv.orig"])
def test_a_backup_is_passed_over_and_counted(name: str, tmp_path: Path) -> None:
    for path in ("train.csv", name):
        (tmp_path / path).write_text("1,2,3,4,5\n")
    choice = detection.choose_files(tmp_path, "auto", None)
    assert choice.paths == [tmp_path / "train.csv"]
    assert choice.others == [tmp_path / name]


@pytest.mark.parametrize("name", ["train.csv", "train.tfrecord", "train-images-idx3-ubyte"])
def test_a_file_beside_its_compressed_copy_is_refused(name: str, tmp_path: Path) -> None:
    for path in (name, f"{name}.gz"):
        (tmp_path / path).write_bytes(b"data")
    with pytest.raises(UserError, match="each record would count twice"):
        detection.choose_files(tmp_path, "auto", None)
