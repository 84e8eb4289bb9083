"""The end of a job: export the network, evaluate what will be served, publish the artifact."""

import dataclasses
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

import container
from container import artifact, contract, machine, predictor
from container.data.stream import Stream
from container.errors import PlatformError, UserError
from container.evaluation import job as evaluation
from container.evaluation import places
from container.evaluation.report import Background
from container.predictor import Predictor
from container.training import export, phases
from container.training.epochs import Training
from container.training.network import networks
from container.training.preparation import Prepared, log
from container.training.settings import Settings

_CHECKED_IMAGES = 256
_EVALUATED_IMAGES = 512  # between two checks for a stop

Probabilities = npt.NDArray[np.float32]


def publish(
    prepared: Prepared, network: keras.Model, run: Training, sample: npt.NDArray[np.uint8]
) -> None:
    """Export, evaluate and publish the trained network.

    Raises: UserError if it does not reach `min_accuracy` or `min_f1`; PlatformError if a file
    cannot be written.
    """
    layout, stop = prepared.job.layout, prepared.job.stop
    history: list[dict[str, Any]] = [dict(epoch) for epoch in run.progress.history]
    training_time_s = run.progress.elapsed_s
    _write_json(layout.output_data / artifact.HISTORY_NAME, history)
    last = run.progress.best_epoch - 1 if run.best else -1
    manifest = artifact.Manifest(
        input_shape=prepared.sets.training.image_shape,
        classes=prepared.sets.training.classes,
        hyperparameters=dataclasses.asdict(prepared.settings),
        metrics=dict(history[last]) if history else {},
        training_time_s=round(training_time_s, 3),
        versions=_list_versions(),
    )
    facts = {
        "Network": network.name,
        "Parameters": f"{network.count_params():,}",
        "Training time": f"{training_time_s:.1f} s",
    }
    with artifact.staging(layout.model) as stage:
        _write_json(stage / artifact.HISTORY_NAME, history)
        # Quantizing takes longer than a stop may.
        int8 = prepared.settings.int8_export and not stop.requested
        images = sample[:_CHECKED_IMAGES]
        if prepared.settings.mirror_views:
            network = networks.average_mirrored(network)
        exported = export.write_models(stage, network, manifest, images, log=log, int8=int8)
        threads = machine.count_threads()
        models = {"": predictor.load(exported, threads=threads)}  # the model that `serve` chooses
        if "litert_int8" in exported.manifest.differences:
            models["int8"] = predictor.load(exported, runtime="litert_int8", threads=threads)
        with phases.measure("evaluation"):
            background = Background(history, facts, manifest.hyperparameters)
            measured = _evaluate(prepared, models, background)
        _check_quality(prepared.settings, measured)
        metrics = {**manifest.metrics, **measured}
        artifact.publish(stage, dataclasses.replace(exported.manifest, metrics=metrics))
    if history:
        history[-1]["phases_s"] = phases.list_phases()
        _write_json(layout.output_data / artifact.HISTORY_NAME, history)
    stop.saved = f"the model in {layout.model}"
    log(f"the model is in {layout.model}" + (" (stopped early)" if stop.requested else ""))


def _evaluate(
    prepared: Prepared, models: Mapping[str, Predictor], background: Background
) -> dict[str, float]:
    """Evaluate the models on the test set, else on the validation set; return headline metrics.

    The report is about the model that is served; the eight-bit model only adds its accuracy.
    Without such a set, or after a stop request, return no metrics.
    """
    sets = prepared.sets
    split = "test"
    if sets.test is None:
        split = "validation"
    images = sets.test or sets.validation
    if images is None:
        log("the job has neither a test nor a validation channel: nothing to evaluate")
        return {}
    if isinstance(images, Stream):
        images = images.mapped()
    blocks: dict[str, list[Probabilities]] = {name: [] for name in models}
    for start in range(0, len(images.images), _EVALUATED_IMAGES):
        for name, model in models.items():
            if prepared.job.stop.requested:
                return {}
            blocks[name].append(model.predict(images.images[start : start + _EVALUATED_IMAGES]))
    probabilities = {name: np.concatenate(found) for name, found in blocks.items()}
    facts = dict(background.facts)
    int8: dict[str, float] = {}
    if "int8" in models:
        accuracy, found = (
            float((probabilities[name].argmax(1) == images.labels).mean()) for name in ("", "int8")
        )
        int8 = {f"int8_{split}_accuracy": found}
        comparison = f"{found:.4f} on {split} images, {accuracy:.4f} without quantization"
        facts["Accuracy of the eight-bit model"] = comparison
        log(f"accuracy of the eight-bit model: {comparison}; {contract.format_metrics(int8)}")
    background = dataclasses.replace(background, facts=facts, split=split)
    directories = places.output_dirs(prepared.job.layout)
    with phases.measure("report"):
        metrics = evaluation.evaluate(images, probabilities[""], directories, background)
    return evaluation.pick_headline(metrics, f"{split}_") | int8


def _check_quality(settings: Settings, metrics: Mapping[str, float]) -> None:
    """Refuse a model below the limits of the job; its report stays in the output.

    Raises: UserError that names both numbers.
    """
    limits = {"accuracy": settings.min_accuracy, "f1": settings.min_f1}
    faults = []
    for key, found in metrics.items():
        split, _, name = key.rpartition("_")
        limit = limits.get(name)
        if limit is None or split.startswith("int8"):
            continue
        if found < limit:
            faults.append(f"{key} {found:.4f} is below min_{name}={limit:g}")
    if faults:
        raise UserError.from_faults("the model does not reach the required quality", faults)


def _write_json(path: Path, value: Any) -> None:
    try:
        path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise PlatformError(f"{path} cannot be written: {error}") from error


def _list_versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "toolkit": container.__version__,
    }
