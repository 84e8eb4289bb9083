"""Nested numbers in JSON, compared with Python's lists."""

import json
from typing import Any

import numpy as np
import pytest

from container.serving.records import nested_numbers

SHAPE = (2, 3, 1)
IMAGES: Any = np.arange(24).reshape(4, 2, 3, 1)


@pytest.mark.parametrize("nested", [(4, 6), (4, 2, 3), (4, 2, 3, 1)])
@pytest.mark.parametrize("scale", [1, -0.5])
@pytest.mark.parametrize("spaces", [("", ""), (" ", "\n")])
def test_nested_images_are_parsed_as_python_does(
    nested: tuple[int, ...], scale: float, spaces: tuple[str, str]
) -> None:
    images = IMAGES.reshape(nested) * scale
    text = json.dumps(images.tolist())[1:-1].replace(" ", spaces[0]).replace("]", spaces[1] + "]")

    parsed = nested_numbers.parse(text.encode(), len(nested) - 1, SHAPE)

    assert np.array_equal(parsed, IMAGES.reshape(4, 6) * scale)


@pytest.mark.parametrize(
    "text",
    [
        b"[1,2,3],[4,5,6]",
        b"[1,2,3,4,5]",
        b"[1,2,3,4,5,6],",
        b"[1,2,3,4,5,]",
        b"[1,2,3,4,5,6]7,[1,2,3,4,5,6]",
        b"[1,2,3,4,5,6],7[1,2,3,4,5,6]",
        b"[1,2,3,4,5,6] 7,[1,2,3,4,5,6]",
        b"[1 2,2,3,4,5,6]",
        b"[.5,2,3,4,5,6]",
        b"[true,2,3,4,5,6]",
        b'["1",2,3,4,5,6]',
        b"[1e,2,3,4,5,6]",
        b"[99999999999999999999,2,3,4,5,6]",
        b"",
    ],
)
def test_what_is_unusual_or_wrong_is_declined(text: bytes) -> None:
    assert nested_numbers.parse(text, 1, SHAPE) is None


def test_rows_of_several_channels_are_declined() -> None:
    assert nested_numbers.parse(b"[[1,2]]", 2, (1, 1, 2)) is None
