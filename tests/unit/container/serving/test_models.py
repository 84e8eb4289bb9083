"""The models of a multi-model endpoint, without the endpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from container.serving import inference, models
from container.serving.app import create_app


def make_client(
    tmp_path: Path, load_model: Callable[[Path], Any], memory_bytes: int | None = None
) -> Any:
    return create_app(
        models.NoModel(), models=models.Models(tmp_path, load_model, memory_bytes)
    ).test_client()


def test_list_comes_in_pages_that_hold_every_model_once(tmp_path: Path) -> None:
    """MME-3."""
    client = make_client(tmp_path, lambda _: models.NoModel())
    names = sorted(f"model-{index}" for index in range(250))
    for name in reversed(names):
        assert (
            client.post("/models", json={"model_name": name, "url": str(tmp_path)}).status_code
            == 200
        )

    found, query = [], {}
    for _ in range(3):
        page = client.get("/models", query_string=query).json
        found += [model["modelName"] for model in page["models"]]
        query = {"next_page_token": page.get("nextPageToken")}

    assert (found, query) == (names, {"next_page_token": None})


def test_model_without_room_is_507_and_may_be_loaded_later(tmp_path: Path) -> None:
    """MME-2: the platform unloads others and tries again."""
    (tmp_path / "model.tflite").write_bytes(bytes(1000))
    body = {"model_name": "a", "url": str(tmp_path)}

    assert (
        make_client(tmp_path, lambda _: models.NoModel(), memory_bytes=1000)
        .post("/models", json=body)
        .status_code
        == 507
    )
    assert (
        make_client(tmp_path, lambda _: models.NoModel(), memory_bytes=1 << 40)
        .post("/models", json=body)
        .status_code
        == 200
    )

    def lack_memory(_: Path) -> inference.Application:
        raise MemoryError

    client = make_client(tmp_path, lack_memory)
    assert [client.post("/models", json=body).status_code for _ in range(2)] == [507, 507]
