"""Predicts with any model directory that `serve` serves, in the process of a batch engine.

    model = LocalModel("/models/digits")
    probabilities = model.predict(images)

A batch is answered as a request to `/invocations` is, without HTTP: by the bundled network, by a
third-party model or by the handlers of `inference.py`. Arrays go in and out as npy. docs/batch.md
has an example for Ray Data and one for Spark.
"""

import io
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container import contract, machine
from container.errors import PlatformError, UserError
from container.serving import plan, server_settings
from container.serving.bodies import media_types
from container.serving.exchange import Request
from container.serving.service import Service

# No limit of the size of a body: the engine chooses its batches.
_SETTINGS: Final = {"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}
_HEADERS: Final = {"content-type": media_types.NPY, "accept": media_types.NPY}


class LocalModel:
    """A loaded model. One prediction at a time; engines have a process for each."""

    def __init__(self, model_dir: str | Path, environ: Mapping[str, str] = os.environ) -> None:
        """Load the model; settings of the server, such as `BYO_RUNTIME`, are read from `environ`.

        Raises: UserError if the model is missing or cannot be loaded.
        """
        directory = Path(model_dir).resolve()
        if not directory.is_dir():
            raise UserError(f"{directory} is not a directory; unpack the model archive first")
        base = tempfile.mkdtemp(prefix="local-model-")
        weakref.finalize(self, shutil.rmtree, base, ignore_errors=True)
        layout = contract.Layout(Path(base))
        layout.model.symlink_to(directory)
        settings = server_settings.parse({**environ, **_SETTINGS})
        planned = plan.make(layout, environ, settings, machine.count_threads())
        self._application = Service(planned).load()

    def predict(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the model's answer to `rows`, whose first axis counts them.

        The bundled network takes `[n, height, width, channel] uint8 0-255` and returns
        `[n, class] float32`.

        Raises: UserError if the model does not take the rows; PlatformError if it fails.
        """
        body = io.BytesIO()
        np.save(body, rows, allow_pickle=False)
        response = self._application.invoke(Request(body.getvalue(), _HEADERS))
        if response.status != 200:
            message = response.body.decode(errors="replace")
            if response.status < 500:
                raise UserError(message)
            raise PlatformError(message)
        answer: NDArray[Any] = np.load(io.BytesIO(response.body), allow_pickle=False)
        return answer


_load_pyfunc = LocalModel
"""MLflow's name for what loads a model, in the module that its file MLmodel names."""
