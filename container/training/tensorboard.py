"""Event files for TensorBoard: the runs `train` and `validation`, one point per epoch and chart.

The platform synchronizes their directory while the job runs. Writing them does not need the
package `tensorboard`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tensorflow as tf
from tensorflow.core.framework.summary_pb2 import SummaryMetadata

from container.errors import PlatformError

_CHARTS: Final = {
    "train_loss": ("train", "loss"),
    "train_accuracy": ("train", "accuracy"),
    "validation_loss": ("validation", "loss"),
    "validation_accuracy": ("validation", "accuracy"),
    "learning_rate": ("train", "learning_rate"),
    "images_per_s": ("train", "images_per_s"),
    "epoch_time_s": ("train", "epoch_time_s"),
    "data_stall_share": ("train", "data_stall_share"),
}
_SCALAR: Final = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))


class Events:
    """The event files of one start of a job; TensorBoard joins those of all starts by epoch."""

    def __init__(self, directory: Path) -> None:
        """Write below `directory`, which the first point creates."""
        self._directory = directory
        self._writers: dict[str, Any] = {}

    def append(self, metrics: Mapping[str, float]) -> None:
        """Write the metrics of an epoch, named as in `contract.METRIC_NAMES`, that have a chart.

        Raises: PlatformError if the directory cannot be written.
        """
        try:
            for name, (run, tag) in _CHARTS.items():
                if name not in metrics:
                    continue
                if run not in self._writers:
                    directory = str(self._directory / run)
                    self._writers[run] = tf.summary.create_file_writer(directory)
                with self._writers[run].as_default():
                    value = tf.constant(metrics[name], tf.float32)
                    tf.summary.write(tag, value, step=int(metrics["epoch"]), metadata=_SCALAR)
            for writer in self._writers.values():
                writer.flush()
        except tf.errors.OpError as error:
            raise PlatformError(f"{self._directory} cannot be written: {error.message}") from error
