"""The bundled network as a typed algorithm: declarations, training, loading and predicting.

A user's `algorithm.py` can import these names and do something before or after.

Rules of this file: TensorFlow is imported by `train` only.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from container import artifact, contract
from container.algorithm import Job
from container.training import phases, preparation, settings
from container.training.input import channels
from container.training.settings import Settings

if TYPE_CHECKING:
    from container.predictor import Predictor
    from container.training.epochs import Training
    from container.training.preparation import Prepared

NAME = "byo-container-toolkit"
CHANNELS = (
    "|".join(channels.TRAINING),
    "|".join(channels.VALIDATION) + "?",
    "|".join(channels.TEST) + "?",
    "|".join(channels.PRETRAINED) + "?",
)
METRICS = contract.METRIC_NAMES
DISTRIBUTED = True
Hyperparameters = Settings
parse_hyperparameters = settings.parse

_SAMPLE_IMAGES = 2000  # enough to know the mean of the pixels to one percent


def train(job: Job[Settings]) -> None:
    """Train, and leave the artifact in the model directory; history, metrics and report in output.

    After a stop the model trained so far is saved, without an evaluation.

    Raises: UserError or PlatformError with the reason why the job cannot be done.
    """
    started = time.monotonic()
    prepared = preparation.prepare(job)
    from container.training.distributed import agreement
    from container.training.step import trial

    with phases.measure("building of the network"):
        network, run, sample = _build(prepared)
        run.resume()
        run.progress.kernels = trial.settle_kernels(
            run.loop, prepared.hosts, run.progress.kernels, run.steps_done, preparation.log
        )
    preparation.log(
        f"training {network.name} ({network.count_params()} parameters): "
        f"{preparation.describe_plan(prepared.settings, prepared.share.image_count)}"
    )
    with phases.measure("steps"):
        reason = run.run(prepared.deadline)
    preparation.log(f"trained for {run.progress.elapsed_s:.2f} s: {reason}")
    agreement.compare(prepared.hosts, run.loop.state(), run.steps_done, preparation.log)
    if not run.steps_done:
        preparation.log("no step was completed, so there is no model to save")
    elif prepared.hosts.is_chief:
        from container.training import publication

        run.loop.write_to(network, run.result())
        publication.publish(prepared, network, run, sample)
    prepared.hosts.agree([0])  # DS-5: no host ends before the chief has saved
    if phases.is_debugging(os.environ):
        for line in phases.draw():
            preparation.log(line)
    preparation.log(f"the job took {time.monotonic() - started:.1f} s")


def load(model_dir: Path) -> Predictor:
    """Load the flatbuffer of an artifact; `serve` chooses among its models."""
    from container import predictor

    return predictor.load(artifact.load(model_dir))


def predict(model: Predictor, data: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return probabilities `[n, class]` of images, numbers 0-255 that fill the input shape."""
    return model.predict(np.asarray(data).reshape(-1, *model.input_shape).astype(np.uint8))


def _build(prepared: Prepared) -> tuple[Any, Training, npt.NDArray[np.uint8]]:
    """Build the network and its training; also return a sample of the training images."""
    import keras

    from container.training import checkpoint, epochs, tensorboard
    from container.training.network import networks, twins, whitened
    from container.training.step import loop, source

    chosen, sets, hosts = prepared.settings, prepared.sets, prepared.hosts
    layout = prepared.job.layout
    shape = sets.training.image_shape
    sample = source.take_sample(sets.training, _SAMPLE_IMAGES)
    keras.utils.set_random_seed(chosen.seed)
    pixels = networks.measure_pixels(sample, hosts)
    class_count = len(sets.training.classes)
    covariance = None
    if chosen.model == "whitened_cnn":
        covariance = whitened.measure_patches(sample, pixels, hosts)
    network = networks.build(
        chosen.model, shape, class_count, pixels, prepared.pretrained, covariance
    )
    if chosen.freeze_trunk:
        networks.freeze_trunk(network)
    preparation.check_free_space(layout.model, network.count_params())
    twin = twins.clone_for_training(network, prepared.device.precision)
    trainer = loop.Loop(twin, sets.training, chosen, prepared.device, prepared.share, hosts)
    trainer.restore(hosts.broadcast(trainer.state()))
    validation = sets.validation
    validates = hosts.exchange(validation is not None)[0]
    if not hosts.is_chief:  # the chief measures; the others only need to know whether it does
        validation = sets.training if validates else None
    run = epochs.Training(
        loop=trainer,
        settings=chosen,
        validation=validation,
        stop=prepared.job.stop,
        checkpoints=checkpoint.find_directory(chosen, layout),
        identity=checkpoint.identify(chosen, sets.training, network.count_params()),
        log=preparation.log,
        hosts=hosts,
        events=tensorboard.Events(layout.tensorboard) if hosts.is_chief else None,
    )
    return network, run, sample if len(sample) else np.zeros((1, *shape), np.uint8)
