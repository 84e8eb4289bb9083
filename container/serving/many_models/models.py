"""The models of a multi-model endpoint, which the platform loads, lists, invokes and unloads.

Models of the bundled network share the endpoint's process, and any other model has one of its own.
When memory is short, a model that is being loaded gives way (507: the platform then unloads others
and tries again). If none is, the least recently used one is unloaded (404 at its next request: the
platform then loads it again).

Rules of this file: a model's name is an opaque key and never part of a path; a model that is broken
or too large does not affect the others. MME-1 to MME-6 are the platform's rules.
"""

import base64
import binascii
import ctypes
import gc
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from container.errors import RequestError, UserError
from container.serving import inference
from container.serving.exchange import Request, Response
from container.serving.many_models.model_process import ModelProcess
from container.serving.records import json_values
from container.serving.telemetry.model_metrics import ModelMetrics
from container.serving.workers.memory import Memory

log = logging.getLogger(__name__)

_PAGE_MODELS: Final = 100
_NAME_CHARACTERS: Final = 1024
_MODEL_MEMORY: Final = 3  # times its file: mapped, packed for the kernels, and working memory
_PROCESS_BYTES: Final = 40 * 2**20  # the least that a process takes
_LOOK_S: Final = 0.5
_LOOK_LOADING_S: Final = 0.01  # a model may take gigabytes in a second


class Model(Protocol):
    """What answers the requests of one model."""

    used: float
    """When the latest request came, by `time.monotonic`."""

    def wait_until_loaded(self) -> None:
        """Wait until requests are answered. Raises: UserError, MemoryError."""

    def invoke(self, request: Request) -> Response:
        """Answer a request. Raises: RequestError, MemoryError."""

    def close(self) -> None:
        """End, and free the memory."""


class InProcess:
    """A model in the endpoint's own process."""

    def __init__(self, application: inference.Application) -> None:
        self.used = time.monotonic()
        self._application: inference.Application | None = application

    def wait_until_loaded(self) -> None:
        """Return at once: it is."""

    def invoke(self, request: Request) -> Response:
        """Answer a request. Raises: RequestError 404 if it has been closed."""
        application = self._application
        if application is None:
            raise RequestError(404, "the model is not loaded")
        return application.invoke(request)

    def close(self) -> None:
        """Free the memory, which the allocator would keep."""
        self._application = None
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)


@dataclass
class _Entry:
    """A name that is taken."""

    url: str
    model: Model | None = None
    """None until the model begins to be loaded."""
    is_loaded: bool = False
    started: float = field(default_factory=time.monotonic)


class Models:
    """The loaded models. Thread-safe; different models may be loaded at the same time."""

    def __init__(
        self,
        root: Path,
        start: Callable[[str, Path], Model],
        memory: Memory | None = None,
        processes_maximum: int = 0,
        metrics: ModelMetrics | None = None,
    ) -> None:
        """`start` begins to load the model of a name from a directory below `root`.

        At most `processes_maximum` models have a process at the same time; 0 is as many as memory
        may hold.
        """
        self._root = root
        self._start = start
        self._metrics = metrics or ModelMetrics()
        self._memory = memory or Memory()
        most = self._memory.count_bytes() // _PROCESS_BYTES
        self._processes_maximum = processes_maximum or max(1, most)
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None
        self._loading = threading.Event()

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
        entry = _Entry(url)
        with self._lock:
            if name in self._entries:
                raise RequestError(409, f"model {name!r} is already loaded")
            self._entries[name] = entry  # so that no other request loads it meanwhile
        try:
            self._load(name, path, entry)
        except MemoryError:
            raise RequestError(507, f"not enough memory for model {name!r}") from None
        except UserError as error:
            log.error("model %s cannot be loaded: %s", name, error)  # noqa: TRY400 - no traceback
            raise RequestError(500, f"model {name!r} cannot be loaded: {error}") from None
        finally:
            if not entry.is_loaded:
                self._drop(name, entry)
        log.info("loaded model %s from %s", name, url)
        return _answer({"modelName": name, "modelUrl": url})

    def _load(self, name: str, path: Path, entry: _Entry) -> None:
        self._check_room(path)
        entry.model = model = self._start(name, path)
        if isinstance(model, ModelProcess):
            self._watch()
        model.wait_until_loaded()
        self._metrics.note_load(name, time.monotonic() - entry.started)
        with self._lock:
            entry.is_loaded = True

    def _check_room(self, path: Path) -> None:
        """Raise MemoryError for a model that cannot be loaded now."""
        with self._lock:
            models = [entry.model for entry in self._entries.values()]
        count = sum(isinstance(model, ModelProcess) for model in models)
        if count >= self._processes_maximum:
            log.warning("%d models have a process, and no more may have one", count)
            raise MemoryError
        sizes = [file.stat().st_size for file in path.rglob("*.tflite")]
        if _MODEL_MEMORY * max(sizes, default=0) > self._memory.count_free_bytes():
            raise MemoryError

    def list_page(self, token: str) -> Response:
        """Answer `GET /models`; `token` continues a list (MME-3). Raises: RequestError 400."""
        after = _parse_token(token)
        with self._lock:
            loaded = {name: entry.url for name, entry in self._entries.items() if entry.is_loaded}
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
        return _answer({"modelName": name, "modelUrl": self._find(name)[0].url})

    def unload(self, name: str) -> Response:
        """Answer `DELETE /models/{name}` and free the memory (MME-4). Raises: RequestError 404."""
        entry, _ = self._find(name)
        if not self._drop(name, entry):  # another request was faster
            raise _not_loaded(name)
        log.info("unloaded model %s", name)
        return _answer({"modelName": name, "modelUrl": entry.url})

    def invoke(self, name: str, request: Request) -> Response:
        """Answer `POST /models/{name}/invoke` (MME-5). Raises: RequestError 404."""
        entry, model = self._find(name)
        started = time.perf_counter()
        try:
            response = model.invoke(request)
        except RequestError as error:
            self._metrics.observe(name, error.status, {})
            raise
        except MemoryError:
            log.warning("model %s died and is unloaded, since memory is short", name)
            self._drop(name, entry)
            raise _not_loaded(name) from None
        seconds = {**(response.seconds or {}), "request": time.perf_counter() - started}
        self._metrics.observe(name, response.status, seconds)
        if response.custom is not None:
            self._metrics.show_custom(name, response.custom)
        return response

    def _find(self, name: str) -> tuple[_Entry, Model]:
        with self._lock:
            entry = self._entries.get(name)
        if entry is None or entry.model is None or not entry.is_loaded:
            raise _not_loaded(name)
        return entry, entry.model

    def _drop(self, name: str, entry: _Entry) -> bool:
        """Free a model's memory and then its name; return False if that has begun already."""
        with self._lock:
            if self._entries.get(name) is not entry:
                return False
            del self._entries[name]
            self._metrics.forget(name)
        if entry.model is not None:
            entry.model.close()
        return True

    def _watch(self) -> None:
        """Watch the memory from now on, and closely while a model is being loaded."""
        with self._lock:
            self._loading.set()
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._keep_free, name="memory", daemon=True)
                self._watcher.start()

    def _keep_free(self) -> None:
        while True:
            self._loading.clear()
            if all(entry.is_loaded for entry in list(self._entries.values())):
                self._loading.wait(_LOOK_S)
            time.sleep(_LOOK_LOADING_S)
            try:
                if self._memory.count_free_bytes() < 0:
                    self.make_room()
            except Exception:  # the boundary of the watch, which goes on
                log.exception("the memory cannot be watched")

    def make_room(self) -> None:
        """End the model that began to be loaded last, or the least recently used idle one."""
        with self._lock:
            entries = [
                (name, entry, entry.model)
                for name, entry in self._entries.items()
                if isinstance(entry.model, ModelProcess)
            ]
        loading = [(entry.started, model) for _, entry, model in entries if not entry.is_loaded]
        if loading:
            _, newest = max(loading, key=lambda pair: pair[0])
            newest.close("memory is short", wait_s=0)
            return
        idle = [one for one in entries if one[2].is_idle]
        if not idle:
            return
        name, entry, _ = min(idle, key=lambda one: one[2].used)
        if self._drop(name, entry):
            log.warning("memory is short: unloaded model %s, the least recently used", name)


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
        document = json_values.load(body)
        name = document["model_name"]
        url = document["url"]
        f"{name}{url}".encode()  # no half of a character, which no answer could hold
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RequestError(400, 'the body must be {"model_name": ..., "url": ...}') from None
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
