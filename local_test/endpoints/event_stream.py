"""AWS's event stream encoding: a message is a prelude, headers, a payload, and two checksums.

Source: the Smithy specification of `application/vnd.amazon.eventstream`.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from container.errors import RequestError

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
_STRING: Final = 7  # the type of a header's value
_PRELUDE_BYTES: Final = 12
_CHECKSUM_BYTES: Final = 4


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Encode one message."""
    encoded = b"".join(
        struct.pack(f"!B{len(name)}sBH{len(value)}s", len(name), name, _STRING, len(value), value)
        for name, value in ((name.encode(), value.encode()) for name, value in headers.items())
    )
    length = _PRELUDE_BYTES + len(encoded) + len(payload) + _CHECKSUM_BYTES
    prelude = struct.pack("!II", length, len(encoded))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + encoded + payload
    return message + struct.pack("!I", zlib.crc32(message))


def encode_event(kind: str, payload: bytes) -> bytes:
    """Encode an event whose payload is the bytes themselves."""
    content = {
        ":event-type": kind,
        ":content-type": "application/octet-stream",
        ":message-type": "event",
    }
    return encode(content, payload)


def encode_exception(kind: str, members: Mapping[str, str]) -> bytes:
    """Encode the error that ends a stream."""
    content = {
        ":exception-type": kind,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return encode(content, json.dumps(members).encode())


def encode_parts(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Wrap each part as an event; a stream that breaks ends with the API's own error event."""
    try:
        for part in parts:
            yield encode_event("PayloadPart", part)
    except RequestError as error:
        code = str(error).partition(":")[0]
        yield encode_exception("ModelStreamError", {"Message": str(error), "ErrorCode": code})
