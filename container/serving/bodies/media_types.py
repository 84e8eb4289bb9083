"""The media types of requests and answers; see `decoding` and `encoding` for which is which."""

from typing import Final

CSV: Final = "text/csv"
JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonlines"
NPY: Final = "application/x-npy"
NPZ: Final = "application/x-npz"
RECORDIO: Final = "application/x-recordio-protobuf"
PNG: Final = "image/png"
JPEG: Final = "image/jpeg"
BMP: Final = "image/bmp"
MULTIPART: Final = "multipart/form-data"

PICTURES: Final = frozenset({PNG, JPEG, BMP})
PACKED: Final = frozenset({NPZ, MULTIPART})
"""Media types whose bodies may hold any number of images however short they are."""
