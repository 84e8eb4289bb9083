"""Trains two towers on one device and on two; prints the difference and the graph's devices."""

from __future__ import annotations

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from container.data.images import LabeledImages
from container.training.settings import Settings
from container.training.step import networks
from container.training.step.device import Device
from container.training.step.loop import Loop

[processor] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
chance = np.random.default_rng(0)
labels = np.arange(32, dtype=np.int32) % 4
data = LabeledImages(chance.integers(0, 256, (32, 8, 8, 1)).astype(np.uint8), labels, (0, 1, 2, 3))
settings = Settings(epochs=1, batch_size=8, schedule="constant", ema_decay=0.9)
weights, losses = [], []
for places in ((), ("/CPU:0", "/CPU:1")):
    keras.utils.set_random_seed(0)
    twin = networks.clone_for_training(
        networks.build("small_cnn", (8, 8, 1), 4, (0.5, 0.3)), "float32"
    )
    device = Device("float32", 2, 1, 2, xla=sys.argv[1] == "xla", reasons=(), places=places)
    loop = Loop(twin, data, settings, device)
    loss, _ = loop.run(0, 0, 4, (0.0, 0))
    weights.append(loop.result()["weights"])
    losses.append(loss)
    run = loop._run  # noqa: SLF001 - only its graph names the devices
    library = run.get_concrete_function().graph.as_graph_def().library
    used = sorted(
        {node.device for function in library.function for node in function.node_def} - {""}
    )
print(
    json.dumps(
        {"difference": float(np.abs(weights[0] - weights[1]).max()), "losses": losses, "used": used}
    )
)
