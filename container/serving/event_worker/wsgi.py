"""One request through a WSGI application (PEP 3333), without a server around it."""

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from container.serving.event_worker.http1 import Head
from container.serving.exchange import ENVIRON_KEY, Response

Application: TypeAlias = Callable[..., Iterable[bytes]]


def call(application: Application, head: Head, body: bytes) -> Response:
    """Answer one request whose body has been read."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], _: Any = None
    ) -> Callable[[bytes], None]:
        started[:] = [(status, headers)]
        return parts.append

    parts: list[bytes] = []
    environ = _make_environ(head, body)
    result = application(environ, start_response)
    try:
        parts.extend(result)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    status, headers = started[0]
    content_type = ""
    others = []
    for name, text in headers:
        if name.lower() == "content-type":
            content_type = text
        elif name.lower() != "content-length":
            others.append((name, text))
    left = environ.get(ENVIRON_KEY, Response(0))
    return Response(
        int(status[:3]),
        b"".join(parts),
        content_type,
        tuple(others),
        request_id=left.request_id,
        seconds=left.seconds,
    )


def _make_environ(head: Head, body: bytes) -> dict[str, Any]:
    path, _, query = head.target.partition("?")
    environ = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, text in head.headers.items():
        environ["HTTP_" + name.upper().replace("-", "_")] = text
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    environ.pop("HTTP_CONTENT_LENGTH", None)
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ
