"""The life of a training job, top to bottom: read the contract's files, load, train, export, evaluate, publish.

`main` runs a user's program or, if there is none, the bundled network, which this module declares as a user declares an
algorithm of his own: CHANNELS, METRICS, Hyperparameters, parse_hyperparameters, train, load and predict.

Rules of this file: TensorFlow is imported in `train`, after everything that can be found wrong
without it, and while the data is being read; the broad `except` of this side of the container
stands in `main`.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import math
import os
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import container
from container import algorithm, artifact, contract
from container.algorithm import Job
from container.data.loading import Stream
from container.errors import PlatformError, UserError
from container.training import channels, typed
from container.training import settings as hyperparameters
from container.training.channels import Sets
from container.training.distributed import shares
from container.training.distributed.shares import Share
from container.training.settings import Settings
from container.training.step import device as devices
from container.training.termination import StopRequest
from container.training.user_script.find import find_program
from container.training.user_script.run import run as run_program

if TYPE_CHECKING:
    from container.predictor import Predictor
    from container.training.distributed.rendezvous import Hosts
    from container.training.epochs import Training

CHANNELS = tuple(
    "|".join(names) + optional
    for names, optional in (
        (channels.TRAINING, ""),
        (channels.VALIDATION, "?"),
        (channels.TEST, "?"),
        (channels.PRETRAINED, "?"),
    )
)
METRICS = contract.METRIC_NAMES
Hyperparameters = Settings
parse_hyperparameters = hyperparameters.parse

_DEFAULT_EPOCHS = 3
_DEFAULT_STEPS = 500  # a small set is seen more often: it needs the steps, not the epochs
_EXPORT_BYTES_PER_PARAMETER = 3 * 4  # Keras model, SavedModel and flatbuffer, float32 each
_SAMPLE_IMAGES = 2000  # enough to know the pixels' mean to a percent
_CHECKED_IMAGES = 256
_EVALUATED_IMAGES = 512  # between two looks at the stop


def main(layout: contract.Layout, environ: Mapping[str, str], stop: StopRequest) -> int:
    """Run `train` and give its exit code: 0 when the job is completed or was stopped, 1 when it failed (OUT-1)."""
    faulthandler.enable(os.dup(2))  # a native crash leaves its stack in the log (TRIP-16)
    if "TF_CPP_MIN_LOG_LEVEL" not in environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # TensorFlow's chatter would bury the metric lines
    try:
        program = find_program(layout, environ)
        if program is not None:
            return run_program(program, layout, environ)
        typed.run(BUNDLED, layout, stop)
    except (UserError, PlatformError) as error:
        return _fail(layout, f"{type(error).__name__}: {error}")
    except MemoryError as error:
        cause = f"memory is exhausted: {error}; choose a larger instance or a smaller batch_size"
        return _fail(layout, f"PlatformError: {cause}")
    except Exception as error:  # noqa: BLE001 - a bug of ours must leave a failure reason, too
        trace = traceback.format_exc()
        return _fail(
            layout, f"this is a fault of the toolkit: {type(error).__name__}: {error}\n\n{trace}"
        )
    return 0


def _fail(layout: contract.Layout, reason: str) -> int:
    """Log the reason, then write the failure file, which must be last (OUT-2)."""
    print(reason, file=sys.stderr, flush=True)
    try:
        contract.write_failure(layout, reason)
    except OSError as error:
        print(f"{layout.failure} cannot be written: {error}", file=sys.stderr, flush=True)
    return 1


def train(job: Job[Settings]) -> None:
    """Train, and leave the artifact in the model directory, and history, metrics and report in the output.

    Raises: UserError or PlatformError that tells what stands in the way.
    """
    started = time.monotonic()
    layout, config, settings = job.layout, job.config, job.hyperparameters
    found = channels.find(layout, config)
    with artifact.staging(layout.model):
        pass  # a model directory that cannot be written is found out now, not after the training
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="load") as pool:
        loading = pool.submit(channels.load, layout, found, settings, _log)
        devices.import_tensorflow()  # takes seconds, in which the data is read
        _log(f"imported TensorFlow in {time.monotonic() - started:.1f} s")
        fault = loading.exception()
    alone = len(config.resources.hosts) == 1
    if fault and (alone or not isinstance(fault, (UserError, PlatformError))):
        raise fault
    shape = (0, 0, 0) if fault else channels.image_shape(loading.result().training)
    own = dataclasses.replace(
        settings, batch_size=max(1, settings.batch_size // len(config.resources.hosts))
    )
    device = devices.choose(own, shape, devices.describe_gpus())
    devices.configure(device, deterministic=settings.deterministic)
    for reason in device.reasons:
        _log(reason)
    hosts = _connect(config, settings, fault)
    sets, part = _divide(loading.result(), settings, hosts, sharded=found.sharded)
    settled = _Job(
        layout=layout,
        stop=job.stop,
        settings=_complete(settings, part.image_count),
        sets=sets,
        pretrained=layout.channel(found.pretrained.name) if found.pretrained else None,
        deadline=started + (settings.max_runtime_s or math.inf),
        device=device,
        hosts=hosts,
        share=part,
    )
    _train(settled)
    _log(f"the job took {time.monotonic() - started:.1f} s")


def load(model_dir: Path) -> Predictor:
    """Load the artifact's flatbuffer; what `serve` does with more care for speed."""
    from container import predictor

    return predictor.load(artifact.load(model_dir))


def predict(model: Predictor, data: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Give probabilities [n, class] of images, numbers 0-255 in any shape of as many as the network takes."""
    return model.predict(np.asarray(data).reshape(-1, *model.input_shape).astype(np.uint8))


def _connect(
    config: contract.TrainingConfig, settings: Settings, fault: BaseException | None
) -> Hosts | None:
    """Connect to the other hosts, if there are any; what failed on one fails on all, for the same reason.

    Raises: UserError that names hosts and faults.
    """
    from container.training.distributed import rendezvous as peers

    hosts = peers.connect(config.resources, settings.host_wait_s, _log)
    if hosts is not None:
        told = hosts.exchange(fault and f"{type(fault).__name__}: {fault}")
        faults = [f"{name}: {text}" for name, text in zip(hosts.names, told, strict=True) if text]
        if faults:
            raise UserError.from_faults("a host of the job cannot train", faults)
    return hosts


def _divide(
    sets: Sets, settings: Settings, hosts: Hosts | None, *, sharded: bool
) -> tuple[Sets, Share]:
    """Settle the classes, and which part of each batch is this host's."""
    if hosts is None:
        part = shares.share_alone(sets.training, settings.batch_size)
    else:
        sets, part = shares.divide(sets, settings.batch_size, hosts, sharded=sharded)
    classes = sets.training.classes
    if len(classes) < 2:
        message = (
            f"the training channel holds one class only, {classes[0]!r}: a classifier needs two"
        )
        raise UserError(message)
    return sets, part


@dataclasses.dataclass(frozen=True)
class _Job:
    """What `_train` needs to know; all of it is settled before the first step."""

    layout: contract.Layout
    stop: algorithm.Stop
    settings: Settings
    sets: Sets
    pretrained: Path | None
    deadline: float
    device: devices.Device
    hosts: Hosts | None
    share: Share

    @property
    def is_chief(self) -> bool:
        """Whether this host writes what the job leaves (OUT-5)."""
        return self.hosts is None or self.hosts.is_chief


def _train(job: _Job) -> None:
    """Train, export, evaluate and publish; after a stop, what was trained so far and without the evaluation."""
    import keras

    from container.training import checkpoint, epochs, tensorboard
    from container.training.step import loop, networks, source

    layout, settings, training = job.layout, job.settings, job.sets.training
    shape = channels.image_shape(training)
    sample = source.take_sample(training, _SAMPLE_IMAGES)
    keras.utils.set_random_seed(settings.seed)
    pixels = _measure_pixels(sample, job.hosts)
    network = networks.build(settings.model, shape, len(training.classes), pixels, job.pretrained)
    if settings.freeze_trunk:
        networks.freeze_trunk(network)
    _check_free_space(layout.model, network.count_params())
    twin = networks.clone_for_training(network, job.device.precision)
    trainer = loop.Loop(twin, training, settings, job.device, job.share, job.hosts)
    if job.hosts:
        trainer.restore(job.hosts.broadcast(trainer.state()))
    directory = Path(settings.checkpoint_dir) if settings.checkpoint_dir else layout.checkpoints
    validates = job.hosts.exchange(job.sets.validation is not None)[0] if job.hosts else True
    run = epochs.Training(
        loop=trainer,
        settings=settings,
        # On the other hosts it matters only whether the chief has one.
        validation=job.sets.validation if job.is_chief else training if validates else None,
        stop=job.stop,
        checkpoints=directory if settings.checkpoint_dir or directory.is_dir() else None,
        identity=checkpoint.identify(settings, training, network.count_params()),
        log=_log,
        hosts=job.hosts,
        events=tensorboard.Events(layout.tensorboard) if job.is_chief else None,
    )
    run.resume()
    _log(
        f"training {network.name} ({network.count_params()} parameters): {settings.epochs} epochs of "
        f"{trainer.steps_per_epoch} steps of {trainer.batch_size} images"
    )
    reason = run.run(job.deadline)
    _log(f"trained for {run.progress.elapsed_s:.2f} s: {reason}")
    if not run.steps_done:
        _log("no step was done: there is no model to save")
    elif job.is_chief:
        trainer.write_to(network, run.result())
        _publish(job, network, run, sample if len(sample) else np.zeros((1, *shape), np.uint8))
    if job.hosts:
        job.hosts.agree([0])  # DS-5: nobody ends before the chief has saved


def _publish(job: _Job, network: Any, run: Training, sample: npt.NDArray[np.uint8]) -> None:
    """Export, evaluate and publish the trained network."""
    from container import predictor
    from container.training import export

    history, training_time_s = run.progress.history, run.progress.elapsed_s
    _write_json(job.layout.output_data / "history.json", history)
    manifest = artifact.Manifest(
        input_shape=channels.image_shape(job.sets.training),
        classes=job.sets.training.classes,
        hyperparameters=dataclasses.asdict(job.settings),
        metrics=dict(history[run.progress.best_epoch - 1 if run.best else -1]) if history else {},
        training_time_s=round(training_time_s, 3),
        versions=_list_versions(),
    )
    with artifact.staging(job.layout.model) as stage:
        int8 = (
            job.settings.int8_export and not job.stop.requested
        )  # which takes longer than a stop may
        exported = export.write_models(
            stage, network, manifest, sample[:_CHECKED_IMAGES], log=_log, int8=int8
        )
        manifest = exported.manifest
        models = {"": predictor.load(exported)}  # what `serve` will choose
        if "litert_int8" in manifest.differences:
            models["int8"] = predictor.load(exported, runtime="litert_int8")
        facts = {
            "Network": network.name,
            "Parameters": f"{network.count_params():,}",
            "Training time": f"{training_time_s:.1f} s",
        }
        measured = _evaluate(job, models, history, facts)
        if measured:
            _check_quality(job.settings, measured)
            manifest = dataclasses.replace(manifest, metrics={**manifest.metrics, **measured})
        artifact.publish(stage, manifest)
    job.stop.saved = f"the model in {job.layout.model}"
    _log(f"the model is in {job.layout.model}" + (" (stopped early)" if job.stop.requested else ""))


def _complete(settings: Settings, image_count: int) -> Settings:
    """Settle what depends on the number of training images."""
    batch_size = min(settings.batch_size, image_count)
    steps_per_epoch = image_count // batch_size
    epochs = settings.epochs or max(_DEFAULT_EPOCHS, math.ceil(_DEFAULT_STEPS / steps_per_epoch))
    return dataclasses.replace(settings, epochs=epochs, batch_size=batch_size)


def _evaluate(
    job: _Job,
    models: Mapping[str, Predictor],
    history: Sequence[Mapping[str, float]],
    facts: Mapping[str, str],
) -> dict[str, float]:
    """Evaluate what will be served on the test set, else on the validation set; give the headline metrics.

    The eight-bit model, if there is one, is measured beside it, so that everybody sees what it
    costs. There are none without such a set, or if a stop was asked for: whatever is left of the
    grace is for saving.
    """
    from container.evaluation import job as evaluation

    split, images = (
        ("test", job.sets.test) if job.sets.test else ("validation", job.sets.validation)
    )
    if images is None:
        _log("there is no test and no validation channel: nothing to evaluate")
        return {}
    if isinstance(images, Stream):
        images = images.mapped()
    blocks: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in models}
    for start in range(
        0, len(images.images), _EVALUATED_IMAGES
    ):  # a set that is mapped need not be in memory at once
        for name, model in models.items():
            if job.stop.requested:
                return {}
            blocks[name].append(model.predict(images.images[start : start + _EVALUATED_IMAGES]))
    probabilities = {name: np.concatenate(found) for name, found in blocks.items()}
    int8: dict[str, float] = {}
    if "int8" in models:
        accuracy, found = (
            float((probabilities[name].argmax(1) == images.labels).mean()) for name in ("", "int8")
        )
        int8 = {f"int8_{split}_accuracy": found}
        words = f"{found:.4f} of the {split} images are right, {accuracy:.4f} without quantization"
        facts = {**facts, "Eight-bit model": words}
        _log(f"eight-bit model: {words}; {contract.format_metrics(int8)}")
    metrics = evaluation.evaluate(
        images,
        probabilities[""],
        output_dirs=evaluation.output_dirs(job.layout),
        history=history,
        facts=facts,
        split=split,
    )
    names = ("accuracy", "precision", "recall", "f1", "auc")
    return {f"{split}_{name}": metrics[name] for name in names if metrics[name] is not None} | int8


def _check_quality(settings: Settings, metrics: Mapping[str, float]) -> None:
    """Refuse a model below the user's limits; its report stays in the output.

    Raises: UserError that names both numbers.
    """
    faults = []
    for name, limit in (("accuracy", settings.min_accuracy), ("f1", settings.min_f1)):
        split, found = next(
            ((key, value) for key, value in metrics.items() if key.endswith(f"_{name}")), ("", 0.0)
        )
        if limit is not None and found < limit:
            faults.append(f"{split} {found:.4f} is below min_{name}={limit:g}")
    if faults:
        raise UserError.from_faults(
            "the model does not reach the quality that was asked for", faults
        )


def _measure_pixels(images: npt.NDArray[np.uint8], hosts: Hosts | None) -> tuple[float, float]:
    """Give mean and standard deviation of the pixels, of all hosts' images, in units of 0-1."""
    scaled = images / np.float64(255)
    sums = [float(scaled.size), float(scaled.sum()), float(np.square(scaled).sum())]
    count, total, squares = hosts.agree(sums) if hosts else sums
    mean = total / count
    return round(mean, 4), round(max(math.sqrt(max(0.0, squares / count - mean * mean)), 0.01), 4)


def _check_free_space(directory: Path, parameter_count: int) -> None:
    """Refuse to train what could not be saved.

    Raises: PlatformError that tells how much is needed and how much there is.
    """
    needed = parameter_count * _EXPORT_BYTES_PER_PARAMETER + (1 << 20)
    free = shutil.disk_usage(directory).free
    if free < needed:
        message = f"{directory} has {free:,} bytes left; the model needs {needed:,}"
        raise PlatformError(message)


def _write_json(path: Path, value: Any) -> None:
    try:
        path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        message = f"{path} cannot be written: {error}"
        raise PlatformError(message) from error


def _list_versions() -> dict[str, str]:
    import keras
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "toolkit": container.__version__,
    }


def _log(line: str) -> None:
    print(line, flush=True)


BUNDLED = algorithm.read(sys.modules[__name__], "byo-container-toolkit")
