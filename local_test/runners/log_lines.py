"""Lines of a container's log."""

from __future__ import annotations

from collections.abc import Callable

OnLine = Callable[[str, str], None]
"""Called with a host's name and one line of its log, without the line feed."""


class LineSplitter:
    """Splits output into lines as the log service does: at line feeds only (HPO-2)."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        """Take the next piece of output and pass on every line that it completes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._on_line(line.decode("utf-8", "replace"))

    def close(self) -> None:
        """Pass on the last line if no line feed ended it."""
        if self._rest:
            self._on_line(self._rest.decode("utf-8", "replace"))
        self._rest = b""
