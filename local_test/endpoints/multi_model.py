"""The models of one multi-model server: loaded on request, unloaded to make room (MME-1 to 6)."""

import collections
import hashlib
import json
import threading
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from container.errors import RequestError, UserError
from local_test import container_files
from local_test.data import models

_CONFLICT: Final = 409
_NO_ROOM: Final = 507


class Http(Protocol):
    """Sends requests to the server."""

    def exchange(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Send a request of the platform itself; return status and body."""


class ModelCache:
    """The models that a server has loaded; safe to use from several threads."""

    def __init__(self, server: Http, prefix: str, directory: Path, seen_at: str) -> None:
        """Targets are relative to the URI `prefix`; the server sees `directory` at `seen_at`."""
        self._server = server
        self._prefix = prefix.rstrip("/")
        self._directory = directory
        self._seen_at = seen_at
        self._loaded: collections.OrderedDict[str, str] = collections.OrderedDict()
        self._lock = threading.Lock()

    @property
    def loaded(self) -> list[str]:
        """The loaded targets, the least recently used first."""
        return list(self._loaded)

    def check_list_api(self) -> None:
        """Request the list of models of a new server, as the health check does.

        Raises: UserError if the answer is not 200 with an empty list (MME-3, MME-6).
        """
        status, body = self._server.exchange("GET", "/models")
        try:
            loaded = json.loads(body)["models"]
        except (ValueError, KeyError, TypeError, RecursionError):
            loaded = None
        if status != 200 or loaded != []:
            raise UserError(
                f"GET /models returned {status} {body[:100]!r}; "
                'expected 200 with {"models": []} (MME-3)'
            )

    def path_of(self, target: str) -> str:
        """Load a model if necessary, and return the path that invokes it.

        Raises: RequestError 400 for a target that does not exist, 424 if the container fails.
        """
        if ".." in target.split("/"):
            raise RequestError(400, f"TargetModel {target!r} leads out of the prefix (MME-1)")
        # Opaque, as on the platform (MME-1).
        name = hashlib.sha256(f"{self._prefix}/{target}".encode()).hexdigest()
        with self._lock:
            if target in self._loaded:
                self._loaded.move_to_end(target)
            else:
                self._load(target, name)
        return f"/models/{quote(name, safe='')}/invoke"

    def forget(self, target: str) -> None:
        """Note that the server has unloaded a model by itself (MME-5)."""
        with self._lock:
            self._loaded.pop(target, None)

    def unload(self, target: str) -> None:
        """Unload a model and remove its files (MME-4)."""
        with self._lock:
            self._unload(target)

    def _load(self, target: str, name: str) -> None:
        directory = self._directory / name / "model"
        self._deliver(target, directory)
        body = json.dumps({"model_name": name, "url": f"{self._seen_at}/{name}/model"}).encode()
        status, answer = self._server.exchange("POST", "/models", body)
        while status == _NO_ROOM and self._loaded:  # MME-2: make room and try again
            self._unload(next(iter(self._loaded)))
            status, answer = self._server.exchange("POST", "/models", body)
        if status not in (200, _CONFLICT):
            container_files.remove_tree(directory.parent)
            message = f"loading {target} returned {status}: {_shorten(answer)} (MME-2)"
            raise RequestError(424, message)
        self._loaded[target] = name

    def _deliver(self, target: str, directory: Path) -> None:
        try:
            models.deliver({"ModelDataUrl": f"{self._prefix}/{target}"}, directory)
        except UserError as error:
            container_files.remove_tree(directory.parent)
            raise RequestError(400, f"cannot fetch TargetModel {target!r}: {error}") from error

    def _unload(self, target: str) -> None:
        name = self._loaded.pop(target, None)
        if name is None:
            return
        status, answer = self._server.exchange("DELETE", f"/models/{quote(name, safe='')}")
        container_files.remove_tree(self._directory / name)
        if status not in (200, 404):
            message = f"unloading {target} returned {status}: {_shorten(answer)} (MME-4)"
            raise RequestError(424, message)


def _shorten(answer: bytes) -> str:
    return answer[:300].decode("utf-8", "replace")
