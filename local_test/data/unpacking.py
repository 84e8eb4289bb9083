"""Decompresses gzip within bounds: a small object may expand to fill memory and disk."""

import gzip
import io
import zlib
from typing import Final

from container.user_packages import archive

_PIECE_BYTES: Final = 1 << 20


def decompress_gzip(body: bytes) -> bytes:
    """Undo gzip, of any number of members.

    Raises: ValueError if the body is not complete gzip, or expands too far.
    """
    room = archive.count_room(len(body))
    decoded = io.BytesIO()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
            while piece := stream.read(_PIECE_BYTES):
                decoded.write(piece)
                if decoded.tell() > room:
                    message = f"it expands to more than {archive.EXPANSION_MAXIMUM} times its bytes"
                    raise ValueError(message)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error
    return decoded.getvalue()
