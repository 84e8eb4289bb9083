"""Answers requests with a user's functions around their loaded model.

    model_fn(model_dir)                     load the model; before it pre_model_fn(model_dir),
                                            after it model_warmup_fn(model_dir, model)
    input_fn(data, content_type)            body to data
    predict_fn(data, model)                 data to prediction
    output_fn(prediction, accept)           prediction to body, or to (body, content type)
    transform_fn(model, data, content_type, accept)     in place of these three
    predict_batch_fn(list_of_data, model)   list of predictions, in place of predict_fn
    stream_fn(parts, model)                 a client's parts to replies, as an async generator

Each may take a `Context` as one more argument. Or, in the style of TensorFlow Serving,

    input_handler(data, context)            body to a predict request in JSON
    output_handler(response, context)       predict response to (body, content type)
    handler(data, context)                  in place of both

They are called as the Transformer of `sagemaker-inference` calls them; docs/bring-your-own.md
lists where we differ and why.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from container.errors import UserError
from container.serving.bodies import content_encoding, media_types, negotiation
from container.serving.exchange import FAULTS, Request, Response
from container.serving.third_party import bounds, model_files
from container.serving.user_code import (
    default_input,
    handler_rules,
    inference_toolkit,
    responses,
    steps,
    streams,
    tensorflow_serving,
)
from container.serving.user_code.context import Context
from container.serving.user_code.steps import Call, Run, Steps
from container.serving.user_code.streams import Stream

if TYPE_CHECKING:
    from container.serving.handover.coroutines import Coroutines

log = logging.getLogger(__name__)

# Functions that may do without a model.
_WITHOUT_MODEL: Final = ("transform_fn", "handler")


class Application:
    """A user's functions around their loaded model."""

    def __init__(
        self,
        functions: Mapping[str, Callable[..., Any]],
        model_dir: Path,
        default_accept: str = media_types.JSON,
        choice: model_files.Choice = model_files.ANY,
        *,
        end_of_line: bool = True,
    ) -> None:
        """Check the functions and load the model; `choice` is for one that loads without code.

        With `end_of_line` the last line of an answer that needs no `output_fn` is closed (BT-8).

        Raises: UserError for functions that contradict each other or take a wrong number of
        arguments; whatever the user's `model_fn` raises.
        """
        self._default_accept = default_accept
        self._choice = choice
        self._end_of_line = end_of_line
        self._model_dir = model_dir
        self._is_tfs = any(name in functions for name in handler_rules.TFS_FUNCTIONS)
        self._decodes_bodies = functions.keys().isdisjoint(("input_fn", "transform_fn"))
        self._functions: dict[str, Callable[..., Any]] = {
            "input_fn": self._decode,
            "predict_fn": _predict,
            **handler_rules.bind_all(functions),
        }
        if self.predicts_batches:  # a predict_fn beside it is for servers without batches
            self._functions["predict_fn"] = self._predict_one
        self.coroutines: Coroutines | None = None
        """What runs the functions, if one of them is `async def`."""
        if any(map(handler_rules.is_asynchronous, functions.values())):
            from container.serving.handover.coroutines import Coroutines

            self.coroutines = Coroutines()
        self.observe_metric: Callable[[str, float], None] | None = None
        """Called with each metric of `context.metrics`."""
        # The model comes last: nothing is loaded for functions that could not be called.
        self._model = self._load()
        self._taker = default_input.describe_taker(functions.get("predict_fn"), self._model)

    def _load(self) -> Any:
        model_dir = str(self._model_dir)
        context = self.make_context({})
        if "pre_model_fn" in self._functions:
            self._call("pre_model_fn", model_dir, context)
        if "model_fn" in self._functions:
            model = self._call("model_fn", model_dir, context)
        else:
            model = self._load_model_file()
        if "model_warmup_fn" in self._functions:
            self._call("model_warmup_fn", model_dir, model, context)
        return model

    def _call(self, name: str, *arguments: Any) -> Any:
        result = self._functions[name](*arguments)
        if inspect.iscoroutine(result) and self.coroutines is not None:
            return self.coroutines.complete(result)
        return result

    def _predict_one(self, data: Any, model: Any, context: Context) -> Any:
        predict_batch = self._functions[handler_rules.BATCH_FUNCTION]
        [prediction] = steps.call_batch(predict_batch, [data], model, [context])
        return prediction

    def _load_model_file(self) -> Any:
        found = model_files.find(self._model_dir, self._choice)
        needs_none = not self._functions.keys().isdisjoint(_WITHOUT_MODEL)
        if found is not None and (found.is_allowed or not needs_none):
            return found.load_model()
        if needs_none:
            return None
        raise UserError(
            f"model_fn is missing, and {self._model_dir} holds no model that loads without it: "
            f"{model_files.POSSIBLE}"
        )

    @property
    def predicts_batches(self) -> bool:
        """Whether `invoke_batch` predicts for several requests at once."""
        return handler_rules.BATCH_FUNCTION in self._functions

    @property
    def takes_streams(self) -> bool:
        """Whether `open_stream` may be called."""
        return handler_rules.STREAM_FUNCTION in self._functions

    def open_stream(
        self, headers: Mapping[str, str], parts: AsyncIterator[str | bytes]
    ) -> AsyncIterator[Any]:
        """Return what the handler replies to a client's parts; `headers` are its handshake's."""
        stream = self._functions[handler_rules.STREAM_FUNCTION]
        replies: AsyncIterator[Any] = stream(parts, self._model, self.make_context(headers))
        return replies

    def make_context(self, headers: Mapping[str, str]) -> Context:
        """Make the context of a request."""
        return Context(headers, str(self._model_dir), self.observe_metric)

    def estimate_s(self, request: Request) -> float:  # noqa: ARG002 - Application's
        """Return infinity: how long a user's code takes is unknown."""
        return math.inf

    def invoke(self, request: Request) -> Response:
        """Answer `POST /invocations`; never raises.

        The first piece of a stream is computed here, so that a fault in it has a status.
        """
        if self.coroutines is not None:
            return self._wait_for_coroutine(self.coroutines, request)
        run = Run(self._steps(request))
        run.make_calls()
        return responses.finish(run, request)

    async def invoke_async(self, request: Request) -> Response:
        """Answer as `invoke` does, on the loop of `coroutines`."""
        run = Run(self._steps(request))
        await run.await_calls()
        if run.response is None or not isinstance(run.response.rest, Stream):
            return responses.finish(run, request)
        stream = run.response.rest
        pieces = aiter(stream)
        try:
            body = await anext(pieces, b"")
            if not request.can_stream:
                body += b"".join([piece async for piece in pieces])
        except FAULTS as error:
            return responses.answer_error(error, request.body)
        return responses.begin_stream(run.response, stream, body, pieces, request)

    def _wait_for_coroutine(self, coroutines: Coroutines, request: Request) -> Response:
        response: Response = coroutines.call(self.invoke_async(request))
        if isinstance(response.rest, AsyncIterator):
            return response._replace(rest=coroutines.iterate(response.rest))
        return response

    def invoke_batch(self, requests: Sequence[Request]) -> list[Response]:
        """Answer several requests with one prediction; never raises.

        If the prediction fails, it is repeated for each request, so that only those that are at
        fault fail.
        """
        runs = [Run(self._steps(request)) for request in requests]
        for run in runs:
            run.make_calls(until=steps.PREDICT)
        waiting = [run for run in runs if run.call is not None]
        steps.predict_together(waiting, self._functions[handler_rules.BATCH_FUNCTION])
        return [responses.finish(run, request) for run, request in zip(runs, requests, strict=True)]

    def _steps(self, request: Request) -> Steps:
        """Yield the calls of one invocation, and return its response."""
        accept = negotiation.find_preferred(request.headers.get("accept", ""), self._default_accept)
        context = self.make_context(request.headers)
        if self._is_tfs:
            arguments = (self._functions, self._model, request, accept)
            result = yield Call(steps.PREDICT, tensorflow_serving.answer, arguments)
        else:
            result = yield from self._transform(request, accept, context)
        answer_type: Any = accept
        is_chosen = isinstance(result, tuple)
        if is_chosen:
            result, answer_type = result[:2]
        headers = context.get_response_headers()
        if not streams.is_stream(result):
            body = responses.to_bytes(result, answer_type)
            return responses.make(context.status, body, answer_type, headers)
        if not is_chosen and negotiation.find_preferred(request.headers.get("accept", ""), ""):
            is_chosen = True  # by the client
        answer_type = answer_type if is_chosen else ""
        response = responses.make(context.status, b"", answer_type, headers)
        return response._replace(rest=Stream(result))

    def _decode(self, data: Any, _content_type: str | None, context: Context) -> Any:
        given = context.get_request_header(0, "Content-Type") or ""
        decoded = default_input.decode(data, given, self._taker)
        context.request_form = decoded.form
        return decoded.data

    def _transform(
        self, request: Request, accept: str, context: Context
    ) -> Generator[Call, Any, Any]:
        content_type = parse_content_type(request.headers.get("content-type", ""))
        if self._decodes_bodies and "content-encoding" in request.headers:
            limit = bounds.count_payload_bytes()
            unpacked = content_encoding.undo(request.body, request.headers, limit)
            request = request._replace(body=unpacked)
        data: bytes | str = request.body
        if content_type in inference_toolkit.TEXT_TYPES:
            data = _decode_text(request)
        functions = self._functions
        if "transform_fn" in functions:
            everything = (self._model, data, content_type, accept, context)
            return (yield Call(steps.PREDICT, functions["transform_fn"], everything))
        decoded = yield Call("decode", functions["input_fn"], (data, content_type, context))
        to_predict = (decoded, self._model, context)
        prediction = yield Call(steps.PREDICT, functions["predict_fn"], to_predict)
        if "output_fn" in functions:
            to_encode = (prediction, accept, context)
            return (yield Call("encode", functions["output_fn"], to_encode))
        if streams.is_stream(prediction):
            return prediction
        answer_type = responses.choose_encoding(
            request.headers.get("accept", ""), self._default_accept
        )
        plain = (prediction, answer_type, context.request_form)
        body = yield Call("encode", inference_toolkit.encode, plain)
        if isinstance(body, str) and not self._end_of_line:
            body = body.removesuffix("\n")
        return body, answer_type


def _predict(data: Any, model: Any, _context: Context) -> Any:
    if callable(getattr(model, "predict", None)):
        return model.predict(data)
    name = type(model).__name__
    message = f"predict_fn is missing, and the model, {name}, has no method predict"
    raise NotImplementedError(message)


def parse_content_type(text: str) -> str | None:
    """Return the media type in lower case, or with other parameters than the charset as it came.

    None if the request has no content type (RQ-3).
    """
    if not text.strip():
        return None
    name, parameters = negotiation.parse_media_type(text)
    return text if parameters.keys() - {"charset"} else name


def _decode_text(request: Request) -> str:
    content_type = request.headers.get("content-type", "")
    return bounds.decode_text(request.body, negotiation.parse_media_type(content_type).parameters)
