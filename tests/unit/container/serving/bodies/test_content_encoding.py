"""Content encodings of request bodies."""

import gzip
import zlib
from typing import Any

import pytest

from container.errors import RequestError
from container.serving.bodies import content_encoding
from container.serving.bodies.content_encoding import Expansion


def unpack(body: bytes, encoding: str = "gzip", maximum: int = 1000) -> bytes:
    return content_encoding.decode(body, encoding, Expansion(maximum))


def unpacking(body: bytes, encoding: str = "gzip") -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        unpack(body, encoding)
    return caught.value.status, str(caught.value)


def test_gzip_body_is_unpacked_up_to_the_limit() -> None:
    assert unpack(b"1,2", "") == b"1,2"
    assert unpack(gzip.compress(b"1,2"), "GZIP") == b"1,2"
    assert unpack(gzip.compress(b"1,") + gzip.compress(b"2")) == b"1,2"
    assert unpack(gzip.compress(bytes(1000))) == bytes(1000)
    assert unpacking(gzip.compress(bytes(1001)))[0] == 413
    assert unpacking(gzip.compress(bytes(500)) + gzip.compress(bytes(501)))[0] == 413
    assert unpacking(gzip.compress(bytes(10**8)))[0] == 413
    assert unpacking(gzip.compress(b"1,2")[:-1]) == (400, "the gzip body is cut off")
    assert unpacking(gzip.compress(b"1") + b"\x1f") == (400, "the gzip body is cut off")
    assert unpacking(b"1,2")[0] == 400
    assert unpacking(b"1,2", "br")[0] == 415


def test_gzip_members_of_any_length_are_joined() -> None:
    texts = [bytes([number]) * (number * 3571) for number in range(40)]
    body = b"".join(gzip.compress(text, number % 10) for number, text in enumerate(texts))

    assert unpack(body, maximum=10_000_000) == b"".join(texts)


def test_gzip_of_many_members_takes_work_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-6: zlib copies what follows a member, as often as it is handed the rest of the body."""
    handed: list[int] = []
    make = zlib.decompressobj

    class Counted:
        def __init__(self, **options: Any) -> None:
            self._stream = make(**options)

        def decompress(self, data: Any, maximum: int) -> bytes:
            handed.append(len(data))
            return self._stream.decompress(data, maximum)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

    def count(body: bytes) -> int:
        handed.clear()
        unpack(body, maximum=10_000_000)
        return sum(handed)

    part = gzip.compress(bytes(range(256)) * 20, 0)  # a member of 5 kB
    monkeypatch.setattr(content_encoding.zlib, "decompressobj", Counted)
    assert count(part * 400) < 6 * count(part * 100)
    monkeypatch.undo()
    assert unpacking(gzip.compress(b"") * 5000) == (400, "the gzip body has more than 4096 members")


def test_members_longer_than_a_piece_follow_one_another() -> None:
    members = [bytes([number]) * size for number, size in enumerate((10_000_000, 3, 2_500_000))]
    body = b"".join(gzip.compress(member, 1) for member in members)
    decoded = content_encoding.decode(body, "gzip", Expansion(13 * 10**6))
    assert decoded == b"".join(members)
