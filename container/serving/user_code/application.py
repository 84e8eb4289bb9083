"""Answers requests with a user's functions around their loaded model.

    model_fn(model_dir)                     load the model; before it pre_model_fn(model_dir),
                                            after it model_warmup_fn(model_dir, model)
    input_fn(data, content_type)            body to data
    predict_fn(data, model)                 data to prediction
    output_fn(prediction, accept)           prediction to body, or to (body, content type)
    transform_fn(model, data, content_type, accept)     in place of these three

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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from container.errors import RequestError, UserError
from container.serving import charsets, inference
from container.serving.bodies import media_types, negotiation
from container.serving.exchange import Request, Response
from container.serving.records import json_values
from container.serving.telemetry.redaction import Redaction, describe
from container.serving.third_party import model_files
from container.serving.user_code import (
    default_input,
    handler_rules,
    inference_toolkit,
    responses,
    tensorflow_serving,
)
from container.serving.user_code.context import Context

log = logging.getLogger(__name__)


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
        self._functions: dict[str, Callable[..., Any]] = {
            "input_fn": self._decode,
            "predict_fn": _predict,
            **_bind_all(functions),
        }
        # The model comes last: nothing is loaded for functions that could not be called.
        self._model = self._load()
        self._taker = default_input.describe_taker(functions.get("predict_fn"), self._model)

    def _load(self) -> Any:
        model_dir = str(self._model_dir)
        context = Context({}, model_dir)
        if "pre_model_fn" in self._functions:
            self._functions["pre_model_fn"](model_dir, context)
        if "model_fn" in self._functions:
            model = self._functions["model_fn"](model_dir, context)
        else:
            model = self._load_model_file()
        if "model_warmup_fn" in self._functions:
            self._functions["model_warmup_fn"](model_dir, model, context)
        return model

    def _load_model_file(self) -> Any:
        found = model_files.find(self._model_dir, self._choice)
        needs_none = "transform_fn" in self._functions or "handler" in self._functions
        if found is not None and (found.is_allowed or not needs_none):
            return found.load_model()
        if needs_none:
            return None
        message = (
            f"model_fn is missing, and {self._model_dir} holds no model that loads without it: "
            f"{model_files.POSSIBLE}"
        )
        raise UserError(message)

    def estimate_s(self, request: Request) -> float:  # noqa: ARG002 - Application's
        """Return infinity: how long a user's code takes is unknown."""
        return math.inf

    def invoke(self, request: Request) -> Response:
        """Answer `POST /invocations`; never raises."""
        try:
            return self._answer(request)
        except RequestError as error:
            if not 400 <= error.status <= 599:  # user code's own
                return inference.fail(error, request.body)
            return inference.refuse(error.status, str(error), request.body)
        except SystemExit as error:  # it would end the thread that computes
            return inference.fail(error, request.body)
        except Exception as error:  # noqa: BLE001 - user code may raise anything
            return _answer_error(error, request.body)

    def _answer(self, request: Request) -> Response:
        accept = negotiation.find_preferred(request.headers.get("accept", ""), self._default_accept)
        context = Context(request.headers, str(self._model_dir))
        if self._is_tfs:
            result = tensorflow_serving.answer(self._functions, self._model, request, accept)
        else:
            result = self._transform(request, accept, context)
        answer_type = accept
        if isinstance(result, tuple):
            result, answer_type = result[:2]
        headers = context.get_response_headers()
        body = _to_bytes(result, answer_type)
        return responses.make(context.status, body, answer_type, headers)

    def _decode(self, data: Any, _content_type: str | None, context: Context) -> Any:
        given = context.get_request_header(0, "Content-Type") or ""
        decoded = default_input.decode(data, given, self._taker)
        context.request_form = decoded.form
        return decoded.data

    def _transform(self, request: Request, accept: str, context: Context) -> Any:
        content_type = parse_content_type(request.headers.get("content-type", ""))
        data: bytes | str = request.body
        if content_type in inference_toolkit.TEXT_TYPES:
            data = _decode_text(request)
        functions = self._functions
        if "transform_fn" in functions:
            return functions["transform_fn"](self._model, data, content_type, accept, context)
        decoded = functions["input_fn"](data, content_type, context)
        prediction = functions["predict_fn"](decoded, self._model, context)
        if "output_fn" in functions:
            return functions["output_fn"](prediction, accept, context)
        answer_type = choose_encoding(request.headers.get("accept", ""), self._default_accept)
        body = inference_toolkit.encode(prediction, answer_type, context.request_form)
        if isinstance(body, str) and not self._end_of_line:
            body = body.removesuffix("\n")
        return body, answer_type


def _bind_all(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Let each function be called with a context, whether or not it takes one.

    Raises: UserError for functions that contradict each other or take a wrong number of arguments.
    """
    faults = handler_rules.find_contradictions(functions)
    bound = {}
    for name, function in functions.items():
        taken = len(inspect.signature(function).parameters)
        fault = handler_rules.find_wrong_count(name, taken)
        if fault:
            faults.append(fault)
        else:
            bound[name] = _bind(function, name, taken)
    if faults:
        raise UserError.from_faults("wrong inference code", faults)
    return bound


def _bind(function: Callable[..., Any], name: str, taken: int) -> Callable[..., Any]:
    count = handler_rules.TOOLKIT_FUNCTIONS.get(name, taken)
    if taken == count + 1:
        return function
    return lambda *arguments: function(*arguments[:count])


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


def choose_encoding(accept: str, default: str) -> str:
    """Return the media type that `accept` prefers among those that need no `output_fn`.

    Raises: RequestError 406 if none of them is acceptable.
    """
    offered: tuple[str, ...] = inference_toolkit.ENCODED_TYPES
    if default in offered:
        offered = (default, *(name for name in offered if name != default))
    chosen = media_types.choose(accept, offered)
    if chosen is None:
        possible = ", ".join(inference_toolkit.ENCODED_TYPES)
        message = f"Accept {accept[:200]!r} needs an output_fn; without one: {possible}"
        raise RequestError(406, message)
    return chosen


def _decode_text(request: Request) -> str:
    content_type = request.headers.get("content-type", "")
    return charsets.decode(request.body, negotiation.parse_media_type(content_type).parameters)


def _to_bytes(body: Any, answer_type: Any) -> bytes:
    """Return bytes as they are, text with null for what JSON cannot hold, anything else as JSON."""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    if not isinstance(body, str):
        return json_values.dump(body).encode()
    text: str = body
    if isinstance(answer_type, str) and "json" in answer_type:
        text = json_values.replace_constants(body)
    return text.encode()


def _answer_error(error: Exception, body: bytes) -> Response:
    """Answer with the status of an error of the toolkit's; never with a traceback (SEC-4)."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "UnsupportedFormatError" in kinds:
        return inference.refuse(415, str(error), body)
    status = getattr(error, "status_code", None)
    if "BaseInferenceToolkitError" not in kinds or not isinstance(status, int):
        return inference.fail(error, body)
    if not 400 <= status <= 599:
        return inference.fail(error, body)
    if status >= 500:
        trace = describe(error, Redaction(body))
        log.error("the handler failed with status %d\n%s", status, trace)
    return inference.refuse(int(status), str(getattr(error, "message", error)), body)
