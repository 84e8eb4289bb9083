"""Files of lines on a disk that is full for a while."""

from __future__ import annotations

from pathlib import Path

from local_test.data.line_file import LineFile
from tests.support import file_size_limit


def encode(line: str) -> bytes:
    return f"> {line}\n".encode()


def test_lines_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "new/file"
    file = LineFile(path, encode)
    with file_size_limit(20):
        assert file.append("first")
        assert not file.append("of which only a part would fit")
        assert path.read_text() == "> first\n"
        assert not file.append("second")
    assert file.append("third")
    file.close()
    expected = "> first\n> [2 line(s) are missing here: the disk was full]\n> third\n"
    assert path.read_text() == expected


def test_a_device_without_room_loses_lines_only() -> None:
    file = LineFile(Path("/dev/full"), encode)
    assert not file.append("x")
    file.close()
