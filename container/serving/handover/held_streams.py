"""Streams of user code, whose ends are seen exactly once: when they end, fail or are closed.

Generators would not do: the `finally` of one that has not been started does not run.

Rules of this file: what user code raises while it cleans up is logged, and ends nothing else.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, TypeVar

from container.serving import inference
from container.serving.exchange import FAULTS

Pieces = TypeVar("Pieces")


class _Held(Generic[Pieces]):
    """Reports, once, how a stream has ended."""

    def __init__(
        self, pieces: Pieces, status: int, end: Callable[[int], None], body: bytes = b""
    ) -> None:
        """`end` is called with `status`, or with 500 if a piece or the end fails.

        Nothing of `body`, the request's, is logged.
        """
        self._pieces = pieces
        self._status = status
        self._end = end
        self._body = body
        self._has_ended = False

    def _finish(self, error: BaseException | None = None) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._end(self._status if error is None else 500)

    def _finish_closed(self, error: BaseException | None) -> None:
        if error is not None:
            inference.fail(error, self._body)
        self._finish(error)


class HeldStream(_Held[Iterator[bytes]], Iterator[bytes]):
    """The pieces of a stream, which keeps its turn until it has ended or is closed."""

    def __next__(self) -> bytes:
        """Compute the next piece. Raises: what the handler raises, after the stream's end."""
        try:
            return next(self._pieces)
        except StopIteration:
            self._finish()
            raise
        except BaseException as error:
            self._finish(error)
            raise

    def close(self) -> None:
        """End the stream, as its client does not take the rest."""
        close = getattr(self._pieces, "close", None)
        fault: BaseException | None = None
        try:
            if close is not None:
                close()
        except FAULTS as error:
            fault = error
        finally:
            self._finish_closed(fault)


class AsyncHeldStream(_Held[AsyncIterator[bytes]], AsyncIterator[bytes]):
    """The pieces of an asynchronous stream."""

    async def __anext__(self) -> bytes:
        """Compute the next piece, as `HeldStream` does."""
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            self._finish()
            raise
        except BaseException as error:
            self._finish(error)
            raise

    async def aclose(self) -> None:
        """End the stream, as its client does not take the rest."""
        fault: BaseException | None = None
        try:
            await close(self._pieces)
        except FAULTS as error:
            fault = error
        finally:
            self._finish_closed(fault)


async def close(pieces: AsyncIterator[bytes]) -> None:
    """Let a generator that is left clean up behind itself."""
    aclose = getattr(pieces, "aclose", None)
    if aclose is not None:
        await aclose()
