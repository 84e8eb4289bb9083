"""What handlers are called with, and what their results become."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from container.serving.exchange import Request
from container.serving.third_party import model_files
from container.serving.user_code.application import Application


def test_context_tells_of_the_request_and_shapes_the_response(tmp_path: Path) -> None:
    def predict_fn(data: Any, _model: Any, context: Any) -> Any:
        assert context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes") == "trace=1"
        assert context.get_all_request_header()["content-type"] == "text/csv"
        assert context.system_properties["model_dir"] == str(tmp_path)
        context.set_response_status(207)
        context.set_response_header(0, "X-Mine", "yes")
        context.metrics.add_counter("images", 1)
        return data

    application = Application({"model_fn": lambda _: 1, "predict_fn": predict_fn}, tmp_path)
    headers = {"content-type": "text/csv", "x-amzn-sagemaker-custom-attributes": "trace=1"}
    response = application.invoke(Request(b"1,2", headers))
    assert (response.status, response.headers, response.body) == (
        207,
        (("X-Mine", "yes"),),
        b"[1, 2]",
    )


class Doubler:
    """A model that needs no file."""

    def predict(self, data: Any) -> Any:
        """Double."""
        return 2 * data


@pytest.fixture
def doubler(monkeypatch: pytest.MonkeyPatch) -> None:
    found = model_files.ModelFile("LiteRT", Path())
    monkeypatch.setattr(model_files, "find", lambda *_: found)
    monkeypatch.setattr(model_files.ModelFile, "load_model", lambda _: Doubler())


def post_to_rest(data: Any, context: Any) -> tuple[bytes, str]:
    with urllib.request.urlopen(context.rest_uri, data.read(), timeout=10) as response:
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
    application = Application(functions, tmp_path)
    request = Request(b'{"instances": [[1, 2], [3, 4]]}', {"content-type": "application/json"})
    response = application.invoke(request)
    assert (response.status, json.loads(response.body)) == (200, {"predictions": [[2, 4], [6, 8]]})
    assert response.content_type == "application/json"
