"""Serves a user's own inference code: the functions of `sagemaker-inference`, or of the TensorFlow Serving container.

    model_fn(model_dir)                load the model; before it pre_model_fn(model_dir), after it
                                       model_warmup_fn(model_dir, model)
    input_fn(data, content_type)       body to data            or transform_fn(model, data,
    content_type, accept) predict_fn(data, model)            data to prediction      in place of all
    three output_fn(prediction, accept)      prediction to body, or to (body, content type)

    input_handler(data, context)       body to a predict request in JSON      or handler(data,
    context) output_handler(response, context)  predict response to (body, content type)     in
    place of both

Each of the first kind may take a `Context` as one more argument. They are called as the toolkit's
Transformer calls them; docs/bring-your-own.md lists where we differ and why.

Rules of this file: `find` is cheap and imports nothing of the user's; the user's code is imported
by `Handlers.load`, in the worker, because it may not survive a fork (HO-14); what is installed is
installed before the first request.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import hashlib
import importlib
import inspect
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from container import algorithm, artifact, contract
from container.errors import RequestError, UserError
from container.serving import inference
from container.serving.bodies import media_types, negotiation
from container.serving.user_code import (
    handler_rules,
    inference_toolkit,
    tensorflow_serving,
    third_party_models,
)
from container.serving.user_code.context import Context
from container.user_packages import required_packages, versions

log = logging.getLogger(__name__)

DEFAULT_MODULE: Final = "inference.py"
INSTALL_VARIABLE: Final = "SAGEMAKER_INSTALL_REQUIREMENTS"


@dataclass(frozen=True)
class Handlers:
    """A user's inference code, found and not yet imported."""

    module: Path
    """The file that holds the functions."""
    model_dir: Path
    """What `model_fn` is given: the model directory, or the only directory in it (TRIP-21)."""
    default_accept: str = media_types.JSON
    installation: tuple[str, ...] = ()
    """The pip command that its packages take."""

    def load(self) -> Application:
        """Install what the code needs, import it and load its model; call it in the process that will serve.

        Raises: UserError if the code cannot be imported, its functions contradict each other, or
        the model cannot be loaded, with what the model directory holds (TRIP-21) and which versions
        have changed (TRIP-28).
        """
        changes = versions.compare(self.model_dir)
        if changes:
            log.warning("the model was made with other versions: %s", ", ".join(changes[:20]))
        self._install()
        functions = self._import()
        try:
            application = Application(functions, self.model_dir, self.default_accept)
        except UserError:
            raise
        except Exception as error:
            log.exception("the model cannot be loaded")
            hint = f"; it was made with other versions: {', '.join(changes[:5])}" if changes else ""
            found = (
                sorted(path.name for path in self.model_dir.iterdir())
                if self.model_dir.is_dir()
                else []
            )
            message = f"{self.module}: {type(error).__name__}: {error}; {self.model_dir} holds {found[:10]}{hint}"
            raise UserError(message) from error
        log.info("loaded %s with %s", self.module, ", ".join(functions))
        return application

    def _install(self) -> None:
        """Run pip, once for all workers, while `/ping` answers 503."""
        if not self.installation:
            return
        code, line = self.module.parent, " ".join(self.installation)
        key = hashlib.sha256(f"{os.getppid()} {code} {line}".encode()).hexdigest()[:16]
        mark = Path(tempfile.gettempdir()) / f"installed-{key}"
        with mark.open("a+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if lock.seek(0, os.SEEK_END):  # another worker was first
                return
            log.info("installing: %s", line)
            done = subprocess.run(  # noqa: S603
                list(self.installation), cwd=code, capture_output=True, text=True, check=False
            )
            if done.returncode:
                message = f"{code / required_packages.REQUIREMENTS} cannot be installed: {done.stderr.strip()[-800:]}"
                raise UserError(message)
            importlib.invalidate_caches()
            lock.write(b"done")

    def _import(self) -> dict[str, Callable[..., Any]]:
        inference_toolkit.stand_in_for_decoder()
        code = self.module.parent
        for directory in (code / "lib", code):
            if str(directory) not in sys.path and directory.is_dir():
                sys.path.insert(0, str(directory))
        try:
            if self.module.name == algorithm.FILE_NAME:
                return _adapt(algorithm.load(self.module))
            module = importlib.import_module(self.module.stem)
        except ImportError as error:
            hint = ""
            if (code / "requirements.txt").is_file():
                hint = (
                    "; requirements.txt is not installed from an index while serving: bake it into the image, put the "
                    f"packages into code/lib or their wheels into code/wheels, or set {INSTALL_VARIABLE}=true"
                )
            message = f"{self.module} cannot be imported: {error}{hint}"
            raise UserError(message) from error
        functions = {
            name: getattr(module, name)
            for name in handler_rules.FUNCTIONS
            if callable(getattr(module, name, None))
        }
        if not functions:
            message = (
                f"{self.module} defines no handler; possible: {', '.join(handler_rules.FUNCTIONS)}"
            )
            raise UserError(message)
        return functions


def find(
    layout: contract.Layout, environ: Mapping[str, str]
) -> Handlers | third_party_models.Found | None:
    """Find a user's inference code in the model archive, else baked into the image; else a model that others made.

    None means that the model directory holds our own artifact, or nothing.
    """
    code = find_code(layout, environ)
    if code or (layout.model / artifact.MANIFEST_NAME).is_file():
        return code
    return third_party_models.find(
        layout.model, environ.get(contract.DEFAULT_ACCEPT_VARIABLE) or media_types.JSON
    )


def find_code(layout: contract.Layout, environ: Mapping[str, str]) -> Handlers | None:
    """Find a user's inference code."""
    model_dir = layout.model
    code_directories = [model_dir / "code", model_dir]
    submitted = environ.get(contract.SUBMIT_DIRECTORY_VARIABLE, "")
    if submitted.startswith("/"):
        code_directories.insert(0, Path(submitted))
    inner = _find_only_directory(model_dir)
    if (
        inner
        and inner.name != "code"
        and ((inner / "code").is_dir() or (inner / DEFAULT_MODULE).is_file())
    ):
        model_dir = inner
        code_directories += [inner / "code", inner]
    code_directories.append(layout.code)
    names = [environ.get(contract.PROGRAM_VARIABLE, ""), DEFAULT_MODULE, algorithm.FILE_NAME]
    for directory in code_directories:
        for name in filter(None, names):
            module = directory / (name if name.endswith(".py") else f"{name}.py")
            is_known = module.name in (DEFAULT_MODULE, algorithm.FILE_NAME)
            if module.is_file() and (is_known or _may_define_handlers(module)):
                accept = environ.get(contract.DEFAULT_ACCEPT_VARIABLE) or media_types.JSON
                return Handlers(module, model_dir, accept, _plan_installation(directory, environ))
    return None


def _plan_installation(code: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Compose the pip command if it needs no network, or is asked for."""
    is_asked_for = environ.get(INSTALL_VARIABLE, "").lower() in ("1", "true", "yes")
    if is_asked_for or required_packages.find_wheel_directories(code):
        return tuple(required_packages.plan_installation(code, environ))
    return ()


def _adapt(typed: algorithm.Algorithm) -> dict[str, Callable[..., Any]]:
    """Give the functions of an algorithm in one file under the toolkit's names."""
    load, predict = typed.load, typed.predict
    if load is None or predict is None:
        message = f"{algorithm.FILE_NAME} cannot be served: it has no load(model_dir) and predict(model, data)"
        raise UserError(message)
    return {
        "model_fn": lambda model_dir: load(Path(model_dir)),
        "predict_fn": lambda data, model: predict(model, data),
    }


def _find_only_directory(model_dir: Path) -> Path | None:
    entries = (
        [entry for entry in model_dir.iterdir() if not entry.name.startswith(".")]
        if model_dir.is_dir()
        else []
    )
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else None


def _may_define_handlers(module: Path) -> bool:
    """Tell handlers from a training program of the same name variable, without importing either."""
    try:
        tree = ast.parse(module.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return True  # its import will say what is wrong
    names = {getattr(node, "name", "") for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return bool(names & {*handler_rules.FUNCTIONS, "*"})


class Application:
    """A user's functions around their loaded model; its requests take turns unless the user's code is thread-safe."""

    def __init__(
        self,
        functions: Mapping[str, Callable[..., Any]],
        model_dir: Path,
        default_accept: str = media_types.JSON,
        encoder: Callable[[Any, str], str | bytes] = inference_toolkit.encode,
    ) -> None:
        """Check the functions and load the model; `encoder` does the work of a missing `output_fn`.

        Raises: UserError for functions that contradict each other or take another number of
        arguments; whatever the user's `model_fn` raises.
        """
        self._default_accept = default_accept
        self._encoder = encoder
        self._model_dir = model_dir
        self._is_tfs = any(name in functions for name in handler_rules.TFS_FUNCTIONS)
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
        self._functions: dict[str, Callable[..., Any]] = {
            "input_fn": _decode,
            "predict_fn": _predict,
            **bound,
        }
        # The model comes last: nothing is loaded for functions that could not be called.
        self._model = self._load()

    def _load(self) -> Any:
        context = Context({}, str(self._model_dir))
        model_dir = str(self._model_dir)
        if "pre_model_fn" in self._functions:
            self._functions["pre_model_fn"](model_dir, context)
        if "model_fn" in self._functions:
            model = self._functions["model_fn"](model_dir, context)
        else:
            found = third_party_models.find(self._model_dir)
            if (
                found is None
                and "transform_fn" not in self._functions
                and "handler" not in self._functions
            ):
                message = f"model_fn is missing, and {self._model_dir} holds no model that needs none: {third_party_models.KINDS}"
                raise UserError(message)
            model = found and found.load_model()
        if "model_warmup_fn" in self._functions:
            self._functions["model_warmup_fn"](model_dir, model, context)
        return model

    def estimate_s(self, request: inference.Request) -> float:  # noqa: ARG002 - part of every application
        """Nobody knows how long a user's code takes."""
        return math.inf

    def invoke(self, request: inference.Request) -> inference.Response:
        """Answer `POST /invocations`; never raises."""
        try:
            return self._answer(request)
        except RequestError as error:
            return inference.refuse(error.status, str(error))
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything; the worker goes on
            return _answer_error(error)

    def _answer(self, request: inference.Request) -> inference.Response:
        accept = choose_accept(request.headers.get("accept", ""), self._default_accept)
        if self._is_tfs:
            body, answer_type = tensorflow_serving.answer(
                self._functions, self._model, request, accept
            )
            return inference.Response(200, _to_bytes(body), answer_type)
        context = Context(request.headers, str(self._model_dir))
        content_type = parse_content_type(request.headers.get("content-type", ""))
        data = (
            _decode_text(request) if content_type in inference_toolkit.TEXT_TYPES else request.body
        )
        if "transform_fn" in self._functions:
            result = self._functions["transform_fn"](
                self._model, data, content_type, accept, context
            )
        else:
            decoded = self._functions["input_fn"](data, content_type, context)
            prediction = self._functions["predict_fn"](decoded, self._model, context)
            if "output_fn" in self._functions:
                result = self._functions["output_fn"](prediction, accept, context)
            else:
                answer_type = choose_encoding(
                    request.headers.get("accept", ""), self._default_accept
                )
                result = self._encoder(prediction, answer_type), answer_type
        body, answer_type = (
            (result[0], result[1]) if isinstance(result, tuple) else (result, accept)
        )
        headers = tuple(context.get_response_headers().items())
        return inference.Response(context.status or 200, _to_bytes(body), answer_type, headers)


# One request


def parse_content_type(text: str) -> str | None:
    """Give the bare media type in lower case, with any parameter but the charset kept; None if there is none (RQ-3)."""
    if not text.strip():
        return None
    name, parameters = negotiation.parse_media_type(text)
    return text if parameters.keys() - {"charset"} else name


def choose_accept(accept: str, default: str) -> str:
    """Give the one media type to ask a handler for: the most wanted of the list; the default for `*/*` (RQ-4)."""
    parts = [part.strip() for part in accept.split(",") if part.strip()]
    if len(parts) == 1 and ";" not in parts[0] and "*" not in parts[0]:
        return parts[0]
    best, best_quality = default, 0.0
    for part in parts:
        name, parameters = negotiation.parse_media_type(part)
        with contextlib.suppress(ValueError):
            quality = float(parameters.get("q", 1))
            if quality > best_quality:
                best, best_quality = (default if "*" in name else name), quality
    return best


def choose_encoding(accept: str, default: str) -> str:
    """Give the most wanted of the media types that need no `output_fn`.

    Raises: RequestError 406 if none of them is acceptable.
    """
    offered = (default, *(name for name in inference_toolkit.ENCODED_TYPES if name != default))
    chosen = negotiation.choose(
        accept, tuple(name for name in offered if name in inference_toolkit.ENCODED_TYPES)
    )
    if chosen is None:
        message = f"Accept {accept[:200]!r} needs an output_fn; without one: {', '.join(inference_toolkit.ENCODED_TYPES)}"
        raise RequestError(406, message)
    return chosen


def _decode_text(request: inference.Request) -> str:
    charset = negotiation.parse_media_type(request.headers.get("content-type", "")).parameters.get(
        "charset", "utf-8"
    )
    try:
        return request.body.decode(charset)
    except (UnicodeDecodeError, LookupError) as error:
        message = f"the body is no text in {charset[:40]}: {error}"
        raise RequestError(400, message) from error


def _to_bytes(body: Any) -> bytes:
    """Give what goes over the wire: bytes and text as they are, anything else as JSON, as the model server does."""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def _answer_error(error: Exception) -> inference.Response:
    """Answer with the status that the error carries, if it is one of the toolkit's; never with a traceback (SEC-4)."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "UnsupportedFormatError" in kinds:
        return inference.refuse(415, str(error))
    if "BaseInferenceToolkitError" in kinds:
        status, message = getattr(error, "status_code", None), str(getattr(error, "message", error))
        if isinstance(status, int) and 400 <= status <= 599:
            if status >= 500:
                log.exception("the handler failed with status %d", status)  # noqa: LOG004 - called while it is handled
            return inference.refuse(int(status), message)
    return inference.fail()


def _bind(function: Callable[..., Any], name: str, taken: int) -> Callable[..., Any]:
    """Return a function of (*arguments, context), whether or not the user's takes the context."""
    count = handler_rules.TOOLKIT_FUNCTIONS.get(name, taken)
    if taken == count + 1:
        return function
    return lambda *arguments: function(*arguments[:count])


def _decode(data: Any, content_type: str | None, _context: Context) -> Any:
    return inference_toolkit.decode(data, content_type)


def _predict(data: Any, model: Any, _context: Context) -> Any:
    if not callable(getattr(model, "predict", None)):
        message = (
            f"predict_fn is missing, and the model, {type(model).__name__}, has no method predict"
        )
        raise NotImplementedError(message)
    return model.predict(data)
