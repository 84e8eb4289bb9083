"""Answers that a handler makes piece by piece, as a generator of str or bytes (ST-1).

What is yielded is sent as it is: a handler frames its own records, such as lines or server-sent
events. Where the handler names no content type, the first piece decides: text or bytes.
"""

import contextlib
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, Final

TEXT: Final = "text/plain; charset=utf-8"
BYTES: Final = "application/octet-stream"


def is_stream(result: Any) -> bool:
    """Return whether a handler's result is made piece by piece."""
    return isinstance(result, (Iterator, AsyncIterator))


class Stream:
    """A handler's stream, as pieces of bytes; empty pieces are left out."""

    def __init__(self, result: Any) -> None:
        self._result = result
        self.content_type = BYTES
        """By the first piece, once that is there."""
        self._has_begun = False

    def __iter__(self) -> Generator[bytes, None, None]:
        """Yield the pieces of a synchronous stream.

        Raises: TypeError for a piece that is neither str nor bytes; what the handler raises.
        """
        if not isinstance(self._result, Iterator):
            raise TypeError("an asynchronous generator needs an `async def` handler to make it")
        try:
            for piece in self._result:
                encoded = self._encode(piece)
                if encoded:
                    yield encoded
        finally:
            close = getattr(self._result, "close", None)
            if close is not None:
                close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces of a stream that may be asynchronous; else as `__iter__`."""
        if not isinstance(self._result, AsyncIterator):
            with contextlib.closing(self.__iter__()) as pieces:
                for encoded in pieces:
                    yield encoded
            return
        try:
            async for piece in self._result:
                encoded = self._encode(piece)
                if encoded:
                    yield encoded
        finally:
            close = getattr(self._result, "aclose", None)
            if close is not None:
                await close()

    def _encode(self, piece: Any) -> bytes:
        if isinstance(piece, str):
            if not self._has_begun:
                self.content_type = TEXT
            encoded = piece.encode()
        elif isinstance(piece, (bytes, bytearray, memoryview)):
            encoded = bytes(piece)
        else:
            found = type(piece).__name__
            raise TypeError(f"the handler's stream yielded a {found}; yield str or bytes")
        self._has_begun = self._has_begun or bool(encoded)
        return encoded
