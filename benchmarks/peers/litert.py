"""The same LiteRT model for every tuned peer: `predict` of `[n, pixels]` or images, one thread."""

import os

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class Model:
    """A LiteRT interpreter with a batch size of one, which is the fastest for a small model."""

    def __init__(self) -> None:
        """Load `$MODEL/model.tflite`."""
        self._interpreter = Interpreter(
            model_path=os.environ["MODEL"] + "/model.tflite", num_threads=1
        )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def predict(self, rows: object) -> np.ndarray:
        """Return `[n, class] float32` for n rows."""
        images = np.asarray(rows, np.uint8).reshape(-1, *self._input["shape"][1:])
        outputs = []
        for index in range(len(images)):
            self._interpreter.set_tensor(self._input["index"], images[index : index + 1])
            self._interpreter.invoke()
            outputs.append(self._interpreter.get_tensor(self._output))
        return np.concatenate(outputs)
