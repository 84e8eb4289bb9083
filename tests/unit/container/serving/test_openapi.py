"""The OpenAPI document; tests/contract/serve/test_serve_openapi.py compares it with a server."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs

from container.serving import openapi
from container.serving.bodies import decoding, encoding

ROW = ",".join(["7"] * 6)


def make(schema: str, document: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    components = {"components": document["components"]}
    return jsonschema_rs.Draft202012Validator(
        {**components, "$ref": f"#/components/schemas/{schema}"}
    )


def test_bodies_of_a_model_are_described() -> None:
    document = openapi.describe((2, 3, 1), ("a", "b"))

    invocation = document["paths"]["/invocations"]["post"]
    content = invocation["requestBody"]["content"]
    assert set(content) == set(decoding.SUPPORTED)
    assert set(invocation["responses"][200]["content"]) == set(encoding.ENCODERS)
    pattern = content["text/csv"]["schema"]["pattern"]
    assert re.match(pattern, f"{ROW}\n{ROW}\n")
    assert not re.match(pattern, f"{ROW},7")
    assert not re.match(pattern, ROW.replace("7", "256"))
    images = make("Images", document)
    assert images.is_valid({"instances": [[7] * 6]})
    assert images.is_valid([[[[0.5]] * 3] * 2])
    assert not images.is_valid([[7] * 5])
    answer = {"outputs": [[0.5, 0.5]], "predictions": [{"label": "a", "index": 0, "score": 0.5}]}
    assert make("Answer", document).is_valid(answer)
    answer["predictions"][0]["label"] = "c"  # type: ignore[index]
    assert not make("Answer", document).is_valid(answer)


def test_bodies_of_user_code_are_anything() -> None:
    document = openapi.describe(None, (), has_models=True)

    assert list(document["paths"]["/invocations"]["post"]["requestBody"]["content"]) == ["*/*"]
    assert set(document["components"]["schemas"]) == {"Error", "Execution", "Model"}
    assert {"/models", "/models/{name}", "/models/{name}/invoke"} < set(document["paths"])
