"""Fixture program: serves a model from each of its forms, without code; prints all predictions.

`ask_models.py ARTIFACT SCRATCH IMAGES.json`: each form is laid out as other tools leave it.
"""

import json
import shutil
import sys
from pathlib import Path

from container.serving.exchange import Request
from container.serving.third_party import model_application, model_files

artifact, scratch, images = map(Path, sys.argv[1:])
places = {
    "model.tflite": "LiteRT/model.tflite",
    "saved_model": "SavedModel/export/Servo/1",
    "model.keras": "Keras/folder/model.keras",
}
for source, target in places.items():
    (scratch / target).parent.mkdir(parents=True)
    copy = shutil.copytree if (artifact / source).is_dir() else shutil.copyfile
    copy(artifact / source, scratch / target)
import keras  # noqa: E402 - only for the next form

(scratch / "H5").mkdir()
keras.models.load_model(artifact / "model.keras", compile=False).save(scratch / "H5/model.h5")
answers = {}
for kind in ("LiteRT", "SavedModel", "Keras", "H5"):
    found = model_files.find(scratch / kind)
    assert found is not None
    served = model_application.Found(found.kind, found.path)
    headers = {"content-type": "application/json"}
    response = served.load().invoke(Request(images.read_bytes(), headers))
    assert response.status == 200, response.body
    answers[found.kind if kind != "H5" else "H5"] = json.loads(response.body)["predictions"]
print(json.dumps(answers))
