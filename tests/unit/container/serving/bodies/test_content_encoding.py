"""Content encodings of request bodies."""

import gzip

import pytest

from container.errors import RequestError
from container.serving.bodies import content_encoding


def unpacking(body: bytes, encoding: str, maximum: int = 1000) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        content_encoding.decode(body, encoding, maximum)
    return caught.value.status, str(caught.value)


def test_gzip_body_is_unpacked_up_to_the_limit() -> None:
    assert content_encoding.decode(b"1,2", "", 1000) == b"1,2"
    assert content_encoding.decode(gzip.compress(b"1,2"), "GZIP", 1000) == b"1,2"
    assert (
        content_encoding.decode(gzip.compress(b"1,") + gzip.compress(b"2"), "gzip", 1000) == b"1,2"
    )
    assert content_encoding.decode(gzip.compress(bytes(1000)), "gzip", 1000) == bytes(1000)
    assert unpacking(gzip.compress(bytes(1001)), "gzip")[0] == 413
    assert unpacking(gzip.compress(bytes(10**8)), "gzip")[0] == 413
    assert unpacking(gzip.compress(b"1,2")[:-1], "gzip") == (400, "the gzip body is cut off")
    assert unpacking(b"1,2", "gzip")[0] == 400
    assert unpacking(b"1,2", "br")[0] == 415
