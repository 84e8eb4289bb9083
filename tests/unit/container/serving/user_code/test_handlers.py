"""Which inference code is found, and how it is loaded."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from container import contract
from container.errors import UserError
from container.serving.exchange import Request
from container.serving.third_party import model_application
from container.serving.user_code import handlers
from container.user_packages import versions


@pytest.fixture
def layout(tmp_path: Path) -> contract.Layout:
    (tmp_path / "model").mkdir()
    return contract.Layout(tmp_path)


@pytest.fixture(autouse=True)
def _forget_imports(tmp_path: Path) -> Iterator[None]:
    modules, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    sys.path[:] = path


def forget(module: Path) -> None:
    del sys.modules[module.stem]


def write(path: Path, text: str = "def model_fn(model_dir):\n    return model_dir\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("place", "model_dir"),
    [
        ("model/code/inference.py", "model"),
        ("model/inference.py", "model"),
        ("model/folder/code/inference.py", "model/folder"),
        ("model/folder/inference.py", "model/folder"),
        ("code/inference.py", "model"),
    ],
)
def test_code_is_found_in_the_archive_one_level_down_and_in_the_image(
    layout: contract.Layout, place: str, model_dir: str
) -> None:
    module = write(layout.base / place)
    found = handlers.find_code(layout, {})
    assert found == handlers.Handlers(module, layout.base / model_dir)


def test_code_of_the_archive_wins_over_code_of_the_image(layout: contract.Layout) -> None:
    write(layout.code / "inference.py")
    module = write(layout.model / "code/inference.py")
    assert handlers.find_code(layout, {}) == handlers.Handlers(module, layout.model)


def test_each_of_many_models_has_its_own_code_or_that_of_the_image(
    layout: contract.Layout, tmp_path: Path
) -> None:
    submitted = write(tmp_path / "submitted/inference.py")
    environ = {"SAGEMAKER_SUBMIT_DIRECTORY": str(submitted.parent)}
    own = write(layout.models / "a/model/code/inference.py")
    (layout.models / "b/model").mkdir(parents=True)
    first, second = (layout.models / name / "model" for name in "ab")

    def find(model_dir: Path, environ: dict[str, str]) -> Any:
        return handlers.find_one_of_many(layout, environ, model_dir)

    assert find(first, environ) == handlers.Handlers(own, first)
    assert find(second, environ) == handlers.Handlers(submitted, second)
    assert find(second, {}) is None
    shared = write(layout.code / "inference.py")
    assert find(second, {}) == handlers.Handlers(shared, second)


def test_training_program_of_the_same_variable_is_not_taken_for_handlers(
    layout: contract.Layout,
) -> None:
    write(layout.code / "train.py", "print('training')\n")
    assert handlers.find_code(layout, {"SAGEMAKER_PROGRAM": "train.py"}) is None
    write(layout.code / "inference.py")
    found = handlers.find_code(layout, {"SAGEMAKER_PROGRAM": "train.py"})
    assert found is not None
    assert found.module.name == "inference.py"
    write(layout.code / "train.py", "from mine import model_fn, predict_fn\n")
    found = handlers.find_code(layout, {"SAGEMAKER_PROGRAM": "train.py"})
    assert found is not None
    assert found.module.name == "train.py"


def test_own_artifact_needs_no_handlers_and_a_foreign_model_neither(
    layout: contract.Layout,
) -> None:
    assert handlers.find(layout, {}) is None
    write(layout.model / "model.tflite", "")
    assert handlers.find(layout, {}) == model_application.Found(
        "LiteRT", layout.model / "model.tflite"
    )
    write(layout.model / "model.json", "{}")
    assert handlers.find(layout, {}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "def transform_fn(m, d, c, a): ...\ndef input_fn(d, c): ...\ndef model_fn(d): ...",
            "excludes input_fn",
        ),
        ("def handler(d, c): ...\ndef input_handler(d, c): ...", "excludes input_handler"),
        ("def handler(d, c): ...\ndef model_fn(d): ...", "two kinds are mixed"),
        ("def model_fn(): ...", "model_fn takes 0 arguments; possible: 1 or, with the context, 2"),
        ("def predict_fn(data, model): ...", "model_fn is missing"),
        ("import no_such_package_anywhere", "cannot be imported: No module named"),
        ("x = 1", "defines no handler"),
        (
            "def model_fn(d): ...\ndef predict_fun(data, model): ...",
            "predict_fun would be ignored; did you mean predict_fn",
        ),
        (
            "raise ImportError('libGL.so.1: cannot open shared object file: No such file')",
            "add libgl1 to apt.txt",
        ),
        (
            "def model_fn(d):\n    import __main__\n    return __main__.Scaler\n",
            "Scaler was defined in the training script itself",
        ),
    ],
)
def test_wrong_inference_code_is_explained_before_any_request(
    tmp_path: Path, text: str, message: str
) -> None:
    module = write(tmp_path / "code/inference.py", text)
    with pytest.raises(UserError, match=message):
        handlers.Handlers(module, tmp_path).load()


def test_missing_package_names_the_ways_to_bring_it(tmp_path: Path) -> None:
    write(tmp_path / "code/requirements.txt", "no_such_package_anywhere")
    module = write(tmp_path / "code/inference.py", "import no_such_package_anywhere")
    with pytest.raises(
        UserError, match=r"packages into code/lib or their wheels into code/wheels, or"
    ):
        handlers.Handlers(module, tmp_path).load()


def test_model_that_other_versions_made_is_named_so_when_it_does_not_load(tmp_path: Path) -> None:
    versions.write(tmp_path)
    made = json.loads((tmp_path / ".versions.json").read_text())
    assert versions.compare(tmp_path) == []
    (tmp_path / ".versions.json").write_text(json.dumps(made | {"numpy": "1.2.3", "gone": "4.5"}))
    module = write(tmp_path / "code/inference.py", "def model_fn(d):\n    raise EOFError('torn')\n")
    with pytest.raises(
        UserError,
        match=r"EOFError: torn; .* holds .*code.*numpy 1.2.3 -> .*gone 4.5 -> not installed",
    ):
        handlers.Handlers(module, tmp_path).load()


def test_vendored_packages_are_found(tmp_path: Path) -> None:
    write(tmp_path / "code/lib/vendored_fixture.py", "ANSWER = 42\n")
    module = write(
        tmp_path / "code/inference.py",
        "import vendored_fixture\ndef model_fn(d):\n    return 1\n"
        "def predict_fn(data, model):\n    return [vendored_fixture.ANSWER]\n",
    )
    response = (
        handlers.Handlers(module, tmp_path)
        .load()
        .invoke(Request(b"1", {"content-type": "text/csv"}))
    )
    assert (response.status, json.loads(response.body)) == (200, [42])


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        ("environment.yml", "", "environment.yml is not installed; list what your code needs"),
        ("poetry.lock", "", "poetry export"),
        ("requirements-gpu.txt", "numpy", "-r requirements-gpu.txt"),
        ("pyproject.toml", "not = [toml", "pyproject.toml cannot be read"),
    ],
)
def test_a_list_that_is_not_installed_is_named_by_a_server(
    layout: contract.Layout, caplog: pytest.LogCaptureFixture, name: str, text: str, advice: str
) -> None:
    module = write(layout.model / "code/inference.py")
    write(layout.model / "code" / name, text)
    handlers.Handlers(module, layout.model).load()
    assert advice in caplog.text
    forget(module)

    write(module, "import no_such_package\n")
    with pytest.raises(UserError, match="No module named 'no_such_package'; ") as refusal:
        handlers.Handlers(module, layout.model).load()
    assert advice in str(refusal.value)


def test_a_package_that_an_installed_list_lacks_is_to_be_added_to_it(
    layout: contract.Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers.installation, "install", lambda *_: None)
    write(layout.model / "code/requirements.txt", "numpy\n")
    module = write(layout.model / "code/inference.py", "import no_such_package\n")
    found = handlers.Handlers(module, layout.model, pip_environ={})
    with pytest.raises(UserError, match="was installed and does not list it: add it there"):
        found.load()
    with pytest.raises(UserError, match="is not installed from an index while serving"):
        handlers.Handlers(module, layout.model).load()
