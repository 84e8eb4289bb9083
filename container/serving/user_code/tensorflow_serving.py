"""Handlers in the style of the TensorFlow Serving container, and the predict requests between them.

A predict request is TensorFlow Serving's REST form, `{"instances": [...]}` in rows or `{"inputs":
...}` in columns; the answer is `{"predictions": [...]}` or `{"outputs": ...}`. The model answers in
this process. `context.rest_uri`, for handlers that send HTTP requests to it, is the address of a
loopback server that starts when it is first read.
"""

import functools
import io
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from container import contract
from container.errors import RequestError
from container.serving.bodies import media_types
from container.serving.exchange import Request
from container.serving.third_party import answers, predict_requests


@dataclass(frozen=True)
class TfsContext:
    """What the TensorFlow Serving container passes to its handlers about a request."""

    request_content_type: str
    accept_header: str
    content_length: int
    custom_attributes: str | None
    model: Any
    model_name: str = "model"
    model_version: str = "1"
    method: str = "predict"
    grpc_port: str = ""

    @property
    def rest_uri(self) -> str:
        """Address of the loopback server that answers predict requests."""
        return _start_rest(self.model)


@dataclass(frozen=True)
class TfsResponse:
    """The answer to a predict request, with what handlers read of an HTTP response."""

    content: bytes
    status_code: int = 200

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode()

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.content)


def answer(
    functions: Mapping[str, Callable[..., Any]], model: Any, request: Request, accept: str
) -> Any:
    """Run the handlers on one request; return the body, or body and media type."""
    context = TfsContext(
        request_content_type=request.headers.get("content-type", media_types.JSON),
        accept_header=accept,
        content_length=len(request.body),
        custom_attributes=request.headers.get(contract.CUSTOM_ATTRIBUTES_HEADER.lower()),
        model=model,
    )
    data = io.BytesIO(request.body)
    if "handler" in functions:
        return functions["handler"](data, context)
    asked = request.body
    if "input_handler" in functions:
        asked = functions["input_handler"](data, context)
    response = TfsResponse(predict(model, asked))
    if "output_handler" in functions:
        return functions["output_handler"](response, context)
    return response.content


def predict(model: Any, body: str | bytes) -> bytes:
    """Answer one predict request.

    Raises: RequestError 400 if the request is not of the REST form, or the model does not take it.
    """
    asked = predict_requests.decode(body, bare=False)
    return answers.encode_json(model.predict(asked.data), by_row=asked.by_row).encode()


@functools.lru_cache(maxsize=1)
def _start_rest(model: Any) -> str:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, content = 200, predict(model, body)
            except RequestError as error:
                status, content = error.status, json.dumps({"error": str(error)}).encode()
            self.send_response(status)
            self.send_header("Content-Type", media_types.JSON)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Keep the log for the endpoint's own requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, name="rest", daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1/models/model:predict"
