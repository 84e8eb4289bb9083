"""The life of a training job, top to bottom: read the contract's files, load, train, export, evaluate, publish.

Rules of this file: TensorFlow is imported in `_train`, after everything that can be found wrong without it, and while
the data is being read; the broad `except` of this side of the container stands in `main`.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
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
from container import artifact, contract, dataset
from container.dataset import LabelledImages
from container.errors import PlatformError, UserError
from container.training import device as devices
from container.training import script
from container.training import settings as hyperparameters
from container.training.settings import Settings
from container.training.termination import StopRequest

if TYPE_CHECKING:
    from container.training.loop import Loop

TRAINING_CHANNELS = ("training", "train")
VALIDATION_CHANNELS = ("validation",)
TEST_CHANNELS = ("test", "testing")
_DEFAULT_EPOCHS = 3
_DEFAULT_STEPS = 500  # a small set is seen more often: it needs the steps, not the epochs
_INNER_LOOP_S = 0.5  # a stop waits for one inner loop; a longer one is no faster
_INNER_STEPS_MAXIMUM = 10_000
_EXPORT_BYTES_PER_PARAMETER = 3 * 4  # Keras model, SavedModel and flatbuffer, float32 each
_CHECKED_IMAGES = 256


@dataclasses.dataclass(frozen=True)
class _Sets:
    """The channels' contents; absent ones are None."""

    training: LabelledImages
    validation: LabelledImages | None
    test: LabelledImages | None


def main(layout: contract.Layout, environ: Mapping[str, str]) -> int:
    """Run `train` and give its exit code: 0 when the job is completed or was stopped, 1 when it failed (OUT-1)."""
    faulthandler.enable()  # a native crash leaves its stack in the log (TRIP-16)
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
        return _fail(
            layout, f"PlatformError: memory is exhausted: {error}; choose a larger instance or a smaller batch_size"
        )
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
    channels = _find_channels(layout, config)
    with artifact.staging(layout.model):
        pass  # a model directory that cannot be written is found out now, not after the training
    _make_directory(layout.output_data)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="load") as pool:
        loading = pool.submit(_load, channels, settings)
        import keras  # noqa: F401 - seconds, which pass while the data is read

        _log(f"imported TensorFlow in {time.monotonic() - started:.1f} s")
        sets = loading.result()
    _train(layout, stop, settings, sets)
    _log(f"the job took {time.monotonic() - started:.1f} s")


def _find_channels(layout: contract.Layout, config: contract.TrainingConfig) -> dict[str, Path | None]:
    """Find the directories of the sets `training`, `validation` and `test`.

    Channels are those that the configuration names (TF-3); without that file, as in a plain `docker run`, those whose
    directory exists.
    """
    names = set(config.channels)
    if not layout.input_data_config.exists():
        known = (*TRAINING_CHANNELS, *VALIDATION_CHANNELS, *TEST_CHANNELS)
        names = {name for name in known if layout.channel(name).is_dir()}
    found = {
        kind: next((layout.channel(name) for name in aliases if name in names), None)
        for kind, aliases in (
            ("training", TRAINING_CHANNELS),
            ("validation", VALIDATION_CHANNELS),
            ("test", TEST_CHANNELS),
        )
    }
    if found["training"] is None:
        message = (
            f"there is no training channel: one named {' or '.join(map(repr, TRAINING_CHANNELS))} is needed; "
            f"the job's channels are {', '.join(sorted(names)) or 'none'}"
        )
        raise UserError(message)
    return found


def _load(channels: Mapping[str, Path | None], settings: Settings) -> _Sets:
    """Load all sets; validation and test images must have the training images' shape and classes."""
    started = time.monotonic()
    directory = channels["training"]
    assert directory is not None  # noqa: S101 - `_find_channels` saw to it
    shape = settings.image_shape
    whole = dataset.load(directory, label_column=settings.label_column, image_shape=shape)  # type: ignore[arg-type]
    if len(whole.classes) < 2:
        message = f"{directory} holds one class only, {whole.classes[0]!r}: a classifier needs two"
        raise UserError(message)
    held_out: dict[str, LabelledImages] = {}
    for kind in ("validation", "test"):
        path = channels[kind]
        if path is not None:
            held_out[kind] = dataset.load(
                path, label_column=settings.label_column, image_shape=whole.images.shape[1:], classes=whole.classes
            )
    training = whole
    if "validation" not in held_out and settings.validation_fraction:
        training, held_out["validation"] = _split(whole, settings)
    sets = _Sets(training, held_out.get("validation"), held_out.get("test"))
    counts = {field.name: getattr(sets, field.name) for field in dataclasses.fields(sets)}
    sizes = ", ".join(f"{len(found.labels)} {name}" for name, found in counts.items() if found)
    height, width, depth = training.images.shape[1:]
    _log(
        f"loaded {sizes} images of {height}x{width}x{depth} in {len(whole.classes)} classes "
        f"in {time.monotonic() - started:.1f} s"
    )
    return sets


def _split(whole: LabelledImages, settings: Settings) -> tuple[LabelledImages, LabelledImages]:
    """Hold out a share of the images, chosen by the seed."""
    order = np.random.default_rng(settings.seed).permutation(len(whole.labels))
    count = min(max(1, round(settings.validation_fraction * len(order))), len(order) - 1)
    parts = [np.sort(order[count:]), np.sort(order[:count])]
    training, validation = (LabelledImages(whole.images[part], whole.labels[part], whole.classes) for part in parts)
    return training, validation


def _train(layout: contract.Layout, stop: StopRequest, settings: Settings, sets: _Sets) -> None:
    """Train, export, evaluate and publish; after a stop, what was trained so far and without the evaluation."""
    import keras

    from container.training import export, loop, model

    training, shape = sets.training, sets.training.images.shape[1:]
    batch_size = min(settings.batch_size, len(training.labels))
    steps_per_epoch = len(training.labels) // batch_size
    epochs = settings.epochs or max(_DEFAULT_EPOCHS, -(-_DEFAULT_STEPS // steps_per_epoch))
    settings = dataclasses.replace(settings, epochs=epochs, batch_size=batch_size)
    device = devices.choose(settings, shape)
    devices.configure(device)
    for reason in device.reasons:
        _log(reason)

    keras.utils.set_random_seed(settings.seed)
    network = model.build_small_cnn(shape, len(training.classes), *_measure_pixels(training.images))
    _check_free_space(layout.model, network.count_params())
    trainer = loop.Loop(model.clone_for_training(network, device.precision), training, settings, device)
    _log(
        f"training {network.name} ({network.count_params()} parameters): {epochs} epochs of {steps_per_epoch} steps "
        f"of {batch_size} images"
    )
    started = time.monotonic()
    history = _run_epochs(trainer, epochs, stop, sets.validation)
    training_time_s = time.monotonic() - started
    _log(f"trained for {training_time_s:.2f} s")
    _write_json(layout.output_data / "history.json", history)

    trainer.weights.assign_to(network.trainable_variables)
    trainer.statistics.assign_to(network.non_trainable_variables)
    with artifact.staging(layout.model) as stage:
        checked = training.images[:: max(1, len(training.labels) // _CHECKED_IMAGES)][:_CHECKED_IMAGES]
        litert = export.write_models(stage, network, checked)
        metrics = dict(history[-1]) if history else {}
        if not stop.requested:
            facts = {"Training time": f"{training_time_s:.1f} s", "Parameters": f"{network.count_params():,}"}
            metrics |= _evaluate(layout, sets, litert, history, facts)
        artifact.publish(
            stage,
            artifact.Manifest(
                input_shape=shape,
                classes=training.classes,
                hyperparameters=dataclasses.asdict(settings),
                metrics=metrics,
                training_time_s=round(training_time_s, 3),
                versions=_list_versions(),
            ),
        )
    _log(f"the model is in {layout.model}" + (" (stopped early)" if stop.requested else ""))


def _run_epochs(
    trainer: Loop, epochs: int, stop: StopRequest, validation: LabelledImages | None
) -> list[dict[str, float]]:
    """Run the outer loop: inner loops of about half a second, a metric line an epoch; give the epochs' metrics."""
    history: list[dict[str, float]] = []
    inner_steps, done = 1, 0
    for epoch in range(epochs):
        started = time.monotonic()
        start, loss, correct = 0, 0.0, 0
        while start < trainer.steps_per_epoch and not stop.requested:
            count = min(inner_steps, trainer.steps_per_epoch - start)
            before = time.monotonic()
            progress = trainer.run(epoch, start, count)
            stop.worth_saving = True
            elapsed_s = time.monotonic() - before
            if done:  # the first call has compiled, too
                inner_steps = max(1, min(_INNER_STEPS_MAXIMUM, round(_INNER_LOOP_S * count / elapsed_s)))
            start, done = start + count, done + count
            loss, correct = loss + progress.loss, correct + progress.correct
        if not start:
            break
        elapsed_s = time.monotonic() - started
        metrics = {
            "epoch": epoch + 1,
            "train_loss": loss / start,
            "train_accuracy": correct / (start * trainer.batch_size),
        }
        if validation is not None:
            metrics["validation_loss"], metrics["validation_accuracy"] = trainer.measure(validation)
        metrics |= {
            "learning_rate": trainer.learning_rate(epoch, start - 1),
            "images_per_s": start * trainer.batch_size / elapsed_s,
            "epoch_time_s": elapsed_s,
        }
        history.append(metrics)
        _log(contract.format_metrics(metrics))
    return history


def _evaluate(
    layout: contract.Layout,
    sets: _Sets,
    litert: Any,
    history: Sequence[Mapping[str, float]],
    facts: Mapping[str, str],
) -> dict[str, float]:
    """Evaluate what will be served on the test set, else on the validation set; give the headline metrics."""
    from container.evaluation import job as evaluation

    split = "test" if sets.test else "validation"
    images = sets.test or sets.validation
    if images is None:
        _log("there is no test and no validation channel: nothing to evaluate")
        return {}
    metrics = evaluation.evaluate(
        images,
        litert.predict(images.images),
        output_dirs=evaluation.output_dirs(layout),
        history=history,
        facts=facts,
        split=split,
    )
    names = ("accuracy", "precision", "recall", "f1", "auc")
    return {f"{split}_{name}": metrics[name] for name in names if metrics[name] is not None}


def _measure_pixels(images: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of the pixels of up to 2000 images, in units of 0-1."""
    sample = images[:: max(1, len(images) // 2000)] / np.float32(255)
    return round(float(sample.mean()), 4), round(max(float(sample.std()), 0.01), 4)


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
