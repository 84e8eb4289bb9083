"""Bodies of every media type to images, and the refusal of what has no decoder."""

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image

from container import contract
from container.data.pictures import geometry
from container.errors import RequestError
from container.serving.bodies import decoding, media_types, negotiation
from container.serving.bodies.content_encoding import Expansion
from tests.unit.container.serving.bodies.request_bodies import IMAGES, SHAPE, decode, refusal, save

images = st_numpy.arrays(np.uint8, st.tuples(st.integers(1, 5), *map(st.just, SHAPE)))


@given(images)
def test_every_media_type_decodes_to_the_same_images(expected: Any) -> None:
    flat = expected.reshape(len(expected), -1).tolist()
    as_csv = "\n".join(",".join(map(str, row)) for row in flat)
    bodies = [
        ("text/csv", as_csv.encode()),
        ("text/csv", as_csv.replace("\n", "\r\n").encode() + b"\r\n"),
        ("text/csv; charset=utf-16", as_csv.encode("utf-16")),
        ("text/csv", b"\xef\xbb\xbf" + as_csv.encode()),
        ("text/csv", as_csv.replace(",", ".0 , ").encode()),
        ("application/json", json.dumps(flat).encode()),
        ("application/json", json.dumps({"instances": flat}).encode()),
        ("application/json", json.dumps({"instances": expected.tolist()}).encode()),
        ("application/json", json.dumps(expected[..., 0].tolist()).encode()),
        ("application/x-npy", save(np.save, expected)),
        ("application/x-npy", save(np.save, np.asfortranarray(expected))),
        ("application/x-npy", save(np.save, expected.reshape(len(expected), -1).astype(">i4"))),
        ("application/x-npy", save(np.save, expected[..., 0].astype(np.float32))),
    ]
    for content_type, body in bodies:
        decoded = decode(content_type, body)
        assert decoded.dtype == np.uint8
        assert np.array_equal(decoded, expected), (content_type, body)


@given(
    images.filter(
        lambda array: bool(((array % 255) != 0).reshape(len(array), -1).any(axis=1).all())
    )
)
def test_fractions_of_255_decode_to_the_pixels_they_came_from(expected: Any) -> None:
    unit = expected / 255
    flat = unit.reshape(len(unit), -1).tolist()

    assert np.array_equal(decode("application/json", json.dumps(flat).encode()), expected)
    assert np.array_equal(
        decode("application/x-npy", save(np.save, unit.astype(np.float32))), expected
    )
    assert np.array_equal(
        decode("text/csv", "\n".join(",".join(map(str, row)) for row in flat).encode()), expected
    )


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "nonsense"]
)
def test_unknown_content_type_is_415_and_names_what_is_supported(content_type: str) -> None:
    """RQ-3."""
    with pytest.raises(RequestError, match=r"text/csv, application/json, .*image/png") as caught:
        decode(content_type, b"1,2,3,4,5,6")

    assert caught.value.status == 415


@pytest.mark.parametrize(
    "content_type", ["text/csv", "application/json", "application/x-npy", "image/png"]
)
def test_empty_body_is_400(content_type: str) -> None:
    """RQ-8."""
    assert "empty" in refusal(content_type, b"")


def to_multipart(parts: list[tuple[str, bytes]]) -> bytes:
    body = b"a preamble that is skipped"
    for content_type, content in parts:
        head = (
            f'Content-Disposition: form-data; name="a"; filename="b"\r\n'
            f"Content-Type: {content_type}"
        )
        body += b"\r\n--XX\r\n" + head.encode() + b"\r\n\r\n" + content
    return body + b"\r\n--XX--\r\n"


def test_multipart_decodes_its_parts_in_order() -> None:
    pictures = [
        ("image/png", save(Image.fromarray(image[:, :, 0]).save, format="PNG"))
        for image in IMAGES[:2]
    ]
    body = to_multipart([*pictures, ("application/x-npy", save(np.save, IMAGES[2:]))])

    assert np.array_equal(decode('multipart/form-data; boundary="XX"', body), IMAGES)


def test_multipart_shares_one_budget_among_its_parts() -> None:
    """SEC-6: each part is within the budget; all of them are not."""
    image = np.zeros((1000, *SHAPE), np.uint8)
    part = ("application/x-npz", save(np.savez_compressed, image))
    three = len(save(np.save, image)) * 3
    body = to_multipart([part] * 3)
    content_type = "multipart/form-data; boundary=XX"

    assert len(decode(content_type, body, expansion_bytes=three)) == 3000
    message = refusal(content_type, body, status=413, expansion_bytes=three - 1)
    assert message.startswith("part 3: the body expands to more than")


def test_multipart_of_pictures_expands_within_the_budget() -> None:
    """SEC-6: the first may be larger, because the model is made for it."""
    shape = (200, 200, 3)
    part = ("image/png", save(Image.new("RGB", (200, 200)).save, "PNG"))
    content_type = "multipart/form-data; boundary=XX"

    assert len(part[1]) < 1000
    assert len(decode(content_type, to_multipart([part]), shape, expansion_bytes=1)) == 1
    body = to_multipart([part] * 3)
    assert len(decode(content_type, body, shape, expansion_bytes=240_000)) == 3
    message = refusal(content_type, body, shape, status=413, expansion_bytes=239_999)
    assert message.startswith("part 3: ")


@pytest.mark.parametrize("kind", ["multipart", "instances", "lines"])
def test_many_large_pictures_of_little_data_are_decoded_within_the_budget(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-6: each takes much time to decode and little room in the body, and is made small."""
    picture = save(Image.new("L", (500, 400)).save, "PNG")
    decoded: list[object] = []
    resize = geometry.resize
    monkeypatch.setattr(geometry, "resize", lambda *given: decoded.append(1) or resize(*given))
    encoded = json.dumps({"b64": base64.b64encode(picture).decode()})
    content_type, body = {
        "multipart": (
            "multipart/form-data; boundary=XX",
            to_multipart([("image/png", picture)] * 100),
        ),
        "instances": (
            "application/json",
            f'{{"instances": [{", ".join([encoded] * 100)}]}}'.encode(),
        ),
        "lines": ("application/jsonlines", "\n".join([encoded] * 100).encode()),
    }[kind]
    media_type = media_types.parse(content_type)
    for decode_body in (decoding.decode, decoding.decode_with_faults):
        decoded.clear()
        with pytest.raises(RequestError, match="expands to more than") as caught:
            decode_body(media_type, body, SHAPE, Expansion(1_000_000), "stretch")
        assert caught.value.status == 413
        assert len(decoded) == 6


def test_a_bad_line_does_not_charge_the_good_ones_twice() -> None:
    picture = base64.b64encode(save(Image.new("L", SHAPE[1::-1]).save, "PNG")).decode()
    lines = [json.dumps({"b64": picture})] * 100 + [json.dumps({"b64": "AAAA"})]
    media_type = media_types.parse("application/jsonlines")
    room = math.prod(SHAPE) * 100

    images, errors = decoding.decode_with_faults(
        media_type, "\n".join(lines).encode(), SHAPE, Expansion(room)
    )
    assert images.shape == (100, *SHAPE)
    assert list(errors) == [100]


def test_multipart_part_with_a_long_head_is_refused() -> None:
    """SEC-6: the content types of parts are cached."""
    body = to_multipart([("text/csv; a=" + "b" * 9000, b"1,2,3,4,5,6")])

    assert "part 1 has a head of" in refusal("multipart/form-data; boundary=XX", body)


def test_multipart_fault_is_named_by_its_part() -> None:
    good = ("text/csv", b"1,2,3,4,5,6")

    assert "no boundary" in refusal("multipart/form-data", to_multipart([good]))
    assert "no part" in refusal("multipart/form-data; boundary=YY", to_multipart([good]))
    assert "closing boundary" in refusal(
        "multipart/form-data; boundary=XX", to_multipart([good])[:-6]
    )
    assert "part 2: row 1 has 2 columns" in refusal(
        "multipart/form-data; boundary=XX", to_multipart([good, ("text/csv", b"1,2")])
    )
    assert "part 1" in refusal(
        "multipart/form-data; boundary=XX", to_multipart([("text/html", b"")]), status=415
    )
    nested = to_multipart([("multipart/form-data; boundary=XX", b"1")])
    assert "part 1" in refusal("multipart/form-data; boundary=XX", nested, status=415)


@pytest.mark.parametrize(
    ("content_type", "lines", "faults"),
    [
        (
            "text/csv",
            [b"row 1,2,3,4,5,6", b"1,2,3,4,5,6", b"1,2", b"x,2,3,4,5,6"],
            {
                0: "row 1, column 1 is 'row 1'",
                2: "row 3 has 2 columns",
                3: "row 4, column 1 is 'x'",
            },
        ),
        (
            "application/jsonlines",
            [b"[1,2]", b"[1,2,3,4,5,6]", b'["line 1",2,3,4,5,6]'],
            {0: "line 1: ", 2: "line 3: row 1, column 1 is 'line 1'"},
        ),
    ],
)
def test_each_bad_line_is_named_by_its_number(
    content_type: str, lines: list[bytes], faults: dict[int, str]
) -> None:
    """BT-9."""
    media_type = negotiation.parse_media_type(content_type)

    decoded, errors = decoding.decode_with_faults(media_type, b"\n".join(lines), SHAPE)

    assert decoded.reshape(-1, 6).tolist() == [[1, 2, 3, 4, 5, 6]]
    assert errors.keys() == faults.keys()
    assert all(errors[number].startswith(faults[number]) for number in faults), errors


def test_a_transform_s_payload_of_bad_lines_gets_as_many_placeholders() -> None:
    """BT-9: no payload of the default size is refused for its bad lines if they are ordinary."""
    media_type = negotiation.parse_media_type("text/csv")
    line = b"x" * 124 + b"\n"
    payload_bytes = contract.TRANSFORM_PAYLOAD_DEFAULT_MB * 1024**2
    body = line * (payload_bytes // 126)
    assert len(decoding.decode_with_faults(media_type, body, SHAPE)[1]) == payload_bytes // 126
    assert payload_bytes < decoding._BAD_BYTES_MAXIMUM  # noqa: SLF001 - by their bytes


def test_bad_lines_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-6: each is decoded in Python, to name what is wrong with it."""
    media_type = negotiation.parse_media_type("text/csv")
    body = b"\n".join([b"1,2,3,4,5,6", *[b"1,2,3,4,5,x"] * 10])
    assert len(decoding.decode_with_faults(media_type, body, SHAPE)[1]) == 10
    monkeypatch.setattr(decoding, "_BAD_BYTES_MAXIMUM", 100)
    with pytest.raises(RequestError, match="10 records of 110 bytes cannot be decoded") as caught:
        decoding.decode_with_faults(media_type, body, SHAPE)
    assert caught.value.status == 400
    assert "the last: row 11, column 6 is 'x'" in str(caught.value)
