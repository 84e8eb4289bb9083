"""Write an artifact of ResNet-50 with random weights, 1000 classes: resnet50.py MODEL_DIR."""

import sys
from pathlib import Path

import keras
import numpy as np

from container import artifact
from container.training import export

keras.utils.set_random_seed(0)
images = keras.Input((224, 224, 3), dtype="uint8")
scaled = keras.layers.Rescaling(1 / 255)(images)
model = keras.Model(
    images, keras.applications.ResNet50(weights=None, input_shape=(224, 224, 3))(scaled)
)
manifest = artifact.Manifest((224, 224, 3), tuple(range(1000)), {}, {}, 0.0, {})
with artifact.staging(Path(sys.argv[1])) as stage:
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    exported = export.write_models(stage, model, manifest, images, log=print)
    artifact.publish(stage, exported.manifest)
