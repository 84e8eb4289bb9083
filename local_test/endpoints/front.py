"""The HTTP front of running endpoints: InvokeEndpoint as the service's runtime API answers it, on loopback.

    POST /endpoints/NAME/invocations    InvokeEndpoint; `aws sagemaker-runtime --endpoint-url` works
    against it GET  /endpoints                     every endpoint's description

Beyond the service's own, an answer carries `X-Local-Test-...` headers: status, times and findings
of the container.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from container.errors import RequestError
from local_test.endpoints.endpoint import Endpoint

_ERROR_TYPES: Final = {
    400: "ValidationError",
    413: "ValidationError",
    424: "ModelError",
    503: "ServiceUnavailable",
}


class Front(ThreadingHTTPServer):
    """Serves the endpoints it was given until `shutdown`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, endpoints: Mapping[str, Endpoint], port: int = 0) -> None:
        """`port` 0 takes a free one."""
        self.endpoints = endpoints
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # status, headers and body leave in one packet
    server: Front

    def do_GET(self) -> None:
        if self.path != "/endpoints":
            self._refuse(404, f"{self.path} does not exist; GET /endpoints does")
            return
        self._send(
            200,
            json.dumps(
                [endpoint.describe() for endpoint in self.server.endpoints.values()]
            ).encode(),
            {},
        )

    def do_POST(self) -> None:
        body = self._read_body()
        parts = self.path.split("/")
        if len(parts) != 4 or parts[1] != "endpoints" or parts[3] != "invocations":
            self._refuse(404, f"{self.path} does not exist; POST /endpoints/NAME/invocations does")
            return
        endpoint = self.server.endpoints.get(parts[2])
        if endpoint is None:
            self._refuse(
                400,
                f"Endpoint {parts[2]} not found; running are {', '.join(self.server.endpoints)}",
            )
            return
        try:
            answer = endpoint.invoke(body, dict(self.headers.items()))
        except RequestError as error:
            self._refuse(error.status, str(error))
            return
        extra = {
            "X-Amzn-Invoked-Production-Variant": answer.variant,
            "X-Local-Test-Container-Status": str(answer.status),
            "X-Local-Test-Connect-Seconds": f"{answer.connect_s:.6f}",
            "X-Local-Test-First-Byte-Seconds": f"{answer.first_byte_s:.6f}",
            "X-Local-Test-Total-Seconds": f"{answer.total_s:.6f}",
            **({"X-Local-Test-Findings": "; ".join(answer.findings)} if answer.findings else {}),
        }
        if answer.caller_status == 200:
            self._send(
                200,
                answer.body,
                {**{name.title(): text for name, text in answer.headers.items()}, **extra},
            )
        else:
            document = answer.model_error(endpoint.name)
            self._send(
                424, json.dumps(document).encode(), {"X-Amzn-ErrorType": "ModelError", **extra}
            )

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(pieces)

    def _refuse(self, status: int, message: str) -> None:
        document = json.dumps({"Message": message}).encode()
        self._send(
            status, document, {"X-Amzn-ErrorType": _ERROR_TYPES.get(status, "InternalFailure")}
        )

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("X-Amzn-Sagemaker", "X-Amzn-SageMaker"), text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent: the container's log is the log."""
