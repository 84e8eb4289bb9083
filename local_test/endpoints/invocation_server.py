"""The HTTP server of `local_test serve`."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self

import waitress.wasyncore

from local_test import browser_gate, web_server
from local_test.data import disk
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.invocation_http import InvocationApi, InvocationError, send_error

_THREADS: Final = 64  # requests at once


@dataclass(frozen=True)
class GatedApi:
    """The runtime API for programs; requests that a web page may have sent are refused."""

    api: InvocationApi

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        fault = browser_gate.find_fault(environ)
        if fault is not None:
            error = InvocationError("AccessDeniedException", fault, HTTPStatus.FORBIDDEN)
            return send_error(start_response, error)
        try:
            return self.api(environ, start_response)
        except OSError as failed:
            full = disk.explain(failed, "the directory of temporary files")
            if full is None:
                raise
            status = HTTPStatus.INSUFFICIENT_STORAGE
            return send_error(start_response, InvocationError("InternalFailure", str(full), status))


class InvocationServer:
    """Serves endpoints on loopback from `start` to `close`; a context manager."""

    def __init__(self, endpoints: Mapping[str, Endpoint], port: int = 0) -> None:
        """Listen on `port`, 0 for a free one; connections wait until `start`.

        Raises: OSError if the port is taken.
        """
        self._sockets: dict[int, Any] = {}
        self._server = web_server.create_server(
            GatedApi(InvocationApi(endpoints.get)),
            map=self._sockets,
            host="127.0.0.1",
            port=port,
            threads=_THREADS,
            ident="local-test",
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True, name="http")
        self.url = f"http://127.0.0.1:{self._server.effective_port}"

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def close(self) -> None:
        """Finish the requests in flight, for up to 5 seconds, and close all connections."""
        self._server.task_dispatcher.shutdown()
        if self._thread.ident is None:
            self._close_sockets()
        else:  # in the server's own thread, whose loop ends when there are no sockets left
            self._server.trigger.pull_trigger(self._close_sockets)
            self._thread.join()

    def _close_sockets(self) -> None:
        waitress.wasyncore.close_all(self._sockets)
