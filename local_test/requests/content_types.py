"""The content type of a file that `invoke` sends: by the suffix of its name, or by its first bytes.

Rules of this file: it knows the registered and customary names of types, and nothing of what any
container takes.
"""

import json
from pathlib import PurePath
from typing import Final

CSV: Final = "text/csv"
JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonlines"
UNKNOWN: Final = "application/octet-stream"

_SUFFIXES: Final = {
    ".csv": CSV,
    ".json": JSON,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".parquet": "application/x-parquet",
    ".arrow": "application/vnd.apache.arrow.stream",
    ".libsvm": "text/libsvm",
    ".svm": "text/libsvm",
    ".recordio": "application/x-recordio-protobuf",
    ".pbr": "application/x-recordio-protobuf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpe": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".txt": "text/plain",
}
_FIRST_BYTES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"BM", "image/bmp"),
    (b"\x93NUMPY", "application/x-npy"),
    (b"PK\x03\x04", "application/x-npz"),
    (b"PAR1", "application/x-parquet"),
    (b"ARROW1", "application/vnd.apache.arrow.stream"),
    (b"\xff\xff\xff\xff", "application/vnd.apache.arrow.stream"),
    (b"\x0a\x23\xd7\xce", "application/x-recordio-protobuf"),
)
_TEXT_BYTES: Final = 4096  # of a body without a telling start, read to see whether it is text


def guess(name: str, body: bytes) -> str:
    """Return the content type of a file: by its name, or else by its content.

    The first bytes of a picture count more than its name, as cameras and browsers store one kind
    under the suffix of another. Text that is neither JSON nor JSON lines is `text/csv`, as the
    service's own examples send it; bytes that nothing identifies are `application/octet-stream`.
    """
    found = guess_from_content(body)
    if found.startswith("image/"):
        return found
    return _SUFFIXES.get(PurePath(name).suffix.lower(), found)


def guess_from_content(body: bytes) -> str:
    """Return the content type of a body that has no name."""
    if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
        return "image/webp"
    for start, content_type in _FIRST_BYTES:
        # Two letters also begin words, so a bitmap must not be text.
        if body.startswith(start) and not (start == b"BM" and is_text(body)):
            return content_type
    if not is_text(body):
        return UNKNOWN
    text = body.decode("utf-8-sig").lstrip()
    if not text.startswith(("{", "[")):
        return CSV
    return _tell_json_from_lines(text)


def is_text(body: bytes) -> bool:
    """Return whether a body is text in UTF-8 without control characters, by its first bytes."""
    start = body[:_TEXT_BYTES]
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(body) <= _TEXT_BYTES or error.start < len(start) - 3:
            return False
        text = start[: error.start].decode("utf-8")  # a character is cut in two
    return all(character.isprintable() or character in "\ufeff\t\r\n\f" for character in text)


def _tell_json_from_lines(text: str) -> str:
    """Return the type of text that begins as JSON: lines if the first of several is complete."""
    first, _, rest = text.partition("\n")
    if not rest.strip():
        return JSON
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return JSON
    return JSON_LINES
