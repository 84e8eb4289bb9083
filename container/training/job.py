"""The life of a training job, top to bottom: read the contract's files, load, train, export, evaluate, publish.

Rules of this file: TensorFlow is imported in `_run`, after everything that can be found wrong without it, and while the
data is being read; the broad `except` of this side of the container stands in `main`.
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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import container
from container import artifact, contract
from container.dataset import Stream
from container.errors import PlatformError, UserError
from container.training import channels, script
from container.training import device as devices
from container.training import settings as hyperparameters
from container.training.channels import Sets
from container.training.settings import Settings
from container.training.termination import StopRequest

_DEFAULT_EPOCHS = 3
_DEFAULT_STEPS = 500  # a small set is seen more often: it needs the steps, not the epochs
_EXPORT_BYTES_PER_PARAMETER = 3 * 4  # Keras model, SavedModel and flatbuffer, float32 each
_SAMPLE_IMAGES = 2000  # enough to know the pixels' mean to a percent
_CHECKED_IMAGES = 256
_EVALUATED_IMAGES = 4096  # at once


def main(layout: contract.Layout, environ: Mapping[str, str]) -> int:
    """Run `train` and give its exit code: 0 when the job is completed or was stopped, 1 when it failed (OUT-1)."""
    faulthandler.enable(os.dup(2))  # a native crash leaves its stack in the log (TRIP-16)
    stop = StopRequest()
    if "TF_CPP_MIN_LOG_LEVEL" not in environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # TensorFlow's chatter would bury the metric lines
    try:
        program = script.find_program(layout, environ)
        if program is not None:
            return script.run(program, layout, environ)
        _run(layout, stop)
    except (UserError, PlatformError) as error:
        return _fail(layout, f"{type(error).__name__}: {error}")
    except MemoryError as error:
        cause = f"memory is exhausted: {error}; choose a larger instance or a smaller batch_size"
        return _fail(layout, f"PlatformError: {cause}")
    except Exception as error:  # noqa: BLE001 - a bug of ours must leave a failure reason, too
        trace = traceback.format_exc()
        return _fail(layout, f"this is a fault of the toolkit: {type(error).__name__}: {error}\n\n{trace}")
    return 0


def _fail(layout: contract.Layout, reason: str) -> int:
    """Log the reason, then write the failure file, which must be last (OUT-2)."""
    print(reason, file=sys.stderr, flush=True)
    try:
        contract.write_failure(layout, reason)
    except OSError as error:
        print(f"{layout.failure} cannot be written: {error}", file=sys.stderr, flush=True)
    return 1


def _run(layout: contract.Layout, stop: StopRequest) -> None:
    started = time.monotonic()
    config = contract.load_training_config(layout)
    settings, warnings = hyperparameters.parse(config.hyperparameters)
    for warning in warnings:
        _log(f"warning: {warning}")
    found = channels.find(layout, config)
    with artifact.staging(layout.model):
        pass  # a model directory that cannot be written is found out now, not after the training
    _make_directory(layout.output_data)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="load") as pool:
        loading = pool.submit(channels.load, layout, found, settings, _log)
        devices.import_tensorflow()  # takes seconds, in which the data is read
        _log(f"imported TensorFlow in {time.monotonic() - started:.1f} s")
        sets = loading.result()
    deadline = started + (settings.max_runtime_s or math.inf)
    pretrained = layout.channel(found.pretrained.name) if found.pretrained else None
    _train(layout, stop, settings, sets, pretrained, deadline)
    _log(f"the job took {time.monotonic() - started:.1f} s")


def _train(  # noqa: PLR0913, PLR0917
    layout: contract.Layout, stop: StopRequest, settings: Settings, sets: Sets, pretrained: Path | None, deadline: float
) -> None:
    """Train, export, evaluate and publish; after a stop, what was trained so far and without the evaluation."""
    import keras

    from container.training import checkpoint, epochs, export, loop, model, source

    training, shape = sets.training, channels.image_shape(sets.training)
    sample = source.take_sample(training, _SAMPLE_IMAGES)
    settings = _complete(settings, len(training.labels))
    device = devices.choose(settings, shape, devices.describe_gpus())
    devices.configure(device, deterministic=settings.deterministic)
    for reason in device.reasons:
        _log(reason)

    keras.utils.set_random_seed(settings.seed)
    network = model.build(settings.model, shape, len(training.classes), _measure_pixels(sample), pretrained)
    if settings.freeze_trunk:
        model.freeze_trunk(network)
    _check_free_space(layout.model, network.count_params())
    trainer = loop.Loop(model.clone_for_training(network, device.precision), training, settings, device)
    directory = Path(settings.checkpoint_dir) if settings.checkpoint_dir else layout.checkpoints
    run = epochs.Training(
        loop=trainer,
        settings=settings,
        validation=sets.validation,
        stop=stop,
        checkpoints=directory if settings.checkpoint_dir or directory.is_dir() else None,
        identity=checkpoint.identify(settings, training, network.count_params()),
        log=_log,
    )
    run.resume()
    _log(
        f"training {network.name} ({network.count_params()} parameters): {settings.epochs} epochs of "
        f"{trainer.steps_per_epoch} steps of {trainer.batch_size} images"
    )
    reason = run.run(deadline)
    history, training_time_s = run.progress.history, run.progress.elapsed_s
    _log(f"trained for {training_time_s:.2f} s: {reason}")
    if not run.steps_done:
        _log("no step was done: there is no model to save")
        return
    _write_json(layout.output_data / "history.json", history)

    trainer.write_to(network, run.result())
    manifest = artifact.Manifest(
        input_shape=shape,
        classes=training.classes,
        hyperparameters=dataclasses.asdict(settings),
        metrics=dict(history[run.progress.best_epoch - 1 if run.best else -1]) if history else {},
        training_time_s=round(training_time_s, 3),
        versions=_list_versions(),
    )
    with artifact.staging(layout.model) as stage:
        litert = export.write_models(stage, network, manifest, sample[:_CHECKED_IMAGES])
        if not stop.requested:
            facts = {
                "Network": network.name,
                "Parameters": f"{network.count_params():,}",
                "Training time": f"{training_time_s:.1f} s",
            }
            measured = _evaluate(layout, sets, litert, history, facts)
            _check_quality(settings, measured)
            manifest = dataclasses.replace(manifest, metrics={**manifest.metrics, **measured})
        artifact.publish(stage, manifest)
    _log(f"the model is in {layout.model}" + (" (stopped early)" if stop.requested else ""))


def _complete(settings: Settings, image_count: int) -> Settings:
    """Settle what depends on the number of training images."""
    batch_size = min(settings.batch_size, image_count)
    steps_per_epoch = image_count // batch_size
    epochs = settings.epochs or max(_DEFAULT_EPOCHS, math.ceil(_DEFAULT_STEPS / steps_per_epoch))
    return dataclasses.replace(settings, epochs=epochs, batch_size=batch_size)


def _evaluate(
    layout: contract.Layout,
    sets: Sets,
    litert: Any,
    history: Sequence[Mapping[str, float]],
    facts: Mapping[str, str],
) -> dict[str, float]:
    """Evaluate what will be served on the test set, else on the validation set; give the headline metrics."""
    from container.evaluation import job as evaluation

    split, images = ("test", sets.test) if sets.test else ("validation", sets.validation)
    if images is None:
        _log("there is no test and no validation channel: nothing to evaluate")
        return {}
    if isinstance(images, Stream):
        images = images.mapped()
    metrics = evaluation.evaluate(
        images,
        np.concatenate([litert.predict(part) for part in _cut(images.images)]),
        output_dirs=evaluation.output_dirs(layout),
        history=history,
        facts=facts,
        split=split,
    )
    names = ("accuracy", "precision", "recall", "f1", "auc")
    return {f"{split}_{name}": metrics[name] for name in names if metrics[name] is not None}


def _cut(images: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    """Cut a set into parts, so that one that is mapped from disk need not be in memory at once."""
    yield from (images[start : start + _EVALUATED_IMAGES] for start in range(0, len(images), _EVALUATED_IMAGES))


def _check_quality(settings: Settings, metrics: Mapping[str, float]) -> None:
    """Refuse a model below the user's limits; its report stays in the output.

    Raises: UserError that names both numbers.
    """
    faults = []
    for name, limit in (("accuracy", settings.min_accuracy), ("f1", settings.min_f1)):
        split, found = next(((key, value) for key, value in metrics.items() if key.endswith(f"_{name}")), ("", 0.0))
        if limit is not None and found < limit:
            faults.append(f"{split} {found:.4f} is below min_{name}={limit:g}")
    if faults:
        raise UserError.from_faults("the model does not reach the quality that was asked for", faults)


def _measure_pixels(images: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Give mean and standard deviation of the pixels, in units of 0-1."""
    scaled = images / np.float32(255)
    return round(float(scaled.mean()), 4), round(max(float(scaled.std()), 0.01), 4)


def _check_free_space(directory: Path, parameter_count: int) -> None:
    """Refuse to train what could not be saved.

    Raises: PlatformError that tells how much is needed and how much there is.
    """
    needed = parameter_count * _EXPORT_BYTES_PER_PARAMETER + (1 << 20)
    free = shutil.disk_usage(directory).free
    if free < needed:
        message = f"{directory} has {free:,} bytes left; the model needs {needed:,}"
        raise PlatformError(message)


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{directory} cannot be made: {error}"
        raise PlatformError(message) from error


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
