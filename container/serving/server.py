"""`serve`: loads the artefact, then gunicorn hosts the application until it is told to stop.

Rules of this file: processes, sockets, signals and logs only. The model is loaded and run once before any worker is
forked: single-threaded LiteRT survives a fork, the workers share its memory, and a broken artefact ends the
program with its reason instead of workers that die in a circle (HO-6, HO-12).
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flask
from gunicorn.app.base import BaseApplication

from container import artifact, contract, predictor
from container.errors import PlatformError, UserError
from container.serving import app, inference
from container.serving.settings import Settings, available_cores, parse

# HO-10: SIGKILL comes 30 s after SIGTERM; the rest is for the master to see its workers go.
_GRACE_S = contract.SERVING_STOP_GRACE_S - 5

log = logging.getLogger(__name__)


def main(layout: contract.Layout, environ: Mapping[str, str]) -> int:
    """Serve until stopped; gives 1 if the settings or the artefact are at fault."""
    try:
        settings = parse(environ, available_cores())
        _configure_logging(settings.log_level)
        model = load_model(layout, settings)
    except (UserError, PlatformError) as error:
        print(f"the server cannot start: {error}", file=sys.stderr, flush=True)
        return 1
    _Server(settings, app.create_app(model, payload_bytes=settings.payload_bytes)).run()
    return 0


def load_model(layout: contract.Layout, settings: Settings) -> inference.Application:
    """Load the artefact of `layout` and wrap it for requests.

    Raises: UserError if there is no artefact, or one that cannot be loaded.
    """
    found = artifact.load(layout.model)
    model = predictor.load(found)
    log.info("loaded %s: images %s, %d classes", found.root, found.manifest.input_shape, len(found.manifest.classes))
    return inference.Inference(
        model.predict,
        input_shape=found.manifest.input_shape,
        classes=found.manifest.classes,
        default_accept=settings.default_accept,
        end_of_line=not settings.batch,
    )


class _Server(BaseApplication):
    """gunicorn's master with our settings; it reads no file, argument or variable of its own."""

    def __init__(self, settings: Settings, application: flask.Flask) -> None:
        self._settings = settings
        self._application = application
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        options = {
            "bind": f"0.0.0.0:{settings.port}",
            "backlog": 2048,  # HO-7: connections are accepted by the kernel while every worker computes
            "workers": settings.workers,
            "worker_class": settings.worker_class,
            "threads": settings.threads,
            "timeout": settings.timeout_s,
            "graceful_timeout": _GRACE_S,
            "keepalive": 75,
            "preload_app": True,
            "worker_tmp_dir": _heartbeat_directory(),
            "loglevel": settings.log_level,
            "control_socket_disable": True,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._application


def _heartbeat_directory() -> str:
    """Give a directory for the files by which workers show life, in memory where that can be written (HO-15)."""
    for directory in ("/dev/shm", tempfile.gettempdir()):  # noqa: S108 - gunicorn makes its own private file there
        if os.access(directory, os.W_OK) and Path(directory).is_dir():
            return directory
    message = f"neither /dev/shm nor {tempfile.gettempdir()} can be written"
    raise PlatformError(message)


def _configure_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(process)d %(message)s"))
    package = logging.getLogger("container")
    package.handlers[:] = [handler]
    package.setLevel(level.upper())
    package.propagate = False
