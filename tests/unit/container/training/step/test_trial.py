"""`xla=auto` measures the job's own steps, and leaves no trace but its choice."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from container.data.images import LabeledImages
from container.training.distributed.rendezvous import Hosts
from container.training.epochs import Training
from container.training.network import twins
from container.training.settings import Settings
from container.training.step import trial
from container.training.step.device import Device
from container.training.step.loop import Loop

SETTINGS = Settings(epochs=4, batch_size=8, early_stopping_epochs=0, deterministic=False)


class Running:
    """No stop was requested."""

    requested = False
    worth_saving = False
    saved = ""


def train(log: Callable[[str], None], **changes: Any) -> Training:
    chance = np.random.default_rng(0)
    labels = np.arange(32, dtype=np.int32) % 4
    pixels = chance.integers(0, 256, (32, 4, 4, 1)).astype(np.uint8)
    data = LabeledImages(pixels, labels, (0, 1, 2, 3))
    keras.utils.set_random_seed(0)
    settings = dataclasses.replace(SETTINGS, **changes)
    inputs = keras.Input((4, 4, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = keras.layers.Softmax()(keras.layers.Dense(4, name="logits")(x))
    twin = twins.clone_for_training(keras.Model(inputs, outputs), "float32")
    loop = Loop(twin, data, settings, Device("float32", 1, 1, 1, xla=False, reasons=()))
    run = Training(
        loop=loop,
        settings=settings,
        validation=None,
        stop=Running(),
        checkpoints=None,
        identity={},
        log=log,
        hosts=Hosts(),
    )
    assert run.run(float("inf")) == "all epochs are done"
    return run


def test_a_long_job_tries_both_and_ends_where_it_would_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logs: list[str] = []
    plain = train(logs.append, xla="off")
    assert not [line for line in logs if line.startswith("xla=")]
    monkeypatch.setattr(trial, "LONG_JOB_S", 1e-9)
    tried = train(logs.append)
    [line] = [line for line in logs if line.startswith("xla=")]
    found = re.fullmatch(
        r"xla=(on|off): a step takes ([0-9.]+) ms with XLA and ([0-9.]+) ms without "
        r"\(\d steps each\)",
        line,
    )
    assert found
    assert tried.progress.xla is (found[1] == "on") is tried.loop.xla
    assert all(np.isfinite([entry["train_loss"] for entry in tried.progress.history]))
    assert [entry["epoch"] for entry in tried.progress.history] == [1, 2, 3, 4]
    difference = tried.loop.result()["weights"] - plain.loop.result()["weights"]
    assert np.abs(difference).max() < 1e-5


@pytest.mark.parametrize("changes", [{"xla": "off"}, {"xla": "on"}, {"deterministic": True}, {}])
def test_nothing_is_tried_if_it_is_set_or_must_be_the_same_or_the_job_is_short(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if changes:
        monkeypatch.setattr(trial, "LONG_JOB_S", 1e-9)
    logs: list[str] = []
    assert train(logs.append, **changes).progress.xla is None
    assert not [line for line in logs if line.startswith("xla=")]
