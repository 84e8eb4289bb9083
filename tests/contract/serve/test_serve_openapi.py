"""The server's OpenAPI document against the server: routes, types, and schemathesis' requests."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from container import contract
from container.serving import plan
from container.serving.bodies import decoding, encoding, media_types
from container.serving.server_settings import Settings
from container.serving.service import Service


def test_document_has_the_routes_methods_and_media_types_of_the_application(
    artifact_base: Path,
) -> None:
    layout = contract.Layout(artifact_base)
    one = Service(plan.make(layout, {}, Settings(), cores=1)).wsgi
    many = Service(plan.make(layout, {}, Settings(multi_model=True), cores=1)).wsgi

    for app in (one, many):
        document = app.test_client().get("/openapi.json").json
        described = {
            (path, method)
            for path, item in document["paths"].items()
            for method in item
            if method in {"get", "post", "delete", "put", "patch"}
        }
        routed = {
            (rule.rule.replace("<path:name>", "{name}"), method.lower())
            for rule in app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        }
        # A WebSocket is nothing that OpenAPI could describe.
        assert described == routed - {(contract.BIDIRECTIONAL_PATH, "get")}
    invocation = one.test_client().get("/openapi.json").json["paths"]["/invocations"]["post"]
    assert set(invocation["requestBody"]["content"]) == set(decoding.SUPPORTED)
    assert set(invocation["responses"]["200"]["content"]) == set(encoding.ENCODERS)


def run_schemathesis(document: Path, port: int, tmp_path: Path, *options: str) -> None:
    command = [
        *(
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            str(document),
            "--url",
            f"http://127.0.0.1:{port}",
        ),
        *("--phases", "examples,coverage,fuzzing", "--seed", "20261123", "--no-color", *options),
    ]
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=550, check=False
    )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert re.search(r"\b([1-9]\d*) generated, \1 passed", result.stdout), result.stdout[-2000:]


@pytest.mark.slow
def test_schemathesis_finds_no_fault_in_requests_made_from_the_document(
    server: Any, tmp_path: Path
) -> None:
    """Valid text is accepted, invalid is refused, and nothing is answered but what is described."""
    document = json.loads(server.request("GET", "/openapi.json")[2])
    whole, text = tmp_path / "whole.json", tmp_path / "text.json"
    whole.write_text(json.dumps(document))
    content = document["paths"]["/invocations"]["post"]["requestBody"]["content"]
    for name in set(content) - {media_types.CSV, media_types.JSON, media_types.JSON_LINES}:
        del content[name]
    text.write_text(json.dumps(document))

    run_schemathesis(text, server.port, tmp_path, "--max-examples", "100")
    # A schema cannot say which bytes are a picture, so of those no request counts as valid.
    no_acceptance = ("--exclude-checks", "positive_data_acceptance")
    run_schemathesis(whole, server.port, tmp_path, "--max-examples", "100", *no_acceptance)

    assert server.request("GET", "/ping")[0] == 200
