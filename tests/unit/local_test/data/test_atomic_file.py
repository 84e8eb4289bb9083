"""Files that appear complete or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_test.data.atomic_file import replacing


def test_a_reader_sees_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    target.write_text("old")

    with replacing(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"

    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    target.write_text("old")

    def write() -> None:
        with replacing(target) as partial:
            partial.write_text("ne")
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - the one raised above
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_writers_of_the_same_file_do_not_meet_and_its_name_may_be_as_long_as_any(
    tmp_path: Path,
) -> None:
    target = tmp_path / ("n" * 255)
    with replacing(target) as first, replacing(target) as second:
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"
