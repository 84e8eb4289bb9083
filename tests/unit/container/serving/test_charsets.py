"""Text from bodies in any charset, and without copies."""

import pytest

from container.errors import RequestError
from container.serving import charsets

TEXT = "a,é,中,\N{GRINNING FACE}\n" * 30_000


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "gb18030"])
def test_pieces_are_the_text(charset: str) -> None:
    body = TEXT.encode(charset)
    assert len(body) > 3 * 65_536

    assert "".join(charsets.decode_pieces(body, {"charset": charset})) == TEXT
    assert charsets.decode(body, {"charset": charset}) == TEXT


@pytest.mark.parametrize(("charset", "status"), [("", 400), ("utf-8", 400), ("utf-7", 415)])
def test_fault_of_a_piece_is_that_of_the_text(charset: str, status: int) -> None:
    parameters = {"charset": charset}
    body = b"a" * 70_000 + b"\xff"
    with pytest.raises(RequestError) as caught:
        list(charsets.decode_pieces(body, parameters))
    assert caught.value.status == status
    with pytest.raises(RequestError):
        charsets.decode(body, parameters)


@pytest.mark.parametrize("text", ["", "\n", "a", "a\r\n", "a\n" + "\r\n" * 100_000, "\na\n"])
def test_line_breaks_at_the_end_are_not_counted(text: str) -> None:
    assert charsets.find_end(text, "\r\n") == len(text.rstrip("\r\n"))
