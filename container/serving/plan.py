"""How a server will serve, decided once, before any worker is forked.

A light model is loaded and timed here: single-threaded LiteRT survives a fork, the workers share
its memory, and a broken artifact ends the program with its reason instead of workers that die in a
circle (HO-6, HO-12). A heavy one is loaded after the fork, by one worker with all the cores, since
no runtime with several threads survives it (HO-14). User code is left to the workers as well.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from container import artifact, contract, machine, predictor
from container.errors import UserError
from container.serving import server_settings
from container.serving.bodies import encoding, rows
from container.serving.server_settings import Settings
from container.serving.third_party import model_application, model_files
from container.serving.user_code import handlers

# For slower models all cores on one image are faster than one core per request (measured on
# ResNet-50).
_HEAVY_IMAGE_S = 0.005
_BATCH_IMAGES = 32  # on TensorFlow, where a call costs as much as many small images
# Resident memory as measured; a model takes three times its file: mapped, packed for the kernels,
# and working memory.
WORKER_BYTES = 40 * 2**20
"""What a worker takes beside the model."""
_MASTER_BYTES = 56 * 2**20
_MODEL_MEMORY = 3
_SLOW_DECODER = (
    "Python decodes rows of CSV and JSON, at about half the rate: with a C compiler, "
    f"`{sys.executable} -m container.serving.bodies.rows` builds the fast decoder"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How a server will serve: exactly one of `artifact`, `user_code` and `models` is set."""

    settings: Settings
    workers: int
    """Processes that serve; of a plan that `grows`, the most."""
    cores: int
    """Processors that they may use together."""
    labels: Mapping[str, str]
    """What is served, for the metrics."""
    runtime: str = ""
    """What predicts with the artifact."""
    threads: int = 1
    """Threads within one prediction."""
    batch_images: int = 1
    """The most images of several requests in one prediction."""
    artifact: artifact.Artifact | None = None
    """What the bundled trainer has left."""
    model: predictor.Predictor | None = None
    """The artifact's model, if it survives a fork; otherwise each worker loads it."""
    user_code: handlers.Handlers | model_application.Found | None = None
    models: Path | None = None
    """The directory of the models of a multi-model endpoint, which come and go."""
    layout: contract.Layout = contract.Layout()  # noqa: RUF009 - frozen
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def grows(self) -> bool:
        """Whether one worker starts, and then as many as memory holds."""
        return self.user_code is not None and not self.settings.workers

    @property
    def loads_in_workers(self) -> bool:
        """Whether each worker loads the model; otherwise they share what the master has loaded."""
        is_preloaded = self.user_code is not None and self.settings.preload
        return self.models is None and self.model is None and not is_preloaded

    @property
    def prediction_threads(self) -> int:
        """Requests that a worker decodes and encodes at the same time, where it batches them."""
        return min(self.batch_images, self.settings.queue_requests)


def make(
    layout: contract.Layout, environ: Mapping[str, str], settings: Settings, cores: int
) -> Plan:
    """Decide how many workers and threads serve what, by loading and timing the model.

    Raises: UserError if there is no artifact, or one that cannot be loaded.
    """
    if not rows.is_compiled():
        log.warning(_SLOW_DECODER)
    if settings.multi_model:
        return _plan_models(layout, environ, settings, cores)
    user_code = handlers.find(layout, environ)
    if user_code is not None:
        workers = settings.workers or cores
        labels = {"runtime": "handlers"}
        return Plan(settings, workers, cores, labels, user_code=user_code, environ=environ)
    if not model_files.is_artifact(layout.model):
        raise UserError(model_files.explain_nothing(layout.model))
    return _plan_artifact(artifact.load(layout.model), environ, settings, cores)


def _plan_models(
    layout: contract.Layout, environ: Mapping[str, str], settings: Settings, cores: int
) -> Plan:
    message = "serving the models below %s: %d cores, 1 worker, port %d"
    log.info(message, layout.models, cores, settings.port)
    return Plan(
        settings,
        1,
        cores,
        {"runtime": "LiteRT"},
        models=layout.models,
        layout=layout,
        environ=environ,
    )


def _plan_artifact(
    found: artifact.Artifact, environ: Mapping[str, str], settings: Settings, cores: int
) -> Plan:
    server_settings.check_default_accept(settings, tuple(encoding.ENCODERS))
    runtime, reason = settings.runtime, "as BYO_RUNTIME says"
    if runtime == "auto":
        runtime, reason = predictor.choose(found)
    model = None
    is_heavy = True
    speed = ""
    if runtime in artifact.FLATBUFFERS:
        # The loop of an event worker and its compute thread have an interpreter each, so that
        # neither waits for the other.
        concurrency = 2 if settings.worker_class == "event" else 1
        model = predictor.load(found, runtime=runtime, concurrency=concurrency)
        speed = f" ({model.image_s * 1000:.2f} ms an image on one core)"
        is_heavy = model.image_s > _HEAVY_IMAGE_S
        if is_heavy and settings.runtime == "auto" and _has_gpu_runtime(environ):
            runtime, reason = "saved_model", "as the model is heavy and there is a GPU"
            model = None
    workers = settings.workers or 1
    threads = 1
    if is_heavy:
        threads = max(1, cores // workers)
    elif not settings.workers:
        flatbuffer = found.root / artifact.FLATBUFFERS[runtime]
        workers = min(cores, _count_workers_in_memory(flatbuffer))
    if threads > 1:  # which do not survive a fork
        model = None
    batch_images = count_batch_images(settings, runtime)
    batches = f", batches of up to {batch_images} images" if batch_images > 1 else ""
    message = "serving %s%s with %s, %s: %d cores, %d workers, %d threads each%s, port %d"
    shape = (cores, workers, threads, batches, settings.port)
    log.info(message, found.root, speed, runtime, reason, *shape)
    return Plan(
        settings,
        workers,
        cores,
        {"runtime": runtime, **_describe_model(found)},
        runtime=runtime,
        threads=threads,
        batch_images=batch_images,
        artifact=found,
        model=model,
    )


def count_batch_images(settings: Settings, runtime: str) -> int:
    """Return how many images a runtime predicts together; 1 where requests are kept apart."""
    default = _BATCH_IMAGES if runtime in ("saved_model", "keras") else 1
    return settings.batch_images or default


def _has_gpu_runtime(environ: Mapping[str, str]) -> bool:
    return predictor.finds_gpu(environ) and predictor.is_installed("saved_model")


def _describe_model(found: artifact.Artifact) -> dict[str, str]:
    """Return the labels that name the training whose model this is."""
    # The times and metrics in the manifest are those of one training.
    manifest = (found.root / artifact.MANIFEST_NAME).read_bytes()
    return {**found.manifest.versions, "model": hashlib.sha256(manifest).hexdigest()[:12]}


def _count_workers_in_memory(flatbuffer: Path) -> int:
    """Return how many workers the container's memory holds, at least one (HO-13)."""
    memory_bytes = machine.count_memory_bytes()
    if memory_bytes is None:
        return sys.maxsize
    worker_bytes = WORKER_BYTES + _MODEL_MEMORY * flatbuffer.stat().st_size
    return max(1, (memory_bytes - _MASTER_BYTES) // worker_bytes)
