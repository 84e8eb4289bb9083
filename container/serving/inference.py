"""The serving core: a request in, a response out, without an HTTP library; servers wrap it thinly.

Rules of this file: the status of an answer names whose fault it is (RQ-6), and no answer holds a
traceback (SEC-4); what can be refused by its headers is refused before the body is decoded. `guard`
is the boundary of an invocation: the one place here that catches any exception.
"""

import json
import logging
import math
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from container import contract
from container.errors import RequestError
from container.serving import server_settings
from container.serving.bodies import (
    content_encoding,
    decoding,
    encoding,
    media_types,
    negotiation,
    pixels,
)
from container.serving.bodies.content_encoding import Expansion
from container.serving.bodies.unusual_text import EncodedPicturesError
from container.serving.exchange import Request, Response
from container.serving.server_settings import Settings
from container.serving.telemetry.metrics import Invocation, Metrics
from container.serving.telemetry.redaction import Redaction, describe

log = logging.getLogger(__name__)

# How long a refused client is read from, so that it reads the answer before a reset.
LINGER_S: Final = 2.0
_CUSTOM_ATTRIBUTES_NAME: Final = contract.CUSTOM_ATTRIBUTES_HEADER.lower()
_CUSTOM_ATTRIBUTES: Final = re.compile(r"[\x20-\x7e]{1,1024}")
# A piece of a streamed answer takes long compared to the hand-over to a thread, and is short enough
# for a client to wait for. It holds entire blocks of the predictor, so that no digit changes.
_PIECE_S: Final = 0.02
_PIECE_IMAGES: Final = (1024, 512, 256, 128, 64, 32)
_ERRORS_LOGGED: Final = 10  # of one request
# RQ-6: a caller sees 2048 characters of the body, which holds the request id as well.
_ERROR_CHARACTERS: Final = 1900


class Application(Protocol):
    """What answers `POST /invocations`: the bundled model, or user code."""

    def invoke(self, request: Request) -> Response:
        """Answer one request; never raises."""

    def estimate_s(self, request: Request) -> float:
        """Return the most seconds that `invoke` may take, by the headers and the body's length.

        Infinity means that it is unknown.
        """


class _Work:
    """What one invocation has cost."""

    __slots__ = ("images", "seconds", "started")

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.images = 0


class Inference:
    """The application around one loaded model."""

    resize = "refuse"
    """What training did with pictures of another size: one of `geometry.POLICIES`."""

    def __init__(  # noqa: PLR0913 - each by name
        self,
        predict: Callable[[pixels.Images], encoding.Probabilities],
        *,
        input_shape: pixels.Shape,
        classes: Sequence[int | str],
        image_s: float = math.inf,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        metrics: Metrics | None = None,
    ) -> None:
        """`predict` maps images to probabilities and takes about `image_s` for each image."""
        server_settings.check_default_accept(settings, tuple(encoding.ENCODERS))
        self.input_shape = input_shape
        self.classes = tuple(classes)
        self._predict = predict
        self._image_s = image_s
        self._pixels = math.prod(input_shape)
        quick = (count for count in _PIECE_IMAGES if count * image_s <= _PIECE_S)
        self._piece_images = next(quick, _PIECE_IMAGES[-1])
        self._end_of_line = not settings.batch
        self._placeholders = settings.placeholders
        self._payload_bytes = settings.payload_bytes
        self._metrics = metrics
        self._offered = tuple(dict.fromkeys((settings.default_accept, *encoding.ENCODERS)))

    def invoke(self, request: Request) -> Response:
        """Answer `POST /invocations`; never raises."""
        work = _Work()
        response = guard(self._answer, request, work, body=request.body)
        if response.rest is None:
            self._count(response.status, work)
        else:
            pieces = self._count_at_the_end(response.rest, work)
            response = take_piece(response._replace(rest=pieces))
        attributes = request.headers.get(_CUSTOM_ATTRIBUTES_NAME)
        if attributes and _CUSTOM_ATTRIBUTES.fullmatch(attributes):  # RQ-5
            header = (contract.CUSTOM_ATTRIBUTES_HEADER, attributes)
            response = response._replace(headers=(*response.headers, header))
        return response

    def estimate_s(self, request: Request) -> float:
        """Return the most seconds that the predictions take; infinity if any number may follow."""
        headers = request.headers
        media_type = media_types.parse(headers.get("content-type", ""))
        name = media_type.name
        if name in media_types.PACKED or "content-encoding" in headers:
            return math.inf
        if self.resize != "refuse" and name in media_types.PICTURES:  # so of any size
            return math.inf
        if request.body.find(b'"b64"', 0, 512) >= 0:  # pictures in base64 are decoded slowly
            return math.inf
        # A pixel takes a byte or more.
        return self._image_s * max(1, len(request.body) // self._pixels)

    def _answer(self, request: Request, work: _Work) -> Response:
        headers = request.headers
        accept = headers.get("accept", "")
        media_type = media_types.parse(headers.get("content-type", ""))
        answer_type = media_types.choose(accept, self._offered)
        if answer_type is None:
            offered = ", ".join(self._offered)
            message = f"no media type in Accept {accept[:200]!r} is available"
            raise RequestError(406, f"{message}; choose one of {offered}")
        body = request.body
        expansion = None
        if "content-encoding" in headers:
            expansion = Expansion(self._payload_bytes)
            body = content_encoding.decode(body, headers["content-encoding"], expansion)
        started = time.perf_counter()
        images, errors = self._decode(media_type, body, expansion)
        work.seconds["decode"] = time.perf_counter() - started
        work.images = len(images)
        is_lines = answer_type == media_types.JSON_LINES
        if request.can_stream and is_lines and len(images) > self._piece_images:
            pieces = self._stream(images, errors, work)
            return Response(200, b"", answer_type, rest=pieces, seconds=work.seconds)
        answer = self._predict_and_encode(images, answer_type, errors, work, self._end_of_line)
        return Response(200, answer, answer_type, seconds=work.seconds)

    def _stream(
        self, images: pixels.Images, errors: Mapping[int, str], work: _Work
    ) -> Iterator[bytes]:
        """Yield the answer in JSON lines, piece by piece; `errors` has records without an image."""
        records = len(images) + len(errors)
        good = [record for record in range(records) if record not in errors] if errors else []
        first = 0  # record of the piece
        for start in range(0, len(images), self._piece_images):
            end = start + self._piece_images
            is_last = end >= len(images)
            faults: dict[int, str] = {}
            if errors:
                behind = records if is_last else good[end]
                for record in range(first, behind):
                    if record in errors:
                        faults[record - first] = errors[record]
                first = behind
            end_of_line = self._end_of_line or not is_last
            piece = images[start:end]
            yield self._predict_and_encode(piece, media_types.JSON_LINES, faults, work, end_of_line)

    def _predict_and_encode(
        self,
        images: pixels.Images,
        answer_type: str,
        errors: Mapping[int, str],
        work: _Work,
        end_of_line: bool,  # noqa: FBT001 - its name is written at both calls
    ) -> bytes:
        started = time.perf_counter()
        probabilities = self._predict(images)
        predicted = time.perf_counter()
        if not encoding.are_finite(probabilities):
            raise ArithmeticError("the model returned a probability that is not finite")
        answer = encoding.encode(
            answer_type, probabilities, self.classes, end_of_line=end_of_line, errors=errors
        )
        seconds = work.seconds
        seconds["predict"] = seconds.get("predict", 0.0) + predicted - started
        seconds["encode"] = seconds.get("encode", 0.0) + time.perf_counter() - predicted
        return answer

    def _count(self, status: int, work: _Work) -> None:
        if self._metrics is not None:
            work.seconds["request"] = time.perf_counter() - work.started
            self._metrics.ended.append(Invocation(status, work.seconds, work.images))

    def _count_at_the_end(self, pieces: Iterator[bytes], work: _Work) -> Iterator[bytes]:
        status = 500
        try:
            yield from pieces
            status = 200
        except GeneratorExit:  # the client does not take the rest, which is not our fault
            status = 200
            raise
        finally:
            self._count(status, work)

    def _decode(
        self, media_type: negotiation.MediaType, body: bytes, expansion: Expansion | None
    ) -> tuple[pixels.Images, Mapping[int, str]]:
        shape = self.input_shape
        decoder = decoding.PLAIN.get(media_type.name)
        if decoder is not None and body and not self._placeholders:
            try:
                return decoder(body, shape, media_type.parameters), {}
            except EncodedPicturesError:
                pass
        expansion = expansion or Expansion(self._payload_bytes)
        if not self._placeholders:
            return decoding.decode(media_type, body, shape, expansion, self.resize), {}
        images, wrong = decoding.decode_with_faults(media_type, body, shape, expansion, self.resize)
        redaction = Redaction(body)
        for place, message in list(wrong.items())[:_ERRORS_LOGGED]:
            log.warning(
                "record %d of a request is answered with a placeholder: %s",
                place + 1,
                redaction.hide(message),
            )
        return images, wrong


def ping(*, is_ready: bool) -> Response:
    """Answer `/ping`: 200 with an empty body once the model is loaded, 503 before (HO-4, HO-6)."""
    return Response(200 if is_ready else 503, b"", "text/plain")


def guard(answer: Callable[..., Response], *arguments: object, body: bytes = b"") -> Response:
    """Call `answer`, and answer for whatever it raises; the log has nothing of `body`."""
    try:
        return answer(*arguments)
    except RequestError as error:
        return refuse(error.status, str(error), body)
    except Exception as error:  # noqa: BLE001 - a bug fails its request and must not end the worker
        return fail(error, body)


def take_piece(response: Response, body: bytes = b"") -> Response:
    """Compute the next piece of a streamed answer; `body` is the request's.

    An empty body is the end of the stream. Status 500 means that the stream breaks off; the reason
    is in the log.
    """
    rest = response.rest or iter(())
    return guard(lambda: response._replace(body=next(rest, b"")), body=body)


def refuse(status: int, message: str, body: bytes = b"") -> Response:
    """Answer a request that is at fault, or that comes when there are too many (503).

    The log has the message without what occurs in `body`.
    """
    request_id = uuid.uuid4().hex
    reason = Redaction(body).hide(message)
    fields = {"message": "refused", "request_id": request_id, "status": status, "reason": reason}
    log.info("request %s refused with %d: %s", request_id, status, reason, extra={"fields": fields})
    return _error(status, message, request_id)


def ask_to_retry(message: str) -> Response:
    """Answer a request that comes too early, or when too many are waiting."""
    return refuse(503, message)._replace(headers=(("Retry-After", "1"),))


def fail(error: BaseException, body: bytes = b"") -> Response:
    """Answer a request that met a bug, and log the exception, without what occurs in `body`."""
    request_id = uuid.uuid4().hex
    fields = {"message": "failed", "request_id": request_id, "status": 500}
    trace = describe(error, Redaction(body))
    log.error("request %s failed\n%s", request_id, trace, extra={"fields": fields})
    message = "the server failed on this request; its log has the reason under this request id"
    return _error(500, message, request_id)


def _error(status: int, message: str, request_id: str) -> Response:
    document = {"error": message[:_ERROR_CHARACTERS], "request_id": request_id}
    return Response(status, json.dumps(document).encode() + b"\n", request_id=request_id)
