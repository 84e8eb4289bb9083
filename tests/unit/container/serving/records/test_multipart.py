"""The parts of a body."""

import pytest

from container.errors import RequestError
from container.serving.bodies import media_types
from container.serving.records import multipart

BODY = (
    b'--b\r\nContent-Disposition: form-data; name="x"; filename="a, b.PNG"\r\n'
    b"Content-Type: image/png\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b--"
)


def test_part_has_its_type_its_file_name_and_its_content() -> None:
    parts = list(multipart.split(BODY, {"boundary": "b"}))
    found = [(part.content_type, part.file_name, bytes(part.content)) for part in parts]
    assert found == [("image/png", "a, b.PNG", b"1"), ("", "", b"2")]


@pytest.mark.parametrize("boundary", ["", "c"])
def test_body_without_its_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(RequestError, match="boundary"):
        list(multipart.split(BODY, {"boundary": boundary}))


@pytest.mark.parametrize(
    ("media_type", "file_name", "content", "name"),
    [
        ("text/csv", "a.png", b"", "text/csv"),
        ("image/jpg", "", b"", "image/jpeg"),
        ("text/plain", "a.CSV", b"", "text/csv"),
        ("application/octet-stream", "a.bin", b"\x93NUMPY", "application/x-npy"),
        ("", "", b"\x89PNG", "image/png"),
        ("", "", b" {", "application/json"),
        ("", "", b"1,2", ""),
    ],
)
def test_part_is_known_by_its_type_its_name_or_its_bytes(
    media_type: str, file_name: str, content: bytes, name: str
) -> None:
    assert media_types.name_part(media_type, file_name, memoryview(content)) == name
