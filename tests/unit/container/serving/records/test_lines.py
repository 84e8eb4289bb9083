"""Lines of text bodies."""

import pytest

from container.errors import RequestError
from container.serving import charsets
from container.serving.records import lines


@pytest.mark.parametrize(
    ("text", "length"),
    [(b"", 0), (b" \n", 0), (b"1", 1), (b"1\n", 1), (b"1" + b"\n" * 1000, 1), (b" 1 ", 2)],
)
def test_white_space_at_the_end_is_not_counted(
    text: bytes, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block_bytes in (1, 7, 1000):
        monkeypatch.setattr(lines, "_BLOCK_BYTES", block_bytes)
        assert charsets.find_end(text) == length == len(text.rstrip())


def test_lines_are_split_in_any_charset() -> None:
    assert list(lines.split(b"1\n\n2\n", {})) == [b"1", b"", b"2"]
    assert list(lines.split("1\n2\n".encode("utf-16"), {})) == [b"1", b"2"]
    assert list(lines.split(b"", {})) == [b""]
    with pytest.raises(RequestError, match="charset 'x' is not supported"):
        list(lines.split(b"1", {"charset": "x"}))


def test_more_lines_than_can_be_decoded_are_413_before_the_first() -> None:
    with pytest.raises(RequestError, match="more than 100000 lines") as caught:
        next(lines.split(b"1\n" * 100_002, {}))
    assert caught.value.status == 413
