"""TensorBoard's event files are framed as TFRecord (BT-14) and parse as TensorFlow's message."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
import tensorflow as tf
from tensorflow.core.util.event_pb2 import Event
from container.errors import PlatformError
from container.training.tensorboard import Events

root = Path(sys.argv[1])
events = Events(root / "tensorboard")
events.append({"epoch": 1, "train_loss": 0.5, "validation_loss": 0.75, "test_accuracy": 1.0})
events.append({"epoch": 2, "train_loss": 0.25})
for path in sorted((root / "tensorboard").rglob("events*")):
    for record in tf.data.TFRecordDataset(str(path)):
        event = Event.FromString(record.numpy())
        for value in event.summary.value:
            print(path.parent.name, value.tag, event.step, tf.make_ndarray(value.tensor))
(root / "file").touch()
try:
    Events(root / "file/tensorboard").append({"epoch": 1, "train_loss": 0.5})
except PlatformError as error:
    print("cannot be written" in str(error))
"""


def test_event_files_hold_a_point_for_each_epoch_and_chart(tmp_path: Path) -> None:
    environ = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.splitlines() == [
        "train loss 1 0.5",
        "train loss 2 0.25",
        "validation loss 1 0.75",
        "True",
    ]
