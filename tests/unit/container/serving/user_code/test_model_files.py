"""Which model is found in a directory."""

from pathlib import Path

import pytest

from container.errors import UserError
from container.serving.user_code import model_files


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("files", "kind", "path"),
    [
        (["1/saved_model.pb"], "SavedModel", "1"),
        (["export/Servo/1/saved_model.pb"], "SavedModel", "export/Servo/1"),
        (["m/9/saved_model.pb", "m/10/saved_model.pb"], "SavedModel", "m/10"),
        (["saved_model.pb", "variables/x.h5"], "SavedModel", "."),
        (["model.h5"], "Keras", "model.h5"),
        (["model.keras", "model.tflite"], "LiteRT", "model.tflite"),
        (["x.onnx", ".hidden/y.onnx"], "ONNX", "x.onnx"),
        (["a.weights.h5"], None, ""),
    ],
)
def test_model_of_others_is_found_by_its_files(
    tmp_path: Path, files: list[str], kind: str | None, path: str
) -> None:
    for name in files:
        write(tmp_path / name, "")
    found = model_files.find(tmp_path)
    assert found == (kind and model_files.ModelFile(kind, tmp_path / path))


def test_two_models_of_one_kind_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", "")
    write(tmp_path / "b.h5", "")
    with pytest.raises(UserError, match=r"holds 2 models: .*a\.h5.*one is expected"):
        model_files.find(tmp_path)
