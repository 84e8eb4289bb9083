"""Files of a channel: none vanishes, and what systems leave behind is not data."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.data import detection, loading
from container.errors import UserError

EXAMPLES = int(os.environ.get("READER_EXAMPLES", "12"))


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


def test_a_broken_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "b.png").symlink_to("absent.png")
    with pytest.raises(
        UserError, match=r"b\.png cannot be read, perhaps because it is a broken link"
    ):
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


@pytest.mark.parametrize("data_format", ["auto", "csv"])
@pytest.mark.parametrize("name", ["train.py", "a/train.PY", "notes.md", "labels.json"])
def test_code_and_notes_are_never_rows(name: str, data_format: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for path in ("rows", name):
        (tmp_path / path).write_text("1,2,3,4,5\n")
    (tmp_path / "rows.txt").write_text("label,a,b,c,d\n1,2,3,4,5\n")
    choice = detection.choose_files(tmp_path, data_format, None)
    assert choice.paths == [tmp_path / "rows"]
    (tmp_path / "rows").unlink()
    if data_format == "auto":
        with pytest.raises(UserError, match=r"holds no labeled images: found .*rows\.txt"):
            detection.choose_files(tmp_path, data_format, None)
        return
    choice = detection.choose_files(tmp_path, data_format, None)
    assert choice.paths == [tmp_path / "rows.txt"]
    assert choice.others == [tmp_path / name]


def test_code_is_not_read_even_if_nothing_else_is_there(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(1)\n")
    with pytest.raises(UserError, match=r"holds no CSV files: found train\.py"):
        detection.choose_files(tmp_path, "csv", None)


@pytest.mark.parametrize("name", ["train.csv", "train.tfrecord", "train-images-idx3-ubyte"])
def test_a_file_beside_its_compressed_copy_is_refused(name: str, tmp_path: Path) -> None:
    for path in (name, f"{name}.gz"):
        (tmp_path / path).write_bytes(b"data")
    with pytest.raises(UserError, match="each record would count twice"):
        detection.choose_files(tmp_path, "auto", None)


@pytest.mark.parametrize("name", ["cat/@eaDir/a.png", "$RECYCLE.BIN/b.png", "cat/thumbs.db"])
def test_what_disk_stations_leave_behind_is_not_data(name: str, tmp_path: Path) -> None:
    for path in ("cat/a.png", name):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"data")
    assert detection.list_files(tmp_path) == [tmp_path / "cat/a.png"]


ROWS = "1,2,3,4,255\n2,2,3,5,255\n"


@pytest.mark.parametrize(
    "name", ["train.csv.1", "train.csv_old", "train.csv (1)", "train.csv-2020-01-01", "train.CSV.x"]
)
def test_a_copy_by_its_name_is_refused(name: str, tmp_path: Path) -> None:
    original = name[: len("train.csv")]
    for path in (original, name):
        (tmp_path / path).write_text(ROWS)
    with pytest.raises(UserError, match=r"each record would count twice; remove one of them"):
        loading.load(tmp_path)
    (tmp_path / original).unlink()
    assert len(loading.load(tmp_path).labels) == 2


def test_an_archive_beside_its_compressed_copy_is_refused(tmp_path: Path) -> None:
    for name in ("train.tar", "train.tgz"):
        (tmp_path / name).write_bytes(b"data")
    with pytest.raises(UserError, match=r"train\.tar and train\.tgz are in one channel"):
        detection.choose_files(tmp_path, "auto", None)


NAMES = {
    "rows.csv": ROWS,
    "part-0": ROWS,
    "sub/more.csv": ROWS.replace("3", "7"),
    "last.csv.gz": ROWS.replace("3", "8"),
    "README.md": "notes",
    "rows.xlsx": "another format",
    "rows.csv.bak": ROWS,
    "sub/rows.csv~": ROWS,
    "empty.csv": "",
    "_SUCCESS": "",
    ".hidden.csv": ROWS,
    ".git/rows.csv": ROWS,
    "Thumbs.db": "pictures",
    "__MACOSX/rows.csv": ROWS,
}
"""Files of a channel, and what they hold; those below `UNSEEN` are hidden."""
UNSEEN = (".hidden.csv", ".git/rows.csv", "Thumbs.db", "__MACOSX/rows.csv")


@settings(max_examples=EXAMPLES)
@given(st.sets(st.sampled_from(sorted(NAMES))))
def test_every_file_is_read_or_counted(names: set[str]) -> None:
    seen = sorted(names.difference(UNSEEN))
    readable = [name for name in seen if NAMES[name] and name.endswith((".csv", ".gz", "-0"))]
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in names:
            content = NAMES[name].encode()
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(gzip.compress(content) if "gz" in name else content)
        if not readable:
            with pytest.raises(UserError, match="holds no labeled images"):
                loading.load(root)
            return
        choice = detection.choose_files(root, "auto", None)
        assert sorted(str(path.relative_to(root)) for path in choice.paths) == sorted(readable)
        assert sorted(str(p.relative_to(root)) for p in [*choice.paths, *choice.others]) == seen
        loaded = loading.load(root)
    assert len(loaded.labels) == 2 * len(readable)
    passed = len(seen) - len(readable)
    assert (f"passed over {passed} file{'s' * (passed != 1)}:" in loaded.notes) == bool(passed)
    twins = {"rows.csv", "part-0"} <= names
    assert any("have the pixels of an earlier one" in note for note in loaded.notes) == twins
