"""Artifacts of this toolkit, in front of which a user has put handlers."""

from pathlib import Path
from typing import Any

import numpy as np

from container import artifact
from container.serving.third_party.model_files import Choice
from container.serving.third_party.signature import Tensor, Tensors


class ArtifactModel:
    """The model of an artifact."""

    def __init__(self, path: Path, _: Choice) -> None:
        from container import predictor

        found = artifact.load(path)
        self._predictor = predictor.load(found)
        images = Tensor("images", np.dtype(np.uint8), (None, *found.manifest.input_shape))
        self.signature = Tensors([images])

    def predict(self, data: Any) -> Any:
        """Return probabilities."""
        return self._predictor.predict(self.signature.bind(data)["images"])
