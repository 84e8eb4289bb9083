"""Files on this disk as objects: links, loops, special files and names that S3 does not have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from container.errors import UserError
from local_test.data import storage
from local_test.data.local_objects import list_files, name_below
from tests.unit.local_test.made import nest


def test_a_link_back_to_a_directory_that_holds_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/a/file").touch()
    (tmp_path / "data/a/loop").symlink_to("..")

    with pytest.raises(UserError, match=r"a/loop is a link back to a directory that holds it"):
        list(list_files(f"file://{tmp_path}/data/"))


def test_links_elsewhere_are_followed_even_twice(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    (tmp_path / "data").mkdir()
    for name in ("one", "two"):
        (tmp_path / "data" / name).symlink_to("../other")

    listed = list_files(f"file://{tmp_path}/data/")

    names = [name_below(f"file://{tmp_path}/data/", uri) for uri, _ in listed]
    assert sorted(names) == ["one/file", "two/file"]


@pytest.mark.parametrize("target", ["nowhere", "itself"])
def test_a_link_to_nothing_is_an_error_that_names_it(target: str, tmp_path: Path) -> None:
    (tmp_path / "itself").symlink_to(target)

    with pytest.raises(UserError, match=rf"/itself is a link that leads nowhere, to {target}: "):
        list(list_files(f"file://{tmp_path}/"))


def test_a_fifo_is_not_an_object(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(UserError, match="an object has to be a file"):
        list(list_files(f"file://{tmp_path}/"))


@pytest.mark.parametrize(("name", "depth"), [("d", 1200), ("d" * 99, 12), ("d" * 200, 100)])
def test_a_name_that_is_too_long_for_s3_is_refused(name: str, depth: int, deep: Path) -> None:
    nest(deep, name, depth)

    with pytest.raises(UserError, match=r"at most 1024|File name too long"):
        list(list_files(f"file://{deep}/"))


@pytest.mark.parametrize("other", ["train.csv.gz", "train.csv.bak", "train.csv2", "train.csv~"])
def test_a_file_is_only_that_file(other: str, tmp_path: Path) -> None:
    for name in ("train.csv", other):
        (tmp_path / name).touch()

    listed = list(list_files(f"file://{tmp_path}/train.csv"))

    assert listed == [(f"file://{tmp_path}/train.csv", 0)]


@pytest.mark.parametrize("read", [storage.list_objects, storage.read])
def test_a_wrong_path_has_one_wording(read: Callable[[str], object], tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    for name, start in (
        ("trainin", f"{tmp_path}/trainin does not exist; did you mean {tmp_path}/training?"),
        ("no/such/x.csv", f"{tmp_path}/no/such/x.csv does not exist: {tmp_path}/no is missing"),
        ("training/x.csv", f"{tmp_path}/training/x.csv does not exist"),
    ):
        with pytest.raises(UserError) as caught:
            read(f"file://{tmp_path}/{name}")
        assert str(caught.value) == start
