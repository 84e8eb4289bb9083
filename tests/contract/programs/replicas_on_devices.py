"""Trains on one device and on four; prints the largest differences of weights and losses."""

from __future__ import annotations

import json
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from container.contract import Resources
from container.data.images import LabeledImages
from container.training.distributed import rendezvous
from container.training.network import networks, twins
from container.training.settings import Settings
from container.training.step.device import Device
from container.training.step.loop import Loop

COUNT = 4
# With XLA only the first one.
CASES: list[dict[str, Any]] = [
    {  # one device has no image
        "optimizer": "lamb",
        "batch_size": 3,
        "learning_rate": 0.01,
        "ema_decay": 0.9,
        "shift_pixels": 1,
        "flip": True,
    },
    {
        "optimizer": "sgd",
        "batch_size": 18,
        "learning_rate": 0.01,
        "lookahead_steps": 2,
        "class_weights": "balanced",
        "augmentation": "trivial",
        "shift_each": True,
    },
]

[processor] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    processor, [tf.config.LogicalDeviceConfiguration()] * COUNT
)
chance = np.random.default_rng(0)
labels = np.arange(36, dtype=np.int32) % 4
data = LabeledImages(chance.integers(0, 256, (36, 8, 8, 1)).astype(np.uint8), labels, (0, 1, 2, 3))
places = [f"/CPU:{index}" for index in range(COUNT)]
several = rendezvous.connect(Resources(), 1, print, places)


def train(settings: Settings, hosts: rendezvous.Hosts) -> tuple[Loop, float]:
    """Train four steps; the batch has as many towers whatever the number of devices."""
    keras.utils.set_random_seed(0)
    network = networks.build("small_cnn", (8, 8, 1), 4, (0.5, 0.3))
    twin = twins.clone_for_training(network, "float32")
    towers = COUNT // hosts.replica_count
    device = Device("float32", towers, 1, COUNT, xla=sys.argv[1] == "xla", reasons=())
    loop = Loop(twin, data, settings, device, hosts=hosts)
    loss, _ = loop.run(0, 0, min(4, loop.steps_per_epoch), (0.0, 0))
    return loop, loss


found = []
for case in CASES[:1] if sys.argv[1] == "xla" else CASES:
    settings = Settings(epochs=4, schedule="constant", warmup_fraction=0, **case)
    (one, one_loss), (four, four_loss) = (train(settings, h) for h in (rendezvous.Hosts(), several))
    expected, actual = one.state(), four.state()
    copies = four._weights.values  # noqa: SLF001 - of each device
    found.append(
        {
            "loss": abs(one_loss - four_loss),
            "state": {
                name: float(np.abs(expected[name] - actual[name]).max()) for name in expected
            },
            "copies": max(float(np.abs(actual["weights"] - copy.numpy()).max()) for copy in copies),
            "devices": sorted({copy.device for copy in copies}),
        }
    )
print(json.dumps(found))
