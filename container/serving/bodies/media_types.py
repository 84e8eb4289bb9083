"""The media types of requests and answers; see `decoding` and `encoding` for which is which.

`docs/serving.md` says what each body is to the bundled model, a handler and a third-party model.
"""

import functools
from typing import Final

from container.serving.bodies import negotiation

CSV: Final = "text/csv"
JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonlines"
NPY: Final = "application/x-npy"
NPZ: Final = "application/x-npz"
RECORDIO: Final = "application/x-recordio-protobuf"
LIBSVM: Final = "text/libsvm"
PARQUET: Final = "application/x-parquet"
ARROW: Final = "application/vnd.apache.arrow.stream"
PNG: Final = "image/png"
JPEG: Final = "image/jpeg"
BMP: Final = "image/bmp"
PICTURE: Final = "application/x-image"
"""A picture of any of these kinds; its first bytes say which."""
MULTIPART: Final = "multipart/form-data"

PICTURES: Final = frozenset({PNG, JPEG, BMP, PICTURE})
PACKED: Final = frozenset({NPZ, MULTIPART, LIBSVM, PARQUET, ARROW})
"""Media types whose bodies may hold any number of images however short they are."""

ALIASES: Final = {
    **dict.fromkeys(
        (
            "application/jsonl",
            "application/x-jsonlines",
            "application/x-jsonl",
            "application/ndjson",
            "application/x-ndjson",
        ),
        JSON_LINES,
    ),
    **dict.fromkeys(("text/json", "application/x-json"), JSON),
    **dict.fromkeys(("application/csv", "text/x-csv", "application/x-csv"), CSV),
    **dict.fromkeys(("text/x-libsvm", "application/x-libsvm"), LIBSVM),
    **dict.fromkeys(("application/parquet", "application/vnd.apache.parquet"), PARQUET),
    **dict.fromkeys(
        ("application/vnd.apache.arrow.file", "application/x-arrow", "application/arrow"), ARROW
    ),
    **dict.fromkeys(("image/jpg", "image/pjpeg"), JPEG),
    **dict.fromkeys(("image/x-png",), PNG),
    **dict.fromkeys(("image/x-ms-bmp", "image/x-bmp"), BMP),
}
"""Other names of the same, as clients send them."""

# "ARROW1" begins a file, and eight bytes of a length a stream.
_FIRST_BYTES: Final = {
    b"\x89PNG": PNG,
    b"\xff\xd8\xff": JPEG,
    b"BM": BMP,
    b"\x93NUMPY": NPY,
    b"PK\x03\x04": NPZ,
    b"PAR1": PARQUET,
    b"ARROW1": ARROW,
    b"\xff\xff\xff\xff": ARROW,
    b"{": JSON,
    b"[": JSON,
}
_SUFFIXES: Final = {
    "csv": CSV,
    "json": JSON,
    "jsonl": JSON_LINES,
    "ndjson": JSON_LINES,
    "npy": NPY,
    "npz": NPZ,
    "libsvm": LIBSVM,
    "svm": LIBSVM,
    "parquet": PARQUET,
    "arrow": ARROW,
    "png": PNG,
    "jpg": JPEG,
    "jpeg": JPEG,
    "bmp": BMP,
}
# What clients send for a file of which they know nothing.
_UNTYPED: Final = frozenset({"", "application/octet-stream", "text/plain"})


def unify(name: str) -> str:
    """Return the name that this server uses for a media type; others as they are."""
    return ALIASES.get(name, name)


@functools.lru_cache(maxsize=256)
def parse(content_type: str) -> negotiation.MediaType:
    """Parse a content type, under the name that this server uses.

    Raises: RequestError 400 if it is too long.
    """
    name, parameters = negotiation.parse_media_type(content_type)
    return negotiation.MediaType(unify(name), parameters)


@functools.lru_cache(maxsize=256)
def choose(accept: str, offered: tuple[str, ...]) -> str | None:
    """Return the offered media type that `accept` prefers, under any of its names.

    None if it accepts none of them.

    Raises: RequestError 400 if `accept` is too long.
    """
    ranges = negotiation.split_accept(accept)
    return negotiation.choose(",".join(map(_rename, ranges)), offered)


def _rename(media_range: str) -> str:
    name, semicolon, parameters = media_range.partition(";")
    return unify(name.strip().lower()) + semicolon + parameters


def name_part(media_type: str, file_name: str, content: memoryview) -> str:
    """Return the media type of a part: what its head says, else by its file name or first bytes.

    "" if nothing says it.
    """
    if media_type not in _UNTYPED:
        return unify(media_type)
    suffix = file_name.rpartition(".")[2].lower()
    if "." in file_name and suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    head = bytes(content[:16]).lstrip()
    for first_bytes, name in _FIRST_BYTES.items():
        if head.startswith(first_bytes):
            return name
    return ""


def name_picture(body: bytes) -> str:
    """Return the media type of a picture by its first bytes; "" if it is none of ours."""
    for first_bytes, name in _FIRST_BYTES.items():
        if name in PICTURES and body.startswith(first_bytes):
            return name
    return ""
