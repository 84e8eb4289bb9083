"""The serving core: request parts in, status, headers and body out; no HTTP library, so that every shell is thin.

Rules of this file: whatever a client sends is answered with the status that names whose fault it is
(RQ-6), and never with a traceback (SEC-4); what can be refused by its headers is refused before the
body is decoded.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from container import contract
from container.errors import RequestError
from container.serving.bodies import decoding, encoding, media_types, negotiation, pixels
from container.serving.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

LINGER_S: Final = (
    2.0  # how long a refused client is listened to, so that it reads the answer before a reset
)

_CUSTOM_ATTRIBUTES_NAME: Final = contract.CUSTOM_ATTRIBUTES_HEADER.lower()
_CUSTOM_ATTRIBUTES: Final = re.compile(r"[\x20-\x7e]{1,1024}")
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*(?:'|$)|\"(?:[^\"\\]|\\.)*(?:\"|$)", re.DOTALL)
_INLINE_S: Final = (
    0.005  # a prediction that costs more leaves the loop: many of them must not delay a ping
)
_INLINE_BODY_BYTES: Final = (
    262_144  # a body that costs more to decode than a thread's hand-over leaves it too
)
_PIECE_S: Final = (
    0.02  # of a streamed answer: long beside a thread's hand-over, short beside a client's patience
)
_PIECE_IMAGES: Final = (
    1024,
    512,
    256,
    128,
    64,
    32,
)  # whole blocks of the predictor, so that no digit changes
_ERRORS_LOGGED: Final = 10  # of one request
_ERROR_CHARACTERS: Final = (
    1900  # RQ-6: a caller sees 2048 characters of the body, the request id among them
)


class Request(NamedTuple):
    """A request to `/invocations`: its body, and its headers under lower-case names."""

    body: bytes
    headers: Mapping[str, str]
    can_stream: bool = False
    """Whether the shell can send an answer piece by piece, as its predictions are made (ST-1)."""


class Response(NamedTuple):
    """An answer: its status, its body, the body's media type, and any headers besides."""

    status: int
    body: bytes = b""
    content_type: str = media_types.JSON
    headers: tuple[tuple[str, str], ...] = ()
    rest: Iterator[bytes] | None = None
    """Pieces that follow `body`, each computed when it is taken, by `take_piece`; only for who `can_stream`."""
    request_id: str = ""
    """Of an error, as its body and its line in the log tell it."""
    seconds: Mapping[str, float] | None = None
    """Of each stage that an invocation has reached; of a stream, so far."""


class Application(Protocol):
    """What answers `POST /invocations`: the bundled model, or a user's own handlers."""

    def invoke(self, request: Request) -> Response:
        """Answer one request; never raises."""

    def estimate_s(self, request: Request) -> float:
        """Give the seconds that `invoke` takes at most, without looking into the body; infinity if nobody knows."""


class _Work:
    """What one invocation has cost."""

    __slots__ = ("images", "seconds", "started")

    def __init__(self, started: float) -> None:
        self.started = started
        self.seconds: dict[str, float] = {}
        self.images = 0


class Inference:
    """The application around one loaded model."""

    def __init__(  # noqa: PLR0913 - each by name
        self,
        predict: Callable[[pixels.Images], encoding.Probabilities],
        *,
        input_shape: pixels.Shape,
        classes: Sequence[int | str],
        image_s: float = math.inf,
        default_accept: str = media_types.JSON,
        end_of_line: bool = True,
        placeholders: bool = False,
        payload_bytes: int = contract.REALTIME_PAYLOAD_BYTES,
        metrics: Metrics | None = None,
    ) -> None:
        """`predict` maps images to probabilities and takes `image_s` for each, as far as one knows.

        `default_accept` answers a request that accepts anything (RQ-4); `payload_bytes` bounds what a packed body
        expands to; `placeholders` lets a bad line be answered by a placeholder, and the others as usual (BT-9).
        """
        self._predict = predict
        self._image_s = image_s
        quick = [count for count in _PIECE_IMAGES if count * image_s <= _PIECE_S]
        self._piece_images = quick[0] if quick else _PIECE_IMAGES[-1]
        self._pixels = math.prod(input_shape)
        self.input_shape = input_shape
        self.classes = tuple(classes)
        self._end_of_line = end_of_line
        self._placeholders = placeholders
        self._payload_bytes = payload_bytes
        self._metrics = metrics
        others = [name for name in encoding.ENCODERS if name != default_accept]
        self._offered = (default_accept, *others)

    def invoke(self, request: Request) -> Response:
        """Answer `POST /invocations`; never raises."""
        work = _Work(time.perf_counter())
        response = guard(lambda: self._answer(request, work))
        if response.rest is None:
            self._count(response.status, work)
        else:
            pieces = self._count_at_the_end(response.rest, work)
            response = guard(lambda: response._replace(body=next(pieces), rest=pieces))
        attributes = request.headers.get(_CUSTOM_ATTRIBUTES_NAME)
        if attributes and _CUSTOM_ATTRIBUTES.fullmatch(attributes):  # RQ-5
            header = (contract.CUSTOM_ATTRIBUTES_HEADER, attributes)
            response = response._replace(headers=(*response.headers, header))
        return response

    def estimate_s(self, request: Request) -> float:
        """Give the seconds that predictions take at most; infinity if the body may hold any number of images."""
        media_type = negotiation.parse_media_type(request.headers.get("content-type", ""))
        if media_type.name in media_types.PACKED or "content-encoding" in request.headers:
            return math.inf
        return self._image_s * max(
            1, len(request.body) // self._pixels
        )  # a pixel takes a byte or more

    def _answer(self, request: Request, work: _Work) -> Response:
        accept = request.headers.get("accept", "")
        media_type = negotiation.parse_media_type(request.headers.get("content-type", ""))
        answer_type = negotiation.choose(accept, self._offered)
        if answer_type is None:
            message = f"nothing in Accept {accept[:200]!r} can be given; possible: {', '.join(self._offered)}"
            raise RequestError(406, message)
        body = unpack(
            request.body, request.headers.get("content-encoding", ""), self._payload_bytes
        )
        started = time.perf_counter()
        images, errors = self._decode(media_type, body)
        work.seconds["decode"] = time.perf_counter() - started
        work.images = len(images)
        if (
            request.can_stream
            and answer_type == media_types.JSON_LINES
            and len(images) > self._piece_images
        ):
            return Response(
                200, b"", answer_type, rest=self._stream(images, errors, work), seconds=work.seconds
            )
        answer = self._predict_and_encode(
            images, answer_type, errors, work, end_of_line=self._end_of_line
        )
        return Response(200, answer, answer_type, seconds=work.seconds)

    def _stream(
        self, images: pixels.Images, errors: Mapping[int, str], work: _Work
    ) -> Iterator[bytes]:
        """Give the answer in JSON lines piece by piece; `errors` are records beside the images (BT-9)."""
        good = (
            [place for place in range(len(images) + len(errors)) if place not in errors]
            if errors
            else []
        )
        first = 0  # record of the piece
        for start in range(0, len(images), self._piece_images):
            end = start + self._piece_images
            is_last = end >= len(images)
            faults = {}
            if errors:
                behind = len(images) + len(errors) if is_last else good[end]
                faults = {
                    place - first: errors[place]
                    for place in range(first, behind)
                    if place in errors
                }
                first = behind
            end_of_line = self._end_of_line or not is_last
            yield self._predict_and_encode(
                images[start:end], media_types.JSON_LINES, faults, work, end_of_line=end_of_line
            )

    def _predict_and_encode(
        self,
        images: pixels.Images,
        answer_type: str,
        errors: Mapping[int, str],
        work: _Work,
        *,
        end_of_line: bool,
    ) -> bytes:
        started = time.perf_counter()
        probabilities = self._predict(images)
        predicted = time.perf_counter()
        if not np.isfinite(probabilities).all():
            message = "the model gave a probability that is not finite"
            raise ArithmeticError(message)
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
            self._metrics.count(status, work.seconds, work.images)

    def _count_at_the_end(self, pieces: Iterator[bytes], work: _Work) -> Iterator[bytes]:
        status = 500
        try:
            yield from pieces
            status = 200
        except GeneratorExit:  # nobody takes the rest: no fault of ours
            status = 200
            raise
        finally:
            self._count(status, work)

    def _decode(
        self, media_type: negotiation.MediaType, body: bytes
    ) -> tuple[pixels.Images, Mapping[int, str]]:
        try:
            return decoding.decode(media_type, body, self.input_shape), {}
        except RequestError as error:
            if not (
                self._placeholders
                and error.status == 400
                and media_type.name in decoding.LINES
                and body
            ):
                raise
        images, errors = decoding.decode_lines(media_type, body, self.input_shape)
        for place, message in list(errors.items())[:_ERRORS_LOGGED]:
            log.warning(
                "record %d of a request has a placeholder for an answer: %s",
                place + 1,
                _hide(message),
            )
        return images, errors


class Counted:
    """An application of a user's own, with its requests counted."""

    def __init__(self, application: Application, metrics: Metrics) -> None:
        self._application = application
        self._metrics = metrics

    def invoke(self, request: Request) -> Response:
        """Answer one request; never raises."""
        start = time.perf_counter()
        response = self._application.invoke(request)
        self._metrics.count(response.status, {"request": time.perf_counter() - start}, 0)
        return response

    def estimate_s(self, request: Request) -> float:
        """Give what the application says."""
        return self._application.estimate_s(request)


def is_cheap(application: Application, request: Request) -> bool:
    """Tell whether a request may be answered on an event loop, which answers `/ping` as well (HO-4)."""
    return len(request.body) <= _INLINE_BODY_BYTES and application.estimate_s(request) <= _INLINE_S


def ping(*, is_ready: bool) -> Response:
    """Answer `/ping`: 200 with an empty body once a prediction can be made, 503 before (HO-4, HO-6)."""
    return Response(200 if is_ready else 503, b"", "text/plain")


def describe_execution(workers: int) -> Response:
    """Answer `/execution-parameters`: as many requests at once as there are workers, 100 MB in all (BT-4, BT-11)."""
    concurrency = max(1, min(workers, contract.TRANSFORM_PAYLOAD_BYTES // 1024**2))
    payload_mb = max(1, min(contract.TRANSFORM_PAYLOAD_DEFAULT_MB, 100 // concurrency))
    document = {
        "MaxConcurrentTransforms": concurrency,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": payload_mb,
    }
    return Response(200, json.dumps(document).encode())


def guard(answer: Callable[[], Response]) -> Response:
    """Give the answer, or that of whatever it raises."""
    try:
        return answer()
    except RequestError as error:
        return refuse(error.status, str(error), _hide(str(error)) if error.status == 400 else "")
    except Exception:  # noqa: BLE001 - the serving side's one broad except: a bug must not end the worker
        return fail()


def take_piece(response: Response) -> Response:
    """Give the next piece of a streamed answer; an empty body is its end, 500 that it breaks off, as the log tells."""
    assert response.rest is not None  # noqa: S101 - for the type checker
    pieces = response.rest
    return guard(lambda: response._replace(body=next(pieces, b"")))


def unpack(body: bytes, encoding: str, bytes_maximum: int) -> bytes:
    """Undo a body's content encoding: none or gzip.

    Raises: RequestError 415 for another encoding, 413 beyond `bytes_maximum`, 400 if the body is no
    whole gzip stream.
    """
    if encoding.strip().lower() in ("", "identity"):
        return body
    if encoding.strip().lower() not in ("gzip", "x-gzip"):
        raise RequestError(
            415, f"content encoding {encoding[:40]!r} is not supported; supported: gzip, identity"
        )
    pieces, room = [], bytes_maximum
    while body:  # one gzip stream may follow another
        stream = zlib.decompressobj(wbits=31)
        try:
            pieces.append(stream.decompress(body, room + 1))
        except zlib.error:
            raise RequestError(400, "the body is not gzip, as its content encoding says") from None
        room -= len(pieces[-1])
        if room < 0:
            raise RequestError(413, describe_limit(bytes_maximum))
        if not stream.eof:
            raise RequestError(400, "the gzip body is cut off")
        body = stream.unused_data
    return b"".join(pieces)


def describe_limit(payload_bytes: int) -> str:
    """Say to a client how large a body may be (HO-9)."""
    return f"the body is larger than {payload_bytes} bytes; {contract.MAX_PAYLOAD_VARIABLE} sets the limit"


def _hide(message: str) -> str:
    """Leave out of a message what it quotes of a body, for the log."""
    return _QUOTED.sub("'...'", message)


def refuse(status: int, message: str, logged: str = "") -> Response:
    """Give the answer to a request that is at fault, or that comes when there are too many (503).

    The log gets the message that is to be `logged`, if it is another one.
    """
    request_id = uuid.uuid4().hex
    reason = logged or message
    fields = {"message": "refused", "request_id": request_id, "status": status, "reason": reason}
    log.info("request %s refused with %d: %s", request_id, status, reason, extra={"fields": fields})
    return _error(status, message, request_id)


def ask_to_retry(message: str) -> Response:
    """Give the answer to a request that comes too early or when too many wait."""
    return refuse(503, message)._replace(headers=(("Retry-After", "1"),))


def fail() -> Response:
    """Give the answer to a request that met a bug; called while the exception is handled, which goes to the log."""
    request_id = uuid.uuid4().hex
    fields = {"message": "failed", "request_id": request_id, "status": 500}
    log.exception("request %s failed", request_id, extra={"fields": fields})  # noqa: LOG004
    return _error(
        500,
        "the server failed on this request; its log tells why under this request id",
        request_id,
    )


def _error(status: int, message: str, request_id: str) -> Response:
    document = {"error": message[:_ERROR_CHARACTERS], "request_id": request_id}
    return Response(status, json.dumps(document).encode() + b"\n", request_id=request_id)
