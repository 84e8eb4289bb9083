"""Pictures in base64 inside JSON, for the bundled model."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from container.errors import RequestError
from container.serving.bodies import decoding
from container.serving.bodies.content_encoding import Expansion
from container.serving.bodies.negotiation import MediaType

SHAPE = (2, 3, 1)


def encode(value: int, size: tuple[int, int] = (3, 2)) -> dict[str, str]:
    stream = io.BytesIO()
    Image.new("L", size, value).save(stream, "PNG")
    return {"b64": base64.b64encode(stream.getvalue()).decode()}


def decode(document: Any, resize: str = "refuse", room: int = 10_000) -> Any:
    body = json.dumps(document).encode()
    media_type = MediaType("application/json", {})
    return decoding.decode(media_type, body, SHAPE, Expansion(room), resize)


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [encode(1), encode(2)]},
        {"inputs": [{"image_bytes": encode(1)}, {"image_bytes": encode(2)}]},
        {"signature_name": "serving_default", "instances": [encode(1), encode(2)]},
        [encode(1), encode(2)],
    ],
)
def test_pictures_come_in_the_order_of_the_instances(document: Any) -> None:
    assert decode(document)[:, 0, 0, 0].tolist() == [1, 2]


def test_picture_of_any_size_is_treated_as_in_training() -> None:
    assert decode([encode(7, (30, 20))], "stretch").tolist() == np.full((1, *SHAPE), 7).tolist()


@pytest.mark.parametrize(
    ("document", "status", "message"),
    [
        ({"instances": [encode(1), {"b64": "a"}]}, 400, "instance 2: .*base64"),
        ({"instances": [{"b64": ""}]}, 400, "instance 1: "),
        ({"instances": [encode(1), [1]]}, 400, "instance 2 is not a picture"),
        ({"other": [encode(1)]}, 400, "no array of pictures"),
        ({"instances": [encode(1, (30, 20))]}, 400, "30x20"),
        ({"instances": [encode(1)] * 2000}, 413, "expands"),
        ({"instances": [{"b64": ""}] * 10_001}, 413, "more than 10000"),
        ({"instances": [encode(1)], "x": "y" * (1 << 20)}, 400, "more than pictures"),
    ],
)
def test_fault_is_named(document: Any, status: int, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        decode(document)
    assert caught.value.status == status


@pytest.mark.parametrize("number", [0, 1, 5, -1, True, False, 0.0, "#0", None, 10**30])
def test_no_number_of_the_clients_stands_for_a_picture(number: Any) -> None:
    """A number stands for each text in the JSON that is parsed; that of another is not taken."""
    for document in ([encode(1), {"b64": number}], [{"b64": number}]):
        with pytest.raises(RequestError, match="is not a picture in base64") as caught:
            decode({"instances": document})
        assert caught.value.status == 400


def test_line_of_two_pictures_is_refused() -> None:
    """BT-9: each line has one answer, and those behind it must not move."""
    two = ",".join([json.dumps(encode(1))] * 2)
    body = "\n".join([two, json.dumps(encode(2))]).encode()
    with pytest.raises(RequestError, match="2 lines of JSON hold 3 values"):
        decoding.decode(MediaType("application/jsonlines", {}), body, SHAPE, Expansion(10_000))
    images, errors = decoding.decode_with_faults(
        MediaType("application/jsonlines", {}), body, SHAPE, Expansion(10_000)
    )
    assert images[:, 0, 0, 0].tolist() == [2]
    assert list(errors) == [0]


def test_signature_is_looked_at_as_for_numbers() -> None:
    with pytest.raises(RequestError, match="no signature 'other'"):
        decode({"signature_name": "other", "instances": [encode(1)]})
