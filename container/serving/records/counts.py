"""How many records a body may hold: each takes microseconds, which a limit on bytes does not bound.

Rules of this file: pure; records are counted before they are decoded, where that is possible
(SEC-6).
"""

from typing import Final

from container.errors import RequestError

PARTS_MAXIMUM: Final = 10_000
"""Of a multipart body; also pictures in JSON."""
_RECORDS: Final = 100_000
_RECORD_BYTES: Final = 256
_ROWS: Final = 400_000
_ROW_BYTES: Final = 64


def check_records(count: int, body_bytes: int, what: str) -> None:
    """Check the number of lines or records: 100,000, or more if they are long on average.

    Raises: RequestError 413.
    """
    _check(count, max(_RECORDS, body_bytes // _RECORD_BYTES), what)


def check_rows(count: int, body_bytes: int) -> None:
    """Check the number of rows of CSV that are decoded in blocks. Raises: RequestError 413."""
    _check(count, max(_ROWS, body_bytes // _ROW_BYTES), "rows that are not plain numbers")


def check_parts(count: int, what: str) -> None:
    """Check the number of parts or pictures. Raises: RequestError 413."""
    _check(count, PARTS_MAXIMUM, what)


def _check(count: int, maximum: int, what: str) -> None:
    if count > maximum:
        message = f"the body holds more than {maximum} {what}; send fewer in one request"
        raise RequestError(413, f"{message}, or all in one application/x-npy")
