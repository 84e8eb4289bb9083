"""The models of a multi-model endpoint, which the platform loads, lists, invokes and unloads.

Rules of this file: a model's name is an opaque key and never part of a path; a model that is broken
or too large does not affect the others; all models live in one process, since the next request may
come to any worker. MME-1 to MME-6 are the platform's rules.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import gc
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from container import machine
from container.errors import RequestError, UserError
from container.serving import inference
from container.serving.exchange import Request, Response

log = logging.getLogger(__name__)

_PAGE_MODELS: Final = 100
_NAME_CHARACTERS: Final = 1024
_SPARE_MEMORY: Final = 0.1  # of the container's memory, for requests
_MODEL_MEMORY: Final = 3  # times its file: mapped, packed for the kernels, and working memory


@dataclass
class _Model:
    """A model that is loaded; without an application it is still being loaded."""

    url: str
    application: inference.Application | None = None


class Models:
    """The loaded models. Thread-safe; different models may be loaded at the same time."""

    def __init__(
        self,
        root: Path,
        load: Callable[[Path], inference.Application],
        memory_bytes: int | None = None,
    ) -> None:
        """`load` loads the artifact in a directory below `root`.

        The process may use `memory_bytes`, by default the container's limit.
        """
        self._root = root
        self._load = load
        self._memory_bytes = memory_bytes or machine.count_memory_bytes()
        self._models: dict[str, _Model] = {}
        self._lock = threading.Lock()

    def load(self, body: bytes) -> Response:
        """Answer `POST /models`; the model can be invoked once this returns 200 (MME-2).

        Raises: RequestError 400 or 404 for a bad request or path, 409 if the name is taken, 500 if
        the model cannot be loaded, 507 if the memory does not suffice.
        """
        name, url = _parse_load(body)
        path = Path(url).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise RequestError(400, f"url {url!r} is not below {self._root}")
        if not path.is_dir():
            raise RequestError(404, f"url {url!r} is not a directory")
        entry = _Model(url)
        with self._lock:
            if name in self._models:
                raise RequestError(409, f"model {name!r} is already loaded")
            self._models[name] = entry  # so that no other request loads it meanwhile
        try:
            self._check_memory(path)
            entry.application = self._load(path)
        except MemoryError:
            raise RequestError(507, f"there is not enough memory for model {name!r}") from None
        except UserError as error:
            log.error("model %s cannot be loaded: %s", name, error)  # noqa: TRY400 - no traceback
            raise RequestError(500, f"model {name!r} cannot be loaded: {error}") from None
        finally:
            if entry.application is None:
                with self._lock:
                    del self._models[name]
        log.info("loaded model %s from %s", name, url)
        return _answer({"modelName": name, "modelUrl": url})

    def list_page(self, token: str) -> Response:
        """Answer `GET /models`; `token` continues a list (MME-3). Raises: RequestError 400."""
        after = _parse_token(token)
        with self._lock:
            loaded = {name: model.url for name, model in self._models.items() if model.application}
        names = sorted(name for name in loaded if name > after)
        page = names[:_PAGE_MODELS]
        document: dict[str, Any] = {
            "models": [{"modelName": name, "modelUrl": loaded[name]} for name in page]
        }
        if len(names) > len(page):
            document["nextPageToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
        return _answer(document)

    def describe(self, name: str) -> Response:
        """Answer `GET /models/{name}` (MME-4). Raises: RequestError 404."""
        return _answer({"modelName": name, "modelUrl": self._find(name).url})

    def unload(self, name: str) -> Response:
        """Answer `DELETE /models/{name}` and free the memory (MME-4). Raises: RequestError 404."""
        self._find(name)
        with self._lock:
            model = self._models.pop(name, None)
        if model is None:  # another request was faster
            raise _not_loaded(name)
        url = model.url
        model.application = None
        del model
        gc.collect()
        _return_memory()
        log.info("unloaded model %s", name)
        return _answer({"modelName": name, "modelUrl": url})

    def invoke(self, name: str, request: Request) -> Response:
        """Answer `POST /models/{name}/invoke` (MME-5). Raises: RequestError 404."""
        application = self._find(name).application
        if application is None:
            raise _not_loaded(name)
        return application.invoke(request)

    def _find(self, name: str) -> _Model:
        with self._lock:
            model = self._models.get(name)
        if model is None or model.application is None:
            raise _not_loaded(name)
        return model

    def _check_memory(self, path: Path) -> None:
        if self._memory_bytes is None:
            return
        sizes = [file.stat().st_size for file in path.rglob("*.tflite")]
        needed = _MODEL_MEMORY * max(sizes, default=0)
        if _count_resident_bytes() + needed > self._memory_bytes * (1 - _SPARE_MEMORY):
            raise MemoryError


class NoModel:
    """What answers `/invocations` of a multi-model endpoint."""

    def invoke(self, _: Request) -> Response:
        """Refuse the request and name the right path."""
        return inference.refuse(404, "this endpoint has several models; use /models/NAME/invoke")

    def estimate_s(self, _: Request) -> float:
        """Return 0."""
        return 0.0


def _parse_load(body: bytes) -> tuple[str, str]:
    try:
        document = json.loads(body)
        name = document["model_name"]
        url = document["url"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RequestError(400, '{"model_name": ..., "url": ...} is expected') from None
    is_name = isinstance(name, str) and 0 < len(name) <= _NAME_CHARACTERS
    is_path = isinstance(url, str) and "\0" not in url
    if not is_name or not is_path:
        message = (
            f"model_name must be a string of 1 to {_NAME_CHARACTERS} characters, and url a path"
        )
        raise RequestError(400, message)
    return name, url


def _parse_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise RequestError(400, "next_page_token is not from this server") from None


def _answer(document: Mapping[str, Any]) -> Response:
    return Response(200, json.dumps(document).encode())


def _not_loaded(name: str) -> RequestError:
    return RequestError(404, f"model {name[:200]!r} is not loaded")


def _count_resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _return_memory() -> None:
    """Return freed memory to the system; the allocator would keep it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
