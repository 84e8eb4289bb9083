"""Files that a container wrote: links are not followed, nothing waits, nothing is lost silently."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_test import container_files
from local_test.container_files import LeftOutError
from tests.unit.local_test.made import nest


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("secret")
    return path


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "job"
    (path / "output").mkdir(parents=True)
    yield path
    subprocess.run(["rm", "-rf", path], check=True)  # pytest could not remove the deep ones


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


MAKERS: dict[str, Callable[[Path], object]] = {
    "a symbolic link": lambda path: path.symlink_to("../../secret"),
    "a directory": Path.mkdir,
    "a socket, FIFO or device": os.mkfifo,
    "a socket": make_socket,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_only_a_regular_file_is_read_and_the_rest_is_a_finding(
    kind: str, base: Path, secret: Path
) -> None:
    findings: list[str] = []
    MAKERS[kind](base / "output/failure")

    assert container_files.read_start(base, "output/failure", 100, findings) == b""

    [finding] = findings
    assert finding.startswith(f"output/failure is {kind}")
    assert secret.read_text() == "secret"


def test_a_regular_file_is_read_up_to_the_limit_and_one_that_is_missing_is_no_finding(
    base: Path,
) -> None:
    findings: list[str] = []
    (base / "output/failure").write_text("because")

    assert container_files.read_start(base, "output/failure", 4, findings) == b"beca"
    assert container_files.read_start(base, "output/message", 4, findings) == b""
    assert container_files.read_start(base, "nowhere/message", 4, findings) == b""
    assert findings == []


@pytest.mark.parametrize("target", ["..", "/", "../other"])
def test_a_link_in_the_middle_of_a_path_is_not_followed(target: str, base: Path) -> None:
    (base / "failure").write_text("theirs")
    (base.parent / "other").mkdir()
    (base.parent / "other/failure").write_text("theirs")
    (base / "output").rmdir()
    (base / "output").symlink_to(target)
    findings: list[str] = []

    assert container_files.read_start(base, "output/failure", 100, findings) == b""
    assert findings == ["output is a symbolic link: not read"]


@pytest.mark.parametrize("name", ["../secret", "output/../../secret", "output/.."])
def test_a_name_cannot_lead_out_of_the_base(name: str, base: Path, secret: Path) -> None:
    assert secret.exists()
    with pytest.raises(LeftOutError, match="leads out"):
        container_files.open_file(base, name)


def test_a_tree_is_listed_in_order_without_following_links(base: Path, secret: Path) -> None:
    (base / "tree/b").mkdir(parents=True)
    (base / "tree/b/file").write_text("1")
    (base / "tree/a").write_text("2")
    (base / "tree/link").symlink_to("..")
    os.mkfifo(base / "tree/fifo")
    findings: list[str] = []

    entries = container_files.list_tree(base, "tree", findings)

    assert [entry.name for entry in entries] == ["b", "a", "fifo", "link", "b/file"]
    assert [entry.name for entry in entries if entry.is_file] == ["a", "b/file"]
    assert {entry.name: entry.target for entry in entries}["link"] == ".."
    assert findings == []
    assert container_files.list_tree(base, "nowhere", findings) == []
    assert secret.exists()


def test_a_tree_that_is_a_link_is_a_finding(base: Path) -> None:
    (base / "tree").symlink_to("output")
    findings: list[str] = []

    assert container_files.list_tree(base, "tree", findings) == []
    assert findings == ["tree is a symbolic link: not read"]


def test_a_file_that_became_something_else_after_it_was_listed_is_not_read(
    base: Path, secret: Path
) -> None:
    (base / "output/x").write_text("mine")
    [entry] = container_files.list_tree(base, "output", [])
    with entry.open() as file:
        assert file.read() == b"mine"

    (base / "output/x").unlink()
    (base / "output/x").symlink_to(secret)

    with pytest.raises(LeftOutError, match="output/x is a symbolic link"):
        entry.open()


def test_a_file_that_is_replaced_while_it_is_opened_is_not_read(
    base: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "output/x").symlink_to(secret)
    places = {"x": secret}  # as it was a moment before
    look = os.stat
    monkeypatch.setattr(os, "stat", lambda part, **where: look(places.get(part, part), **where))
    with pytest.raises(LeftOutError, match="x was replaced while it was read: not read"):
        container_files.open_file(base, "output/x")


def test_a_tree_with_longer_paths_than_the_system_takes_is_listed_and_removed(base: Path) -> None:
    nest(base / "output", "x" * 200, 40)
    findings: list[str] = []

    entries = container_files.list_tree(base, "output", findings)

    assert len(entries) == 41
    assert len(entries[-1].name) > 8000
    with entries[-1].open() as file:
        assert file.read() == b""
    assert findings == []
    container_files.remove_tree(base)
    assert not base.exists()


@pytest.mark.parametrize("depth", [102, 1200, 3000])
def test_what_lies_too_deep_is_a_finding_and_can_be_removed(depth: int, base: Path) -> None:
    nest(base / "output", "d", depth)
    findings: list[str] = []

    entries = container_files.list_tree(base, "output", findings)

    assert len(entries) == 101
    [finding] = findings
    assert "more than 100 directories in one another" in finding
    container_files.remove_tree(base)
    assert not base.exists()


def test_a_tree_is_removed_without_what_its_links_lead_to(base: Path, secret: Path) -> None:
    (base / "output/link").symlink_to(secret.parent)

    container_files.remove_tree(base)

    assert not base.exists()
    assert secret.exists()


def test_a_new_file_gets_its_directories(base: Path) -> None:
    assert container_files.write_new(base, "a/b/failure", b"why")
    assert (base / "a/b/failure").read_bytes() == b"why"
    assert not container_files.write_new(base, "a/b/failure", b"another")
    assert (base / "a/b/failure").read_bytes() == b"why"


@pytest.mark.parametrize("name", ["link/failure", "dangling", "../secret", "link"])
def test_a_new_file_never_goes_through_a_link(name: str, base: Path, secret: Path) -> None:
    (base.parent / "other").mkdir()
    (base / "link").symlink_to("../other")
    (base / "dangling").symlink_to("../other/new")

    assert not container_files.write_new(base, name, b"why")
    assert secret.read_text() == "secret"
    assert list((base.parent / "other").iterdir()) == []
