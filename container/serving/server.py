"""`serve`: loads the artifact, then gunicorn hosts the application until it is told to stop.

Rules of this file: processes, sockets, signals and logs only. A light model is loaded and run
before any worker is forked: single-threaded LiteRT survives a fork, the workers share its memory,
and a broken artifact ends the program with its reason instead of workers that die in a circle
(HO-6, HO-12). A heavy one is loaded after the fork, by one worker with all the cores, since no
runtime with several threads survives it (HO-14).
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
import os
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.errors import HaltServer

import container
from container import artifact, contract, machine, predictor
from container.errors import PlatformError, UserError
from container.serving import batching, inference, models, server_settings, wsgi
from container.serving.event_worker.loads import Loads
from container.serving.server_settings import Settings
from container.serving.telemetry import logs
from container.serving.telemetry.emf import Emf
from container.serving.telemetry.metrics import Metrics
from container.serving.user_code import handlers

if TYPE_CHECKING:
    import flask

    from container.serving import asgi

# HO-10: SIGKILL comes 30 s after SIGTERM; the rest is for the master to see its workers go.
_GRACE_S = contract.SERVING_STOP_GRACE_S - 5
# Above it an image earns more from all cores at once than requests do from a core each (measured on
# ResNet-50).
_HEAVY_IMAGE_S = 0.005
_BATCH_IMAGES = 32  # on TensorFlow, where a call costs as much as many small images
# A request that kills its worker may be sent again a few times; ten such deaths a minute are the
# server's own fault.
_EARLY_S, _EARLY_DEATHS, _CIRCLE_S, _CIRCLE_STATUS = 10, 10, 60, 5
# Resident memory as measured; a model takes three times its file: mapped, packed for the kernels,
# and working memory.
_MASTER_BYTES, _WORKER_BYTES, _MODEL_MEMORY = 56 * 2**20, 40 * 2**20, 3
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_HEARTBEAT_S = 30  # the event loop shows life twice a second whatever is being computed

log = logging.getLogger(__name__)


class Service:
    """What every worker serves: the settings, and the application or how to load it."""

    def __init__(self, settings: Settings, **labels: str) -> None:
        """Made by the master; `labels` describe what is served to whoever reads the metrics."""
        self.settings = settings
        self.application: inference.Application | None = None
        self.load: Callable[[], inference.Application] = models.NoModel
        self.models: models.Models | None = None
        # One more than there are workers: a new one may start before the old one has been buried.
        self.loads = Loads(settings.workers + 1)
        self.metrics = Metrics(settings.workers + 1, {**labels, "toolkit": container.__version__})
        self.prediction_threads = 1
        """As many requests as this are read at once by a worker; more than one where predictions are batched."""
        self.computing_since = -math.inf
        """When the latest batch began, by `time.monotonic`."""

    def load_artifact(
        self, found: artifact.Artifact, runtime: str, *, threads: int = 1, concurrency: int = 1
    ) -> inference.Application:
        """Load an artifact's model for requests. Raises: UserError as `predictor.load` does."""
        model = predictor.load(found, runtime=runtime, threads=threads, concurrency=concurrency)
        return self.wrap(model, found, count_batch_images(self.settings, runtime))

    def wrap(
        self, model: predictor.Predictor, found: artifact.Artifact, batch_images: int
    ) -> inference.Application:
        """Make a loaded model answer requests, with up to `batch_images` of several in one prediction."""
        predict, image_s = model.predict, model.image_s
        if batch_images > 1:
            predict = batching.Batcher(
                model.predict,
                images_maximum=batch_images,
                delay_s=self.settings.batch_delay_ms / 1000,
                timeout_s=self.settings.timeout_s,
                observe=self._observe_batch,
            ).predict
            image_s = (
                math.inf
            )  # it may wait for others: no request may be answered on an event loop
        return inference.Inference(
            predict,
            input_shape=found.manifest.input_shape,
            classes=found.manifest.classes,
            image_s=image_s,
            default_accept=self.settings.default_accept,
            end_of_line=not self.settings.batch,
            placeholders=self.settings.placeholders,
            payload_bytes=self.settings.payload_bytes,
            metrics=self.metrics,
        )

    def _observe_batch(self, requests: int) -> None:
        self.computing_since = time.monotonic()
        self.metrics.count_batch(requests)

    @functools.cache  # noqa: B019 - a service lives as long as its process
    def wsgi(self) -> flask.Flask:
        """Build the Flask application; importing Flask takes as long as the rest of the start."""
        from container.serving import app

        self.application = self.application or self.load()
        return app.create_app(
            self.application,
            payload_bytes=self.settings.payload_bytes,
            workers=self.settings.workers,
            models=self.models,
            metrics=self.metrics,
        )

    def asgi(self) -> asgi.AsgiApplication:
        """Build the ASGI application in front of Flask's."""
        from container.serving import asgi

        self.application = self.application or self.load()
        return asgi.AsgiApplication(self.application, self.wsgi(), self.settings)


def main(layout: contract.Layout, environ: Mapping[str, str]) -> int:
    """Serve until stopped; gives 1 if the settings or the artifact are at fault."""
    try:
        cores = math.ceil(machine.count_cpus())
        chosen = server_settings.parse(environ)
        logs.configure(chosen.log_level, chosen.log_format)
        service = prepare(layout, environ, chosen, cores)
    except (UserError, PlatformError) as error:
        print(f"the server cannot start: {error}", file=sys.stderr, flush=True)
        return 1
    # A stop that came between a worker's fork and its signal handlers would be lost, and the worker
    # killed at last.
    os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals)
    _Server(service).run()
    return 0


def _write_at_intervals(emf: Emf, interval_s: int) -> None:
    """Have the master, which this runs in, write metrics; workers do not inherit its timer."""
    signal.signal(signal.SIGALRM, lambda *_: emf.write())
    signal.setitimer(signal.ITIMER_REAL, interval_s, interval_s)


def prepare(
    layout: contract.Layout, environ: Mapping[str, str], chosen: Settings, cores: int
) -> Service:
    """Load the artifact, and decide by its speed how many workers and threads serve it.

    A user's own handlers are left for the workers to load.

    Raises: UserError if there is no artifact, or one that cannot be loaded.
    """
    if chosen.multi_model:
        own = handlers.find_code(layout, environ)
        if own is not None:
            message = (
                f"{contract.MULTI_MODEL_VARIABLE} is set, and {own.module} serves one model: multi-model endpoints are "
                f"for models of the bundled trainer; an image of your own code says {contract.MULTI_MODEL_LABEL}=false"
            )
            raise UserError(message)
        service = Service(replace(chosen, workers=1), runtime="LiteRT")
        service.application = models.NoModel()
        service.models = models.Models(
            layout.models, lambda path: _load_one_of_many(service, path, cores)
        )
        log.info(
            "serving the models below %s: %d cores, 1 worker, port %d",
            layout.models,
            cores,
            chosen.port,
        )
        return service
    foreign = handlers.find(layout, environ)
    if foreign is not None:
        service = Service(replace(chosen, workers=chosen.workers or cores), runtime="handlers")
        service.load = lambda: inference.Counted(foreign.load(), service.metrics)
        return service
    found = artifact.load(layout.model)
    runtime, reason = chosen.runtime, "as BYO_RUNTIME says"
    if runtime == "auto":
        runtime, reason = predictor.choose(found)
    model, speed = None, ""
    if runtime in artifact.FLATBUFFERS:
        # The loop of an event worker and its compute thread have an interpreter each: neither waits
        # for the other.
        model = predictor.load(
            found, runtime=runtime, concurrency=2 if chosen.worker_class == "event" else 1
        )
        speed = f" ({model.image_s * 1000:.2f} ms an image on one core)"
        if (
            chosen.runtime == "auto"
            and model.image_s > _HEAVY_IMAGE_S
            and _has_gpu_runtime(environ)
        ):
            runtime, reason, model = "saved_model", "as the model is heavy and there is a GPU", None
    is_heavy = model is None or model.image_s > _HEAVY_IMAGE_S
    workers = chosen.workers or (
        1
        if is_heavy
        else min(cores, _count_workers_in_memory(found.root / artifact.FLATBUFFERS[runtime]))
    )
    threads = max(1, cores // workers) if is_heavy else 1
    batch_images = count_batch_images(chosen, runtime)
    service = Service(replace(chosen, workers=workers), runtime=runtime, **_describe_model(found))
    service.load = lambda: service.load_artifact(found, runtime, threads=threads)
    service.prediction_threads = min(batch_images, chosen.queue_requests)
    if model is not None and threads == 1:  # the threads of others do not survive a fork
        service.application = service.wrap(model, found, batch_images)
    log.info(
        "serving %s%s with %s, %s: %d cores, %d workers, %d threads each%s, port %d",
        found.root,
        speed,
        runtime,
        reason,
        cores,
        workers,
        threads,
        f", batches of up to {batch_images} images" if batch_images > 1 else "",
        chosen.port,
    )
    return service


def count_batch_images(chosen: Settings, runtime: str) -> int:
    """Give the number of images that a runtime predicts together; 1 where requests are kept apart."""
    return chosen.batch_images or (_BATCH_IMAGES if runtime in ("saved_model", "keras") else 1)


def _has_gpu_runtime(environ: Mapping[str, str]) -> bool:
    return predictor.finds_gpu(environ) and predictor.is_installed("saved_model")


def _load_one_of_many(service: Service, path: Path, cores: int) -> inference.Application:
    """Load a model of a multi-model endpoint, whose models share one process."""
    found, runtime = artifact.load(path), service.settings.runtime
    if runtime == "auto":
        runtime, _ = predictor.choose(found)
    if runtime in artifact.FLATBUFFERS:
        return service.load_artifact(found, runtime, concurrency=cores)
    return service.load_artifact(found, runtime, threads=cores)


def _describe_model(found: artifact.Artifact) -> dict[str, str]:
    """Give the labels that tell whoever reads the metrics which training's model this is."""
    manifest = (
        found.root / artifact.MANIFEST_NAME
    ).read_bytes()  # its times and metrics are those of one training
    return {**found.manifest.versions, "model": hashlib.sha256(manifest).hexdigest()[:12]}


def _count_workers_in_memory(flatbuffer: Path) -> int:
    """Give how many workers the container's memory holds, at least one (HO-13)."""
    memory_bytes = machine.count_memory_bytes()
    if memory_bytes is None:
        return sys.maxsize
    worker_bytes = _WORKER_BYTES + _MODEL_MEMORY * flatbuffer.stat().st_size
    return max(1, (memory_bytes - _MASTER_BYTES) // worker_bytes)


class _Server(BaseApplication):
    """gunicorn's master with our settings; it reads no file, argument or variable of its own."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._early_deaths: deque[float] = deque(maxlen=_EARLY_DEATHS)
        super().__init__()

    def load_config(self) -> None:
        chosen = self.service.settings
        is_event = chosen.worker_class == "event"
        options = {
            "bind": f"0.0.0.0:{chosen.port}",
            "backlog": 2048,  # HO-7: the kernel accepts connections while every worker computes
            "workers": chosen.workers,
            "worker_class": "container.serving.event_worker.worker.EventWorker"
            if is_event
            else chosen.worker_class,
            "threads": chosen.threads if chosen.worker_class == "gthread" else 1,
            "timeout": _HEARTBEAT_S if is_event else chosen.timeout_s,
            "graceful_timeout": _GRACE_S,
            "keepalive": 75,
            "worker_tmp_dir": _find_heartbeat_directory(),
            "loglevel": chosen.log_level,
            "control_socket_disable": True,
            "pre_fork": self._number_worker,
            "post_worker_init": _release_signals,
            "child_exit": self._bury_worker,
        }
        if chosen.log_format == "json":
            options["logger_class"] = logs.GunicornJsonLogger
        if logs.has_requests() and chosen.worker_class in ("gthread", "sync"):
            options |= {"pre_request": _note_start, "post_request": _log_request}
        if chosen.emf_namespace:
            emf = Emf(self.service.metrics, chosen.emf_namespace, dict(chosen.emf_dimensions))
            options |= {"when_ready": lambda _: _write_at_intervals(emf, chosen.emf_interval_s)}
            options |= {"on_exit": lambda _: emf.write()}  # of the time since the last interval
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return (
            self.service.asgi()
            if self.service.settings.worker_class == "asgi"
            else self.service.wsgi()
        )

    def _number_worker(self, _: Any, worker: Any) -> None:
        worker.forked = time.monotonic()
        worker.row = self.service.loads.take()
        self.service.metrics.take(worker.row)

    def _bury_worker(self, arbiter: Any, worker: Any) -> None:
        """Free a dead worker's row; give up where they die in a circle, so that the instance is replaced (HO-12)."""
        self.service.loads.free(worker.row)
        self.service.metrics.clear(worker.row)
        now = time.monotonic()
        if now - worker.forked < _EARLY_S:
            self._early_deaths.append(now)
        is_stopping = not arbiter.LISTENERS
        if (
            not is_stopping
            and len(self._early_deaths) == _EARLY_DEATHS
            and self._early_deaths[0] > now - _CIRCLE_S
        ):
            message = f"{_EARLY_DEATHS} workers died within {_EARLY_S} s of their start each: the server gives up"
            log.critical(message)
            raise HaltServer(message, _CIRCLE_STATUS)


def _note_start(_: Any, request: Any) -> None:
    request.started = time.monotonic()


def _log_request(_: Any, request: Any, environ: Mapping[str, Any], sent: Any) -> None:
    """Log a request that gunicorn's own worker and Flask have answered."""
    response: inference.Response | None = environ.get(wsgi.RESPONSE)
    if response is not None and sent is not None:
        logs.log_request(
            response,
            method=request.method,
            target=request.path,
            headers={name.lower(): text for name, text in request.headers},
            started=request.started,
            bytes_in=int(environ.get("CONTENT_LENGTH") or 0),
            bytes_out=sent.sent,
        )


def _hold_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)


def _release_signals(_: Any = None) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


def _find_heartbeat_directory() -> str:
    """Find a directory for the files by which workers show life, in memory where that can be written (HO-15)."""
    for directory in ("/dev/shm", tempfile.gettempdir()):  # noqa: S108 - gunicorn makes its own private file there
        if os.access(directory, os.W_OK) and Path(directory).is_dir():
            return directory
    message = f"neither /dev/shm nor {tempfile.gettempdir()} can be written"
    raise PlatformError(message)
