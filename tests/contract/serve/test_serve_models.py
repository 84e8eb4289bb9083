"""A multi-model endpoint, as the platform drives it."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

ROW = b"0," * 63 + b"255"


@pytest.fixture(scope="module")
def models_base(artifact_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out models as the platform unpacks them: good, nested and broken ones."""
    base = tmp_path_factory.mktemp("multi")
    for name in ("a", "b", "c"):
        shutil.copytree(artifact_base / "model", base / "models" / name / "model")
    shutil.copytree(artifact_base / "model", base / "models/nested/model/inner")
    (base / "models/empty/model").mkdir(parents=True)
    shutil.copytree(artifact_base / "model", base / "models/broken/model")
    (base / "models/broken/model/model.tflite").write_bytes(b"no model")
    return base


@pytest.fixture
def endpoint(serve: Any, models_base: Path) -> Iterator[Any]:
    with serve(base=models_base, SAGEMAKER_MULTI_MODEL="true") as server:
        yield server


def load(server: Any, name: str, url: Any) -> tuple[int, Any]:
    body = json.dumps({"model_name": name, "url": str(url)})
    status, _, answer = server.request("POST", "/models", body, Content_Type="application/json")
    return status, json.loads(answer)


def ask(
    server: Any, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any]:
    status, _, answer = server.request(method, path, body, **headers)
    return status, json.loads(answer)


def test_models_are_loaded_asked_listed_and_unloaded(endpoint: Any, models_base: Path) -> None:
    """MME-1 to MME-6."""
    url = str(models_base / "models/a/model")
    odd_name = "a/b c%2F?é"
    assert endpoint.request("GET", "/ping")[0] == 200
    assert ask(endpoint, "GET", "/models") == (200, {"models": []})
    assert ask(endpoint, "POST", "/models/a/invoke", ROW, Content_Type="text/csv")[0] == 404

    assert load(endpoint, "a", url) == (200, {"modelName": "a", "modelUrl": url})
    assert load(endpoint, "a", url)[0] == 409
    assert load(endpoint, odd_name, models_base / "models/nested/model")[0] == 200

    status, answer = ask(endpoint, "POST", "/models/a/invoke", ROW, Content_Type="text/csv")
    assert (status, len(answer["outputs"][0])) == (200, 10)
    assert (
        ask(
            endpoint,
            "POST",
            f"/models/{quote(odd_name, safe='')}/invoke",
            ROW,
            Content_Type="text/csv",
        )[0]
        == 200
    )
    assert ask(endpoint, "POST", "/models/a/invoke", b"x", Content_Type="text/csv")[0] == 400
    assert ask(endpoint, "GET", "/models/a") == (200, {"modelName": "a", "modelUrl": url})
    assert [model["modelName"] for model in ask(endpoint, "GET", "/models")[1]["models"]] == [
        "a",
        odd_name,
    ]
    assert ask(endpoint, "POST", "/invocations", ROW, Content_Type="text/csv")[0] == 404

    assert ask(endpoint, "DELETE", "/models/a")[0] == 200
    assert ask(endpoint, "DELETE", "/models/a")[0] == 404
    assert ask(endpoint, "GET", "/models/a")[0] == 404
    assert ask(endpoint, "POST", "/models/a/invoke", ROW, Content_Type="text/csv")[0] == 404
    assert load(endpoint, "a", url)[0] == 200


def test_model_that_cannot_be_loaded_harms_no_other(endpoint: Any, models_base: Path) -> None:
    assert load(endpoint, "a", models_base / "models/a/model")[0] == 200

    for name, url, status, part in [
        ("empty", models_base / "models/empty/model", 500, "holds no model that is served"),
        ("broken", models_base / "models/broken/model", 500, "cannot be loaded"),
        ("missing", models_base / "models/missing/model", 404, "is not a directory"),
        ("outside", "/etc", 400, "is not below"),
        ("outside", models_base / "models/../../..", 400, "is not below"),
        ("", models_base / "models/a/model", 400, "model_name"),
        ("nul", "\0", 400, "url a path"),
    ]:
        found, answer = load(endpoint, name, url)
        assert (found, part in answer["error"]) == (status, True), answer
    for body in (b"", b"{", b"[]", b'{"model_name": 1, "url": 2}', b'{"model_name": "a"}'):
        assert ask(endpoint, "POST", "/models", body)[0] == 400
    assert ask(endpoint, "GET", "/models?next_page_token=x")[0] == 400

    assert [model["modelName"] for model in ask(endpoint, "GET", "/models")[1]["models"]] == ["a"]
    assert ask(endpoint, "POST", "/models/a/invoke", ROW, Content_Type="text/csv")[0] == 200


def test_concurrent_loads_of_one_name_load_it_once(endpoint: Any, models_base: Path) -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(load(endpoint, "c", models_base / "models/c/model")[0])
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200] + [409] * 7


def resident_mb(server: Any) -> float:
    (pid,) = server.worker_pids()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def test_memory_of_unloaded_models_comes_back(endpoint: Any, models_base: Path) -> None:
    """MME-4."""

    def load_and_unload() -> None:
        for index in range(50):
            assert load(endpoint, str(index), models_base / "models/b/model")[0] == 200
            assert (
                ask(endpoint, "POST", f"/models/{index}/invoke", ROW, Content_Type="text/csv")[0]
                == 200
            )
        for index in range(50):
            assert ask(endpoint, "DELETE", f"/models/{index}")[0] == 200

    load_and_unload()  # the allocator finds its size
    before = resident_mb(endpoint)
    for _ in range(2):
        load_and_unload()

    assert resident_mb(endpoint) < before + 20  # of 50 MB that so many models take
