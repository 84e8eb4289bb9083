"""The HTTP application as a Flask factory: any WSGI server can host it, a test client can call it.

Rules of this file: routes, methods and headers only; what an answer says is decided in `inference`.
"""

import contextlib
import json
import time
from collections.abc import Iterator

import flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing.exceptions import WebsocketMismatch

from container import contract
from container.errors import RequestError
from container.serving import exchange, inference, openapi
from container.serving.bidirectional import sessions
from container.serving.bodies import content_encoding, pixels
from container.serving.exchange import Request, Response
from container.serving.many_models.models import Models
from container.serving.telemetry.metrics import Metrics


def create_app(  # noqa: PLR0913 - each by name
    application: inference.Application,
    *,
    payload_bytes: int = contract.REALTIME_PAYLOAD_BYTES,
    workers: int = 1,
    models: Models | None = None,
    metrics: Metrics | None = None,
    is_ready: bool = True,
) -> flask.Flask:
    """Build the HTTP application around what answers `/invocations`.

    A body larger than `payload_bytes` is refused; `/execution-parameters` reports `workers`; with
    `models` the application has the routes of a multi-model endpoint; `/ping` is 503 until it
    `is_ready`.
    """
    app = flask.Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = payload_bytes
    app.url_map.merge_slashes = False  # HO-16: no path is redirected

    @app.route("/ping", methods=["GET", "POST"])
    def ping() -> flask.Response:
        return _to_flask(inference.ping(is_ready=is_ready))

    @app.post("/invocations")
    def invocations() -> flask.Response:
        return _to_flask(application.invoke(_read_request()._replace(can_stream=True)))

    @app.get(contract.BIDIRECTIONAL_PATH)
    def bidirectional() -> flask.Response:  # the worker class `event` does not pass it on
        return _to_flask(inference.refuse(501, sessions.describe_worker_class("gthread")))

    @app.get("/execution-parameters")
    def execution_parameters() -> flask.Response:
        return _to_flask(_describe_execution(workers))

    @app.get("/openapi.json")
    def describe() -> flask.Response:
        shape: pixels.Shape | None = None
        classes: tuple[int | str, ...] = ()
        if isinstance(application, inference.Inference):
            shape = application.input_shape
            classes = application.classes
        document = openapi.describe(shape, classes, has_models=models is not None)
        return _to_flask(Response(200, json.dumps(document).encode()))

    if metrics is not None:
        _add_metrics(app, metrics)
    if models is not None:
        _add_models(app, models)

    _add_error_handlers(app, payload_bytes)
    return app


def _describe_execution(workers: int) -> Response:
    """Answer `/execution-parameters`: a request for each worker, 100 MB in total (BT-4, BT-11)."""
    concurrency = max(1, min(workers, contract.TRANSFORM_PAYLOAD_BYTES // 1024**2))
    payload_mb = max(1, min(contract.TRANSFORM_PAYLOAD_DEFAULT_MB, 100 // concurrency))
    document = {
        "MaxConcurrentTransforms": concurrency,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": payload_mb,
    }
    return Response(200, json.dumps(document).encode())


def _add_metrics(app: flask.Flask, metrics: Metrics) -> None:
    @app.get("/metrics")
    def render_metrics() -> flask.Response:
        return flask.Response(metrics.render(), content_type="text/plain; version=0.0.4")

    @app.after_request
    def count_when_sent(response: flask.Response) -> flask.Response:
        response.call_on_close(metrics.count_ended)
        return response


def _add_error_handlers(app: flask.Flask, payload_bytes: int) -> None:
    @app.errorhandler(RequestError)
    def answer_error(error: RequestError) -> flask.Response:
        return _to_flask(inference.refuse(error.status, str(error)))

    @app.errorhandler(WebsocketMismatch)
    def refuse_websocket(_: WebsocketMismatch) -> flask.Response:
        return _to_flask(inference.refuse(501, sessions.describe_worker_class("gthread")))

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> flask.Response:
        status = error.code or 500
        messages = {
            404: (
                f"the route {flask.request.path!r} does not exist; "
                "try /ping, /invocations, /execution-parameters or /metrics"
            ),
            405: f"{flask.request.path} does not accept {flask.request.method}",
            413: content_encoding.describe_limit(payload_bytes),
        }
        if status == 413:
            _discard_body()
        message = messages.get(status, error.description or error.name)
        response = _to_flask(inference.refuse(status, message))
        allowed = error.get_response().headers.get("Allow")
        if allowed:
            response.headers["Allow"] = allowed
        return response

    @app.errorhandler(Exception)
    def fail(error: Exception) -> flask.Response:
        return _to_flask(inference.fail(error))


def _add_models(app: flask.Flask, models: Models) -> None:
    @app.post("/models")
    def load_model() -> flask.Response:
        return _to_flask(models.load(flask.request.get_data(cache=False)))

    @app.get("/models")
    def list_models() -> flask.Response:
        return _to_flask(models.list_page(flask.request.args.get("next_page_token", "")))

    @app.get("/models/<path:name>")
    def describe_model(name: str) -> flask.Response:
        return _to_flask(models.describe(name))

    @app.delete("/models/<path:name>")
    def unload_model(name: str) -> flask.Response:
        return _to_flask(models.unload(name))

    @app.post("/models/<path:name>/invoke")
    def invoke_model(name: str) -> flask.Response:
        return _to_flask(models.invoke(name, _read_request()))


def _read_request() -> Request:
    headers = {name.lower(): value for name, value in flask.request.headers.items()}
    return Request(flask.request.get_data(cache=False), headers)


def _discard_body() -> None:
    """Read for a while what a refused client still sends: it reads the answer only after that."""
    deadline = time.monotonic() + inference.LINGER_S
    with contextlib.suppress(OSError):  # it has gone
        while time.monotonic() < deadline and flask.request.environ["wsgi.input"].read(2**16):
            pass


def _to_flask(response: Response) -> flask.Response:
    flask.request.environ[exchange.ENVIRON_KEY] = response
    headers = [("Content-Type", response.content_type), *response.headers]
    if not response.rest:
        return flask.Response(response.body, response.status, headers)
    pieces = _Pieces(response)
    try:
        return flask.Response(pieces, response.status, headers)
    except Exception:
        pieces.close()
        raise


class _Pieces(Iterator[bytes]):
    """The pieces of a streamed answer, as the server iterates over them.

    Handlers keep their turn until a stream is closed, so `close` closes it even if the client has
    gone before the first piece. An error makes the server break the connection off.
    """

    def __init__(self, response: Response) -> None:
        self._rest = response.rest
        self._pieces = _iterate(response)

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        close = getattr(self._rest, "close", None)
        if close is not None:
            close()


def _iterate(response: Response) -> Iterator[bytes]:
    while response.rest is not None and response.body:
        yield response.body
        response = inference.take_piece(response)
    if response.status != 200:
        message = "a streamed answer was aborted; the line before has the reason"
        raise ConnectionAbortedError(message)
