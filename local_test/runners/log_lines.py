"""Lines of a container's log."""

from collections.abc import Callable
from typing import Final

OnLine = Callable[[str, str], None]
"""Called with a host's name and one line of its log, without the line feed."""
LINE_BYTES: Final = 256 * 1024
"""The most that one line holds, as in the log service. A longer one is cut; nothing is dropped."""


class LineSplitter:
    """Splits output into lines as the log service does: at line feeds only (HPO-2).

    A line that is too long is cut after a carriage return if it contains one, so that no state of a
    progress bar is torn, and otherwise between two characters.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = bytearray()

    def feed(self, piece: bytes) -> None:
        """Take the next piece of output and pass on every line that it completes."""
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._add(end)
            self._pass_on(len(self._rest))
        self._add(rest)

    def close(self) -> None:
        """Pass on the last line if no line feed ended it."""
        if self._rest:
            self._pass_on(len(self._rest))

    def _add(self, part: bytes) -> None:
        self._rest += part
        while len(self._rest) > LINE_BYTES:
            self._pass_on(self._rest.rfind(b"\r", 0, LINE_BYTES) + 1 or self._find_character())

    def _find_character(self) -> int:
        """Return where the last character starts that does not fit completely."""
        end = LINE_BYTES
        while end > LINE_BYTES - 4 and self._rest[end] & 0xC0 == 0x80:  # inside a UTF-8 sequence
            end -= 1
        return end

    def _pass_on(self, size_bytes: int) -> None:
        self._on_line(self._rest[:size_bytes].decode("utf-8", "replace"))
        del self._rest[:size_bytes]


def split_states(line: str) -> list[str]:
    """Return what a line shows one after the other: the states of a progress bar, or the line."""
    states = [state for state in line.split("\r") if state]
    return states or [""]
