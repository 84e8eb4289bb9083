"""The models of one multi-model server: loaded when asked for, the least recently used unloaded for room (MME-1..6)."""

from __future__ import annotations

import collections
import hashlib
import json
import shutil
import threading
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from container.errors import RequestError, UserError
from local_test.data import job_outputs, storage

_CONFLICT: Final = 409
_NO_ROOM: Final = 507


class Http(Protocol):
    """The two ways to speak to a server."""

    def exchange(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request of the platform's own; give status and body."""


class ModelCache:
    """Knows which models a server has loaded; safe from several threads."""

    def __init__(
        self,
        server: Http,
        prefix: str,
        directory: Path,
        seen_at: str,
        *,
        capacity: int | None = None,
    ) -> None:
        """`prefix` is the URI below which targets lie; the server sees `directory` as `seen_at`: `/opt/ml/models`.

        `capacity` is how many models are loaded at most; None loads until the container says 507.
        """
        self._server = server
        self._prefix = prefix.rstrip("/")
        self._directory = directory
        self._seen_at = seen_at
        self._capacity = capacity
        self._loaded: collections.OrderedDict[str, str] = collections.OrderedDict()
        self._lock = threading.Lock()

    @property
    def loaded(self) -> list[str]:
        """Targets that are loaded, the least recently used first."""
        return list(self._loaded)

    def check_list_api(self) -> None:
        """Ask for the models of a fresh server.

        Raises: UserError if it does not answer 200 with none: the endpoint would not get healthy
        (MME-3, MME-6).
        """
        status, body = self._server.exchange("GET", "/models")
        try:
            models = json.loads(body)["models"] if status == 200 else None
        except (ValueError, KeyError, TypeError):
            models = None
        if models != []:
            message = f'GET /models was answered {status} {body[:100]!r}; 200 with {{"models": []}} is expected (MME-3)'
            raise UserError(message)

    def path_of(self, target: str) -> str:
        """Give the path that invokes a model, which is loaded when this returns.

        Raises: RequestError 400 for a target that does not exist, else with the status of what went
        wrong.
        """
        name = hashlib.sha256(
            f"{self._prefix}/{target}".encode()
        ).hexdigest()  # opaque, as on the platform (MME-1)
        with self._lock:
            if target in self._loaded:
                self._loaded.move_to_end(target)
            else:
                self._load(target, name)
        return f"/models/{quote(name, safe='')}/invoke"

    def forget(self, target: str) -> None:
        """Note that the server does not have the model any more (MME-5): the next `path_of` loads it again."""
        with self._lock:
            self._loaded.pop(target, None)

    def unload(self, target: str) -> None:
        """Unload a model and remove its files (MME-4)."""
        with self._lock:
            self._unload(target)

    def _load(self, target: str, name: str) -> None:
        directory = self._directory / name / "model"
        self._deliver(target, directory)
        if self._capacity is not None and len(self._loaded) >= self._capacity:
            self._unload(next(iter(self._loaded)))
        body = json.dumps({"model_name": name, "url": f"{self._seen_at}/{name}/model"}).encode()
        status, answer = self._server.exchange("POST", "/models", body)
        while status == _NO_ROOM and self._loaded:  # MME-2: make room and try again
            self._unload(next(iter(self._loaded)))
            status, answer = self._server.exchange("POST", "/models", body)
        if status not in (200, _CONFLICT):
            shutil.rmtree(directory.parent, ignore_errors=True)
            message = f"loading {target} was answered {status}: {answer[:300].decode('utf-8', 'replace')} (MME-2)"
            raise RequestError(424, message)
        self._loaded[target] = name

    def _deliver(self, target: str, directory: Path) -> None:
        packed = directory.with_suffix(".tar.gz")
        try:
            storage.fetch(f"{self._prefix}/{target}", packed)
            directory.mkdir(parents=True, exist_ok=True)
            job_outputs.unpack(packed, directory)
        except UserError as error:
            shutil.rmtree(directory.parent, ignore_errors=True)
            message = f"TargetModel {target!r} cannot be had: {error}"
            raise RequestError(400, message) from error
        packed.unlink()

    def _unload(self, target: str) -> None:
        name = self._loaded.pop(target, None)
        if name is None:
            return
        status, answer = self._server.exchange("DELETE", f"/models/{quote(name, safe='')}")
        shutil.rmtree(self._directory / name, ignore_errors=True)
        if status not in (200, 404):
            message = f"unloading {target} was answered {status}: {answer[:300].decode('utf-8', 'replace')} (MME-4)"
            raise RequestError(424, message)
