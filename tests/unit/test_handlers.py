"""Which inference code and which model is found, and what the functions are given."""

import io
import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from container import contract
from container.errors import UserError
from container.serving import inference
from container.serving.user_code import handlers, inference_toolkit, third_party_models
from container.user_packages import versions


@pytest.fixture
def layout(tmp_path: Path) -> contract.Layout:
    (tmp_path / "model").mkdir()
    return contract.Layout(tmp_path)


@pytest.fixture(autouse=True)
def _forget_imports() -> Iterator[None]:
    modules, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and "pytest" in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]
    sys.path[:] = path


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
    assert handlers.find(layout, {}) == third_party_models.Found(
        "LiteRT", layout.model / "model.tflite"
    )
    write(layout.model / "model.json", "{}")
    assert handlers.find(layout, {}) is None


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
    found = third_party_models.find(tmp_path)
    assert found == (kind and third_party_models.Found(kind, tmp_path / path))


def test_two_models_of_one_kind_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", "")
    write(tmp_path / "b.h5", "")
    with pytest.raises(UserError, match=r"holds 2 models: .*a\.h5.*one is expected"):
        third_party_models.find(tmp_path)


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
        .invoke(inference.Request(b"1", {"content-type": "text/csv"}))
    )
    assert (response.status, json.loads(response.body)) == (200, [42])


def test_context_tells_of_the_request_and_shapes_the_response(tmp_path: Path) -> None:
    def predict_fn(data: Any, _model: Any, context: Any) -> Any:
        assert context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes") == "trace=1"
        assert context.get_all_request_header()["content-type"] == "text/csv"
        assert context.system_properties["model_dir"] == str(tmp_path)
        context.set_response_status(207)
        context.set_response_header(0, "X-Mine", "yes")
        context.metrics.add_counter("images", 1)
        return data

    application = handlers.Application(
        {"model_fn": lambda _: 1, "predict_fn": predict_fn}, tmp_path
    )
    headers = {"content-type": "text/csv", "x-amzn-sagemaker-custom-attributes": "trace=1"}
    response = application.invoke(inference.Request(b"1,2", headers))
    assert (response.status, response.headers, response.body) == (
        207,
        (("X-Mine", "yes"),),
        b"[1, 2]",
    )


class Doubler:
    """A model that needs no file."""

    input_shape = (2,)

    def predict(self, data: Any) -> Any:
        """Double."""
        return (
            {name: 2 * value for name, value in data.items()}
            if isinstance(data, dict)
            else 2 * data
        )


@pytest.fixture
def doubler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        third_party_models, "find", lambda *_: third_party_models.Found("doubler", Path())
    )
    monkeypatch.setitem(third_party_models._LOADERS, "doubler", lambda _: Doubler())  # noqa: SLF001


def post_to_rest(data: Any, context: Any) -> tuple[bytes, str]:
    with urllib.request.urlopen(context.rest_uri, data.read(), timeout=10) as response:  # noqa: S310 - its own loopback
        return response.read(), context.accept_header


@pytest.mark.usefixtures("doubler")
@pytest.mark.parametrize(
    "functions",
    [
        {"input_handler": lambda data, _: data.read().decode()},
        {"output_handler": lambda response, context: (response.content, context.accept_header)},
        {"handler": post_to_rest},
    ],
)
def test_handlers_of_tensorflow_servings_style_reach_the_model(
    tmp_path: Path, functions: dict[str, Callable[..., Any]]
) -> None:
    application = handlers.Application(functions, tmp_path)
    request = inference.Request(
        b'{"instances": [[1, 2], [3, 4]]}', {"content-type": "application/json"}
    )
    response = application.invoke(request)
    assert (response.status, json.loads(response.body)) == (200, {"predictions": [[2, 4], [6, 8]]})
    assert response.content_type == "application/json"


@pytest.mark.usefixtures("doubler")
@pytest.mark.parametrize(
    ("content_type", "body", "accept", "answer"),
    [
        ("application/json", b'{"instances": [[1, 2]]}', "", b'{"predictions": [[2, 4]]}'),
        (
            "application/json",
            b'{"instances": [{"a": 1}, {"a": 2}]}',
            "",
            b'{"predictions": [{"a": 2}, {"a": 4}]}',
        ),
        ("application/json", b"[[1, 2]]", "application/json", b'{"predictions": [[2, 4]]}'),
        ("text/csv", b"1,2\n3,4", "text/csv", b"2,4\n6,8\n"),
        ("text/csv", b"1,2", "text/html, text/csv;q=0.5", b"2,4\n"),
    ],
)
def test_model_without_code_answers_in_the_usual_forms(
    content_type: str, body: bytes, accept: str, answer: bytes
) -> None:
    application = third_party_models.Found("doubler", Path()).load()
    response = application.invoke(
        inference.Request(body, {"content-type": content_type, "accept": accept})
    )
    assert (response.status, response.body) == (200, answer)


@pytest.mark.usefixtures("doubler")
@pytest.mark.parametrize(
    ("content_type", "body", "accept", "status", "message"),
    [
        ("text/csv", b"1,2,3", "", 400, "holds 3 numbers; 2 an instance of shape [2]"),
        ("text/csv", b"", "", 400, "holds 0 numbers"),
        ("application/json", b'{"rows": 1}', "", 400, "instances"),
        ("application/json", b'{"instances": [[1], [2, 3]]}', "", 400, "of one shape"),
        ("application/json", b"[" * 100000, "", 400, "no application/json"),
        ("image/png", b"x", "", 415, "takes no pictures"),
        ("text/html", b"x", "", 415, "supported: application/x-npy, text/csv, application/json"),
        ("text/csv", b"1,2", "image/png", 406, "application/json, text/csv, application/x-npy"),
    ],
)
def test_bad_request_to_a_model_without_code_is_the_clients_fault(
    content_type: str, body: bytes, accept: str, status: int, message: str
) -> None:
    application = third_party_models.Found("doubler", Path()).load()
    response = application.invoke(
        inference.Request(body, {"content-type": content_type, "accept": accept})
    )
    assert response.status == status
    assert message in json.loads(response.body)["error"]


def test_pickled_array_is_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(Exception, match="Object arrays cannot be loaded") as caught:
        inference_toolkit.decode(buffer.getvalue(), "application/x-npy")
    assert getattr(caught.value, "status", None) == 400
