"""Lines of a container's log."""

from __future__ import annotations

from local_test.runners.log_lines import LineSplitter


def test_a_log_is_split_at_line_feeds_only() -> None:
    lines: list[str] = []
    splitter = LineSplitter(lines.append)
    for piece in (b"one\rmore\ntw", b"o\n", b"\xff last"):
        splitter.feed(piece)
    splitter.close()

    assert lines == ["one\rmore", "two", "\ufffd last"]  # HPO-2
