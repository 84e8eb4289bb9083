"""What the tests of request bodies share: images, and how bodies are made, decoded and refused."""

import io
from typing import Any

import numpy as np
import pytest

from container.errors import RequestError
from container.serving.bodies import decoding, negotiation
from container.serving.bodies.content_encoding import Expansion

SHAPE = (2, 3, 1)
IMAGES = np.arange(24, dtype=np.uint8).reshape(4, *SHAPE)


def decode(
    content_type: str,
    body: bytes,
    shape: tuple[int, int, int] = SHAPE,
    *,
    expansion_bytes: int = 1_000_000,
) -> Any:
    media_type = negotiation.parse_media_type(content_type)
    return decoding.decode(media_type, body, shape, Expansion(expansion_bytes))


def refusal(
    content_type: str,
    body: bytes,
    shape: tuple[int, int, int] = SHAPE,
    *,
    status: int = 400,
    expansion_bytes: int = 1_000_000,
) -> str:
    """Return the message with which a body is refused."""
    with pytest.raises(RequestError) as caught:
        decode(content_type, body, shape, expansion_bytes=expansion_bytes)
    assert caught.value.status == status
    return str(caught.value)


def save(function: Any, *arguments: Any, **options: Any) -> bytes:
    """Return what a function writes into a file."""
    stream = io.BytesIO()
    function(stream, *arguments, **options)
    return stream.getvalue()
