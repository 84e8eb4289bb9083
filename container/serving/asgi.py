"""The application for gunicorn's own ASGI worker: `/ping` and `/invocations` from the core, all else from Flask.

Rules of this file: as in `worker`, what costs more than a few milliseconds leaves the loop, behind
a bounded queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from container.errors import RequestError
from container.serving import inference, wsgi
from container.serving.event_worker.http1 import Head
from container.serving.server_settings import Settings
from container.serving.telemetry import logs

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class AsgiApplication:
    """An ASGI 3 application around what answers `/invocations`, and a WSGI application for the other routes."""

    def __init__(
        self, application: inference.Application, others: wsgi.Application, settings: Settings
    ) -> None:
        self._application = application
        self._others = others
        self._settings = settings
        self._predictions = ThreadPoolExecutor(1, "predict")
        self._waiting = 0
        self._threads = ThreadPoolExecutor(settings.threads, "other")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; other kinds of connections are not served."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        started = time.monotonic()
        headers: dict[str, str] = {}
        for key, value in scope["headers"]:
            name, text = key.decode("latin-1"), value.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        body = b""
        try:
            body = await self._read(headers, receive)
            response = await self._answer(scope, headers, body)
        except RequestError as error:
            response = inference.refuse(error.status, str(error))
            if error.status == 413 and "expect" not in headers:
                await _discard_body(receive)
        named = [("Content-Type", response.content_type), *response.headers]
        if response.rest is None:
            named.append(("Content-Length", str(len(response.body))))
        encoded = [(name.encode(), text.encode("latin-1")) for name, text in named]
        await send({"type": "http.response.start", "status": response.status, "headers": encoded})
        is_broken, bytes_out = False, 0 if scope["method"] == "HEAD" else len(response.body)
        while response.rest is not None and response.body:
            await send({"type": "http.response.body", "body": response.body, "more_body": True})
            take = functools.partial(inference.take_piece, response)
            response = await asyncio.get_running_loop().run_in_executor(self._predictions, take)
            is_broken = response.rest is None
            bytes_out += 0 if is_broken else len(response.body)
        if not is_broken:  # else there is no end, and the client knows
            await send(
                {
                    "type": "http.response.body",
                    "body": b"" if scope["method"] == "HEAD" else response.body,
                }
            )
        if logs.has_requests():
            logs.log_request(
                response,
                method=scope["method"],
                target=scope["path"],
                headers=headers,
                started=started,
                bytes_in=len(body),
                bytes_out=bytes_out,
            )

    async def _read(self, headers: dict[str, str], receive: Receive) -> bytes:
        length = headers.get("content-length", "")
        limit = self._settings.payload_bytes
        body, more = bytearray(), not (length.isdecimal() and int(length) > limit)
        if not more:
            raise RequestError(413, inference.describe_limit(limit))
        while more:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > limit:
                raise RequestError(413, inference.describe_limit(limit))
            more = message.get("more_body", False)
        return bytes(body)

    async def _answer(
        self, scope: Message, headers: dict[str, str], body: bytes
    ) -> inference.Response:
        path, method = scope["path"], scope["method"]
        if path == "/ping" and method in ("GET", "POST"):
            return inference.ping(is_ready=True)
        if path == "/invocations" and method == "POST":
            request = inference.Request(body, headers)
            if inference.is_cheap(self._application, request):
                return self._application.invoke(request)
            return await self._queue(request)
        query = scope["query_string"].decode("latin-1")
        target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        head = Head(method, target, headers, len(body), keep_alive=True, expects_continue=False)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, lambda: wsgi.call(self._others, head, body)
        )

    async def _queue(self, request: inference.Request) -> inference.Response:
        if self._waiting >= self._settings.queue_requests:
            return inference.ask_to_retry(f"{self._waiting} requests are waiting already")
        expiry = time.monotonic() + self._settings.timeout_s

        def answer() -> inference.Response:
            if time.monotonic() > expiry:
                return inference.refuse(503, "the request waited too long for its turn")
            return self._application.invoke(request._replace(can_stream=True))

        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._predictions, answer)
        finally:
            self._waiting -= 1


async def _discard_body(receive: Receive) -> None:
    """Take what the client of a refused request still sends, for a while: it reads the answer only after that."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(inference.LINGER_S):
            while (await receive()).get("more_body", False):
                pass
