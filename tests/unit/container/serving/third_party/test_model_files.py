"""Which model is found in a directory."""

import re
import sys
import zipfile
from pathlib import Path

import pytest

from container.errors import UserError
from container.serving.third_party import model_files


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def pack(path: Path, *members: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(f"{path.stem}/{member}", "")
    return path


@pytest.mark.parametrize(
    ("files", "kind", "path"),
    [
        (["1/saved_model.pb"], "SavedModel", "1"),
        (["export/Servo/1/saved_model.pb"], "SavedModel", "export/Servo/1"),
        (["m/9/saved_model.pb", "m/10/saved_model.pb"], "SavedModel", "m/10"),
        (["saved_model.pb", "variables/x.h5"], "SavedModel", "."),
        (["model.h5"], "Keras", "model.h5"),
        (["model.H5"], "Keras", "model.H5"),
        (["model.hdf5"], "Keras", "model.hdf5"),
        (["model.keras", "model.tflite"], "LiteRT", "model.tflite"),
        (["x.onnx", ".hidden/y.onnx"], "ONNX", "x.onnx"),
        (["x.onnx", "._x.onnx", ".DS_Store", "__MACOSX/y.onnx"], "ONNX", "x.onnx"),
        (["best.keras", "checkpoints/1.keras", "ckpt/2.keras"], "Keras", "best.keras"),
        (["best.keras", "old/best.keras"], "Keras", "best.keras"),
        (["model.keras", "best.keras", "epoch-3.keras"], "Keras", "model.keras"),
        (["model.onnx", "scaler.pkl", "labels.txt", "metrics.json"], "ONNX", "model.onnx"),
        (["run/MLmodel", "run/model.pkl", "run/data/model.onnx"], "MLflow", "run"),
        (["model.pkl"], "pickle", "model.pkl"),
        (["a.weights.h5"], None, ""),
        (["model.onnx.gz", "notes.gz", "model.pkl.zip"], None, ""),
        (["model.joblib.gz", "scaler.joblib.gz"], "pickle", "model.joblib.gz"),
        (["model.joblib.gz", "model.onnx"], "ONNX", "model.onnx"),
        (["labels.txt", "config.json", "x.ubj", "README.md"], None, ""),
    ],
)
def test_model_of_others_is_found_by_its_files(
    tmp_path: Path, files: list[str], kind: str | None, path: str
) -> None:
    for name in files:
        write(tmp_path / name, "")
    found = model_files.find(tmp_path)
    assert found == (kind and model_files.ModelFile(kind, tmp_path / path))


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("model.json", '{"learner":{"attributes"', "XGBoost"),
        ("clf.json", '{\n  "learner": {}', "XGBoost"),
        ("clf.ubj", "{L\0learner{", "XGBoost binary"),
        ("gbm.txt", "tree\nversion=v4\n", "LightGBM"),
        ("model.cbm", "CBM1", "CatBoost"),
        ("noname", "\x89HDF\r\n\x1a\n", "Keras"),
        ("xgboost-model", '{"learner":{"attributes"', "XGBoost"),
        ("xgboost-model", "{L\0\0\0\0\0\0\0\x07learner{", "XGBoost binary"),
        ("xgboost-model", "\0\0\0?\5\0\0\0", "XGBoost binary"),
        ("xgboost-model", "\x80\4\x95", "pickle"),
        ("model.bst", "{L\0\0\0\0\0\0\0\x07learner{", "XGBoost binary"),
        ("gbm.model", "tree\r\nversion=v4\n", "LightGBM"),
        ("model.bin", "CBM1", "CatBoost"),
        ("network", "\x1c\0\0\0TFL3", "LiteRT"),
        ("model.joblib.gz", "\x1f\x8b", "pickle"),
        ("model.PKL.XZ", "", "pickle"),
        ("model.sav", "\x80", "pickle"),
    ],
)
def test_first_bytes_decide_where_a_name_may_mean_several_things(
    tmp_path: Path, name: str, head: str, kind: str
) -> None:
    (tmp_path / name).write_bytes(head.encode("latin-1"))
    write(tmp_path / "notes.txt", "trees are nice")
    write(tmp_path / "metrics.json", '{"loss": 1}')
    assert model_files.find(tmp_path) == model_files.ModelFile(kind, tmp_path / name)


@pytest.mark.parametrize(
    ("name", "members", "kind"),
    [
        ("a.pt", ["data.pkl", "constants.pkl"], "TorchScript"),
        ("a.pth", ["data.pkl"], "PyTorch weights"),
        ("a.pt2", ["models/model.json"], "torch.export"),
        ("a.pt2", ["data/aotinductor/model/x.so", "models/model.json"], "AOTInductor"),
    ],
)
def test_members_of_an_archive_say_which_program_of_pytorch_it_is(
    tmp_path: Path, name: str, members: list[str], kind: str
) -> None:
    path = pack(tmp_path / name, *members)
    assert model_files.find(tmp_path) == model_files.ModelFile(kind, path)


@pytest.mark.parametrize(
    "files", [["a.h5", "b.h5"], ["sub/a.keras", "sub/b.keras"], ["net.onnx", "scaler.pkl"]]
)
def test_several_models_are_refused_with_both_ways_out(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        write(tmp_path / name, "")
    with pytest.raises(UserError) as caught:
        model_files.find(tmp_path)
    message = str(caught.value)
    assert "holds 2 models: " in message
    assert all(name in message for name in files)
    assert f"name it model{Path(files[0]).suffix} at the top" in message
    assert f"set BYO_MODEL={files[0]}" in message


@pytest.mark.parametrize(
    ("files", "served"),
    [
        (["best.keras", "last.keras"], "best.keras"),
        (["last_model.h5", "model_best.h5"], "model_best.h5"),
        (["Best.hdf5", "final.hdf5", "epoch-03.hdf5"], "Best.hdf5"),
        (["final.onnx", "latest.onnx"], "final.onnx"),
        (["yolo_last.onnx", "yolo_best.onnx", "yolo_best.tflite"], "yolo_best.tflite"),
        (["runs/best/model.keras", "runs/last/model.keras"], "runs/best/model.keras"),
        (["last.keras", "epoch-1.keras", "epoch-2.keras"], "last.keras"),
        (["epoch-1.keras", "epoch-2.keras"], ""),
        (["best-1.keras", "best-2.keras", "last.keras"], ""),
        (["detector_best.onnx", "classifier_last.onnx"], ""),
        (["best.keras", "scaler.pkl"], ""),
    ],
)
def test_of_checkpoints_the_best_is_served_and_the_others_are_named(
    tmp_path: Path, files: list[str], served: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for name in files:
        write(tmp_path / name, "")
    if not served:
        with pytest.raises(
            UserError, match=r"holds \d models: .*best\.\w+ beside last.*BYO_MODEL="
        ):
            model_files.find(tmp_path)
        return
    found = model_files.find(tmp_path)
    assert found is not None
    assert found.path == tmp_path / served
    assert f"of several models {served} (" in caplog.text
    assert all(f"{name} (" in caplog.text for name in files)


def test_variable_chooses_the_model(tmp_path: Path) -> None:
    for name in ("a.h5", "best.keras", "old/run/1/saved_model.pb", "notes.md"):
        write(tmp_path / name, "")
    for name, kind, path in (
        ("best.keras", "Keras", "best.keras"),
        ("old/run/1", "SavedModel", "old/run/1"),
        ("old", "SavedModel", "old/run/1"),
    ):
        choice = model_files.Choice(name)
        found = model_files.find(tmp_path, choice)
        assert found == model_files.ModelFile(kind, tmp_path / path, choice)
    for name, words in (
        ("c.h5", "does not exist in"),
        ("../a.h5", "does not exist in"),
        ("notes.md", "is not a model that can be served"),
    ):
        with pytest.raises(UserError, match=rf"{words}.*a\.h5 \(Keras\), best\.keras"):
            model_files.find(tmp_path, model_files.Choice(name))


def test_pickle_is_refused_until_it_is_allowed(tmp_path: Path) -> None:
    write(tmp_path / "model.joblib", "")
    found = model_files.find(tmp_path)
    assert found is not None
    with pytest.raises(UserError, match=r"may run any code.*BYO_ALLOW_PICKLE=true.*skops"):
        found.load_model()
    found = model_files.find(tmp_path, model_files.Choice(allow_pickle=True))
    assert found is not None
    found.check()


@pytest.mark.parametrize("error", [OSError, ImportError])
def test_a_library_that_is_missing_is_named_with_its_debian_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """LightGBM is installed then, so installing it again would not help."""
    lost = error("libgomp.so.1: cannot open shared object file: No such file or directory")
    package = tmp_path / "packages/lightgbm/__init__.py"
    write(package, f"raise {error.__name__}({str(lost)!r})\n")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delitem(sys.modules, "lightgbm", raising=False)
    path = write(tmp_path / "model.txt", "tree\n")
    with pytest.raises(UserError, match="is in the Debian package libgomp1") as refusal:
        model_files.ModelFile("LightGBM", path).load_model()
    assert "pip install" not in str(refusal.value)


def test_package_that_is_missing_is_named_with_the_line_to_add(tmp_path: Path) -> None:
    path = write(tmp_path / "model.ubj", "learner")
    with pytest.raises(UserError, match=r"needs xgboost, which.*the line RUN pip install xgboost$"):
        model_files.ModelFile("XGBoost", path).load_model()


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("model.onnx.gz", "model.onnx.gz is compressed; unpack it"),
        ("model.pkl.zst", "is compressed; unpack it"),
        ("a.weights.h5", r"save the model with model.save\('model.keras'\)"),
        ("pytorch_model.bin", "with module.json beside it"),
        ("epoch=3.ckpt", "save its state_dict as model.pt"),
        ("frozen.pb", "save it as a SavedModel"),
        ("notes.md", "found: notes.md; possible are"),
    ],
)
def test_what_holds_no_model_says_what_it_holds_and_what_to_do(
    tmp_path: Path, name: str, advice: str
) -> None:
    write(tmp_path / name)
    assert model_files.find(tmp_path) is None
    message = model_files.explain_nothing(tmp_path)
    assert re.search(advice, message)
    assert message.endswith("MLflow; for any other, add code/inference.py")
