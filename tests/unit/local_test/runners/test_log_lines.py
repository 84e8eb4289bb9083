"""Lines of a container's log."""

from __future__ import annotations

import pytest

from local_test.runners.log_lines import LINE_BYTES, LineSplitter, split_states


def split(*pieces: bytes) -> list[str]:
    lines: list[str] = []
    splitter = LineSplitter(lines.append)
    for piece in pieces:
        splitter.feed(piece)
    splitter.close()
    return lines


def test_a_log_is_split_at_line_feeds_only() -> None:
    lines = split(b"one\rmore\ntw", b"o\n", b"\n\xff last")

    assert lines == ["one\rmore", "two", "", "\ufffd last"]  # HPO-2


@pytest.mark.parametrize("size", [1, LINE_BYTES - 1, LINE_BYTES])
def test_a_line_that_fits_is_not_cut(size: int) -> None:
    assert split(b"a" * size, b"\nb\n") == ["a" * size, "b"]


@pytest.mark.parametrize("character", ["a", "\u00e9", "\u20ac", "\U0001f600"])
@pytest.mark.parametrize("shift", range(4))
def test_a_long_line_is_cut_between_characters_and_nothing_is_lost(
    character: str, shift: int
) -> None:
    text = "x" * shift + character * (3 * LINE_BYTES // len(character.encode()))
    body = text.encode()

    lines = split(*(body[start : start + 4093] for start in range(0, len(body), 4093)), b"\nend")

    assert "".join(lines) == text + "end"
    assert lines[-1] == "end"
    assert max(len(line.encode()) for line in lines) <= LINE_BYTES


def test_bytes_that_are_not_text_are_cut_too() -> None:
    lines = split(b"\x80" * (LINE_BYTES + 10))

    assert [len(line) for line in lines] == [LINE_BYTES - 4, 14]


def test_a_cut_keeps_every_state_of_a_progress_bar_in_one_piece() -> None:
    states = [f"{number:07d} of 9999999" for number in range(30_000)]

    lines = split("\r".join(states).encode())

    assert len(lines) == 3
    assert [state for line in lines for state in split_states(line)] == states


@pytest.mark.parametrize("end", [b"", b"\r"])
def test_output_without_line_feeds_costs_what_it_is_long(end: bytes) -> None:
    passed_on: list[int] = []
    held = []
    splitter = LineSplitter(lambda line: passed_on.append(len(line)))
    piece = (b"a" * 49 + (end or b"a")) * 80
    for count in range(1, 2_001):  # 8 MB, of which no piece copies what came before it
        splitter.feed(piece)
        held.append(count * len(piece) - sum(passed_on))

    assert max(held) <= LINE_BYTES


def test_states_of_a_progress_bar_are_shown_one_by_one() -> None:
    assert split_states("\r 10%\r 20%\r\r 30%\r") == [" 10%", " 20%", " 30%"]
    assert split_states("plain") == ["plain"]
    assert split_states("") == [""]
    assert split_states("ended by both\r") == ["ended by both"]
