"""How far the compressed parts of one request may expand, all together (SEC-6)."""

from __future__ import annotations

from container import contract
from container.errors import RequestError


class Expansion:
    """The bytes that one request may still expand to; its encoding, archive and parts share it."""

    __slots__ = ("_maximum", "room")

    def __init__(self, bytes_maximum: int = contract.REALTIME_PAYLOAD_BYTES) -> None:
        self._maximum = bytes_maximum
        self.room = bytes_maximum

    def take(self, count: int) -> None:
        """Account for `count` bytes; call it before they are unpacked, where that is possible.

        Raises: RequestError 413 if there is not enough room.
        """
        self.room -= count
        if self.room < 0:
            raise RequestError(
                413,
                f"the body expands to more than {self._maximum} bytes; "
                f"{contract.MAX_PAYLOAD_VARIABLE} sets the limit",
            )
