"""What the workers of one server share, and what each of them serves."""

from __future__ import annotations

import functools
import gc
import logging
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import container
from container import artifact, predictor
from container.errors import UserError
from container.serving import batching, inference, plan
from container.serving.exchange import Request, Response
from container.serving.loads import Loads
from container.serving.many_models import models
from container.serving.many_models.model_process import ModelProcess
from container.serving.many_models.template import Template
from container.serving.telemetry.metrics import Invocation, Metrics
from container.serving.third_party import model_files
from container.serving.user_code import handlers, turns
from container.serving.workers import growth, memory

if TYPE_CHECKING:
    import flask

log = logging.getLogger(__name__)


class Service:
    """Serves what a plan says; made by the master, and inherited by each worker that it forks."""

    def __init__(self, planned: plan.Plan) -> None:
        self.plan = planned
        self.settings = planned.settings
        # One more than there are workers: a new one may start before the old one is reaped.
        rows = planned.workers + 1
        self.loads = Loads(rows)
        self.metrics = Metrics(rows, {**planned.labels, "toolkit": container.__version__})
        self.growth = growth.Growth(rows)
        self.memory = memory.Memory()
        self._master = os.getpid()
        self._loading = threading.Lock()
        self.computing_since = -math.inf
        """When the latest batch began, by `time.monotonic`."""
        self.models: models.Models | None = None
        """The models of a multi-model endpoint."""
        self.application: inference.Application | None = None
        """What answers `/invocations`; None until `load` has been called."""
        self._template = Template([sys.executable, "-m", "container.serving.model_program"])
        if planned.models is not None:
            processes = planned.settings.model_processes
            self.models = models.Models(
                planned.models, self._start_one_of_many, self.memory, processes, self.metrics.models
            )
            self.application = models.NoModel()
        elif planned.model is not None and planned.artifact is not None:
            batch_images = planned.batch_images
            self.application = self._wrap(planned.model, planned.artifact, batch_images)

    def load(self) -> inference.Application:
        """Load the application, unless that has been done.

        Raises: UserError if the model or the user code cannot be loaded.
        """
        with self._loading:
            if self.application is None:
                self.application = self._load_and_measure()
        return self.application

    def preload(self) -> None:
        """Load user code in the master, so that the workers share the pages of its model.

        Raises: UserError if it cannot be loaded, or does not survive a fork.
        """
        before = set(threading.enumerate())
        with growth.watch(self.memory, self._give_up):
            self.application = self._load()
        if isinstance(self.application, turns.UserCode):
            self.application.prepare_fork()
        others = [thread.name for thread in threading.enumerate() if thread not in before]
        if others:
            raise UserError(
                f"the code has started threads ({', '.join(others)}), which no worker would have: "
                "unset BYO_PRELOAD"
            )
        if growth.uses_gpu():
            message = "the model is on a GPU, and no worker could use it there: unset BYO_PRELOAD"
            raise UserError(message)
        gc.collect()
        gc.freeze()  # the collector of a worker would write to every page

    def _load_and_measure(self) -> inference.Application:
        """Load what this worker serves, and say what that has taken; end if memory is short."""
        if os.getpid() == self._master:
            return self._load()
        before_bytes = memory.count_process_bytes()
        with growth.watch(self.memory, self._give_up):
            application = self._load()
        grown_bytes = memory.count_peak_bytes() - before_bytes
        self.growth.note(grown_bytes, uses_gpu=growth.uses_gpu())
        os.kill(self._master, signal.SIGCHLD)  # it looks at once
        return application

    def _give_up(self) -> None:
        """End this process before the kernel ends one, now that memory is short."""
        self.growth.note_shortage()
        if os.getpid() == self._master:
            reason = growth.describe_shortage(self.memory, self.plan.settings.workers)
            print(f"the server cannot start: {reason}", file=sys.stderr, flush=True)
        os._exit(1)  # whatever the code is doing

    def _load(self) -> inference.Application:
        if self.plan.user_code is not None:
            return turns.UserCode(self.plan.user_code, self.settings, self.metrics)
        assert self.plan.artifact is not None  # noqa: S101 - the third kind of plan
        threads = self.plan.threads
        return self._load_artifact(self.plan.artifact, self.plan.runtime, threads=threads)

    @property
    def wsgi(self) -> flask.Flask:
        """The Flask application; until the model is loaded, one that is not ready (HO-6)."""
        if self.application is None:
            return self._wsgi_of_the_load
        return self._wsgi

    @functools.cached_property
    def _wsgi_of_the_load(self) -> flask.Flask:
        return self._make_wsgi(_NotLoaded(), is_ready=False)

    @functools.cached_property
    def _wsgi(self) -> flask.Flask:
        return self._make_wsgi(self.load(), is_ready=True)

    def _make_wsgi(self, application: inference.Application, *, is_ready: bool) -> flask.Flask:
        from container.serving import app  # Flask takes as long to import as the rest of the start

        return app.create_app(
            application,
            payload_bytes=self.settings.payload_bytes,
            workers=self.plan.workers,
            models=self.models,
            metrics=self.metrics,
            is_ready=is_ready,
        )

    def _start_one_of_many(self, name: str, path: Path) -> models.Model:
        """Begin to load a model of a multi-model endpoint: code gets a process of its own."""
        if handlers.find_one_of_many(self.plan.layout, self.plan.environ, path) is None:
            return models.InProcess(self._load_one_of_many(name, path))
        return ModelProcess(
            name,
            functools.partial(self._template.fork, path),
            timeout_s=self.settings.timeout_s,
            requests_maximum=self.settings.queue_requests,
            observe=self._observe_answer,
        )

    def _observe_answer(self, response: Response, seconds: float) -> None:
        self.metrics.ended.append(
            Invocation(response.status, {**(response.seconds or {}), "request": seconds})
        )

    def _load_one_of_many(self, name: str, path: Path) -> inference.Application:
        """Load a model of the bundled network, which shares the endpoint's process."""
        if not model_files.is_artifact(path):
            raise UserError(model_files.explain_nothing(path))
        found = artifact.load(path)
        runtime = self.settings.runtime
        if runtime == "auto":
            runtime, _ = predictor.choose(found)
        if runtime in artifact.FLATBUFFERS:
            return self._load_artifact(found, runtime, concurrency=self.plan.cores, name=name)
        return self._load_artifact(found, runtime, threads=self.plan.cores, name=name)

    def _load_artifact(
        self,
        found: artifact.Artifact,
        runtime: str,
        *,
        threads: int = 1,
        concurrency: int = 1,
        name: str = "",
    ) -> inference.Application:
        model = predictor.load(found, runtime=runtime, threads=threads, concurrency=concurrency)
        return self._wrap(model, found, plan.count_batch_images(self.settings, runtime), name)

    def _wrap(
        self,
        model: predictor.Predictor,
        found: artifact.Artifact,
        batch_images: int,
        name: str = "",
    ) -> inference.Application:
        """Answer requests with a model, with up to `batch_images` of several in one prediction."""
        predict = model.predict
        image_s = model.image_s
        if batch_images > 1:
            predict = batching.Batcher(
                model.predict,
                images_maximum=batch_images,
                delay_s=self.settings.batch_delay_ms / 1000,
                timeout_s=self.settings.timeout_s,
                observe=functools.partial(self._observe_batch, name),
            ).predict
            image_s = math.inf  # it may wait for others, so no event loop may call it
        application = inference.Inference(
            predict,
            input_shape=found.manifest.input_shape,
            classes=found.manifest.classes,
            image_s=image_s,
            settings=self.settings,
            metrics=self.metrics,
        )
        application.resize = found.manifest.resize
        return application

    def _observe_batch(self, name: str, requests: int) -> None:
        self.computing_since = time.monotonic()
        self.metrics.count_batch(requests)
        self.metrics.models.observe_batch(name, requests)


class _NotLoaded:
    """What answers `/invocations` while the model is being loaded."""

    def invoke(self, _: Request) -> Response:
        """Ask the client to come again."""
        return inference.ask_to_retry("the model is being loaded")

    def estimate_s(self, _: Request) -> float:
        """Return 0."""
        return 0.0
