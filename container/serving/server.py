"""`serve`: gunicorn hosts the service until it is asked to stop.

Rules of this file: processes, sockets, signals and logs only; what is served is decided in `plan`.
"""

import logging
import math
import os
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.errors import HaltServer

from container import contract, machine, predictor, variables
from container.errors import PlatformError, UserError
from container.serving import plan, server_settings
from container.serving.exchange import ENVIRON_KEY
from container.serving.service import Service
from container.serving.telemetry import logs
from container.serving.workers import library_threads
from container.serving.workers.arbiter import GrowingArbiter

_EVENT_WORKER = "container.serving.event_worker.worker.EventWorker"
_BACKLOG = 2048  # HO-7: the kernel accepts connections while every worker computes
# HO-10: SIGKILL comes 30 s after SIGTERM; the master needs the rest to reap its workers.
_GRACE_S = contract.SERVING_STOP_GRACE_S - 5
# A request that kills its worker may be sent again a few times; ten such deaths a minute are the
# server's own fault.
_EARLY_S = 10
_EARLY_DEATHS = 10
_CIRCLE_S = 60
_CIRCLE_STATUS = 5
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_HEARTBEAT_S = 30  # the event loop signals life twice a second, even while it computes

log = logging.getLogger(__name__)


def main(layout: contract.Layout, environ: Mapping[str, str]) -> int:
    """Serve until stopped; return 1 if the settings or the artifact are at fault."""
    try:
        cores = math.ceil(machine.count_cpus())
        settings = server_settings.parse(environ)
        logs.configure(settings.log_level, settings.log_format)
        advice = server_settings.explain_gunicorn(environ)
        for warning in filter(None, (*variables.find_misspelt(environ), advice)):
            log.warning(warning)
        service = Service(plan.make(layout, environ, settings, cores))
        logs.count_drops_with(service.metrics.count_dropped_line)
        if service.plan.user_code is not None:
            _divide_cores(service, layout.model)
        if settings.preload and service.plan.user_code is not None:
            service.preload()
    except (UserError, PlatformError) as error:
        print(f"the server cannot start: {error}", file=sys.stderr, flush=True)
        return 1
    # A stop that came between a worker's fork and its signal handlers would be lost, and the worker
    # killed at the end of the grace period.
    os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals)
    _Server(service).run()
    return 0


def _divide_cores(service: Service, model_dir: Path) -> None:
    """Give the numerical libraries of each worker its part of the cores."""
    planned = service.plan
    workers = planned.workers
    free_bytes = sys.maxsize
    if planned.grows:
        workers = min(workers, len(predictor.list_gpus(planned.environ)) or workers)
        free_bytes = service.memory.count_free_bytes()
    count = library_threads.choose(model_dir, planned.cores, free_bytes, workers)
    library_threads.offer(os.environ, count)


class _Server(BaseApplication):
    """gunicorn's master with our settings; it reads no file, argument or variable itself."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._early_deaths: deque[float] = deque(maxlen=_EARLY_DEATHS)
        super().__init__()

    def load_config(self) -> None:
        settings = self.service.settings
        is_event = settings.worker_class == "event"
        options = {
            "bind": f"0.0.0.0:{settings.port}",
            "backlog": _BACKLOG,
            "workers": 1 if self.service.plan.grows else self.service.plan.workers,
            "worker_class": _EVENT_WORKER if is_event else settings.worker_class,
            "threads": 1 if is_event else settings.threads,
            "timeout": _HEARTBEAT_S if is_event else settings.timeout_s,
            "graceful_timeout": _GRACE_S,
            "keepalive": 75,
            "worker_tmp_dir": _find_heartbeat_directory(),
            "loglevel": settings.log_level,
            "control_socket_disable": True,
            "logger_class": logs.GunicornLogger,
            "pre_fork": self._number_worker,
            "post_fork": self._give_gpu,
            "post_worker_init": _release_signals,
            "child_exit": self._bury_worker,
        }
        if settings.log_format == "json":
            options["logger_class"] = logs.GunicornJsonLogger
        if logs.has_requests() and not is_event:
            options["pre_request"] = _note_start
            options["post_request"] = _log_request
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        self.service.load()
        return self.service.wsgi

    def run(self) -> None:
        """Be gunicorn's master until asked to stop."""
        service = self.service
        GrowingArbiter(self, service.plan, service.growth, service.memory).run()

    def _number_worker(self, _: Any, worker: Any) -> None:
        worker.forked = time.monotonic()
        worker.row = self.service.loads.take()
        self.service.metrics.take(worker.row)
        self.service.growth.take(worker.row)

    def _give_gpu(self, _: Any, worker: Any) -> None:
        """Show a worker's user code one of several GPUs."""
        gpus = predictor.list_gpus(os.environ)
        if self.service.plan.user_code is not None and len(gpus) > 1:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[worker.row % len(gpus)]

    def _bury_worker(self, arbiter: Any, worker: Any) -> None:
        """Free the row of a dead worker.

        Give up if workers keep dying at their start, so that the platform replaces the instance
        (HO-12).
        """
        self.service.loads.free(worker.row)
        self.service.metrics.clear(worker.row)
        arbiter.bury(worker.row)
        now = time.monotonic()
        if now - worker.forked < _EARLY_S:
            self._early_deaths.append(now)
        is_stopping = not arbiter.LISTENERS
        if is_stopping or len(self._early_deaths) < _EARLY_DEATHS:
            return
        if self._early_deaths[0] > now - _CIRCLE_S:
            message = (
                f"{_EARLY_DEATHS} workers died within {_EARLY_S} s of starting: the server stops"
            )
            log.critical(message)
            raise HaltServer(message, _CIRCLE_STATUS)


def _note_start(_: Any, request: Any) -> None:
    request.started = time.monotonic()


def _log_request(_: Any, request: Any, environ: Mapping[str, Any], sent: Any) -> None:
    """Log a request that a `gthread` worker has answered."""
    response = environ.get(ENVIRON_KEY)
    if response is None or sent is None:
        return
    exchange = logs.Exchange(
        method=request.method,
        target=request.path,
        headers={name.lower(): text for name, text in request.headers},
        bytes_in=int(environ.get("CONTENT_LENGTH") or 0),
        bytes_out=sent.sent,
        started=request.started,
    )
    logs.log_request(exchange, response)


def _hold_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)


def _release_signals(_: Any = None) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


def _find_heartbeat_directory() -> str:
    """Return a directory for the files with which workers show life, if possible in memory."""
    fallback = tempfile.gettempdir()
    for directory in ("/dev/shm", fallback):  # noqa: S108 - gunicorn's file is private
        if os.access(directory, os.W_OK) and Path(directory).is_dir():
            return directory
    raise PlatformError(f"neither /dev/shm nor {fallback} can be written")
