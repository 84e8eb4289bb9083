"""The models of a multi-model endpoint, without the endpoint."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from container.errors import RequestError
from container.serving.app import create_app
from container.serving.exchange import Request, Response
from container.serving.many_models import models
from container.serving.many_models.model_process import ModelProcess
from container.serving.workers.memory import Memory
from tests.support import wait_until

GIB = 2**30


def make_client(
    tmp_path: Path,
    start: Callable[[str, Path], Any],
    memory_bytes: int = 1000 * GIB,
    processes_maximum: int = 0,
) -> Any:
    loaded = models.Models(tmp_path, start, Memory(memory_bytes), processes_maximum)
    return create_app(models.NoModel(), models=loaded).test_client()


def load(client: Any, name: str, path: Path) -> int:
    return int(client.post("/models", json={"model_name": name, "url": str(path)}).status_code)


def start_nothing(*_: Any) -> models.InProcess:
    return models.InProcess(models.NoModel())


class Played(ModelProcess):
    """A process that is none: it is loaded when `loaded` is set, and then answers its name."""

    def __init__(self, name: str) -> None:
        """Start nothing."""
        self.used = 0.0
        self.name = name
        self.loaded = threading.Event()
        self.closed = ""
        self.busy = False

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return not self.busy

    def wait_until_loaded(self) -> None:
        """Wait for the test."""
        self.loaded.wait(60)
        if self.closed:
            raise MemoryError

    def invoke(self, _: Request) -> Response:
        """Answer with the name, or as a process that died and cannot be replaced."""
        if self.closed:
            raise MemoryError
        return Response(200, self.name.encode())

    def close(self, reason: str = "unloaded", wait_s: float = 1.0) -> None:
        """End nothing."""
        self.closed = self.closed or f"{reason} {wait_s:g}"
        self.loaded.set()


def test_list_comes_in_pages_that_hold_every_model_once(tmp_path: Path) -> None:
    """MME-3."""
    client = make_client(tmp_path, start_nothing)
    names = sorted(f"model-{index}" for index in range(250))
    for name in reversed(names):
        assert load(client, name, tmp_path) == 200

    found, query = [], {}
    for _ in range(3):
        page = client.get("/models", query_string=query).json
        found += [model["modelName"] for model in page["models"]]
        query = {"next_page_token": page.get("nextPageToken")}

    assert (found, query) == (names, {"next_page_token": None})


@pytest.mark.parametrize(
    "body",
    [
        r'{"model_name": "\ud800", "url": "%s"}',
        '{"model_name": "a", "model_name": "b", "url": "%s"}',
    ],
)
def test_a_name_that_no_answer_can_hold_is_refused(body: str, tmp_path: Path) -> None:
    client = make_client(tmp_path, start_nothing)
    assert client.post("/models", data=body % tmp_path).status_code == 400
    assert client.get("/models").json == {"models": []}


def test_model_without_room_is_507_and_may_be_loaded_later(tmp_path: Path) -> None:
    """MME-2: the platform unloads others and tries again."""
    (tmp_path / "model.tflite").write_bytes(bytes(1000))

    assert load(make_client(tmp_path, start_nothing, memory_bytes=1000), "a", tmp_path) == 507
    assert load(make_client(tmp_path, start_nothing), "a", tmp_path) == 200

    def lack_memory(*_: Any) -> Any:
        raise MemoryError

    client = make_client(tmp_path, lack_memory)
    assert [load(client, "a", tmp_path) for _ in range(2)] == [507, 507]


def start_played(played: dict[str, Played], *, is_loaded: bool = True) -> Any:
    def start(name: str, _: Path) -> Played:
        played[name] = Played(name)
        if is_loaded:
            played[name].loaded.set()
        return played[name]

    return start


def test_only_so_many_models_have_a_process(tmp_path: Path) -> None:
    client = make_client(tmp_path, start_played({}), processes_maximum=2)

    assert [load(client, name, tmp_path) for name in "abc"] == [200, 200, 507]
    assert client.delete("/models/a").status_code == 200
    assert load(client, "c", tmp_path) == 200


def test_the_least_recently_used_idle_model_makes_room(tmp_path: Path) -> None:
    played: dict[str, Played] = {}
    loaded = models.Models(tmp_path, start_played(played), Memory(1000 * GIB))
    client = create_app(models.NoModel(), models=loaded).test_client()
    assert [load(client, name, tmp_path) for name in "abc"] == [200, 200, 200]
    for used, name in enumerate("cab"):
        played[name].used = used
    played["c"].busy = True

    loaded.make_room()

    assert [name for name in "abc" if played[name].closed] == ["a"]
    assert client.post("/models/a/invoke").status_code == 404  # the platform loads it again
    assert client.post("/models/b/invoke").data == b"b"


def test_what_is_being_loaded_gives_way_before_what_serves(tmp_path: Path) -> None:
    played: dict[str, Played] = {}
    start = start_played(played, is_loaded=False)
    loaded = models.Models(tmp_path, start, Memory(1000 * GIB))
    statuses: list[int] = []

    def begin(name: str) -> threading.Thread:
        client = create_app(models.NoModel(), models=loaded).test_client()
        thread = threading.Thread(target=lambda: statuses.append(load(client, name, tmp_path)))
        thread.start()
        wait_until(lambda: name in played)
        return thread

    threads = [begin("a")]
    played["a"].loaded.set()
    threads[0].join()
    threads += [begin("b"), begin("c")]
    wait_until(lambda: all(loaded._entries[name].model for name in "bc"))  # noqa: SLF001
    loaded.make_room()
    threads[2].join()
    played["b"].loaded.set()
    threads[1].join()

    assert statuses == [200, 507, 200]
    assert played["c"].closed.startswith("memory is short")
    assert not played["a"].closed


def test_the_memory_is_watched_from_the_first_process_on(tmp_path: Path) -> None:
    memory = Memory(1000 * GIB)
    played: dict[str, Played] = {}
    loaded = models.Models(tmp_path, start_played(played), memory)
    client = create_app(models.NoModel(), models=loaded).test_client()
    assert load(client, "a", tmp_path) == 200

    memory._limit_bytes = 1  # noqa: SLF001 - as if the model had grown
    wait_until(lambda: played["a"].closed)
    assert client.get("/models").json == {"models": []}


def test_a_model_that_died_for_want_of_memory_is_not_loaded_any_more(tmp_path: Path) -> None:
    """MME-5: the platform then loads it again."""
    played: dict[str, Played] = {}
    client = make_client(tmp_path, start_played(played))
    assert load(client, "a", tmp_path) == 200
    played["a"].closed = "by the kernel"

    assert client.post("/models/a/invoke").status_code == 404
    assert client.get("/models").json == {"models": []}


def test_a_closed_model_of_this_process_answers_no_more() -> None:
    model = start_nothing()
    model.close()
    with pytest.raises(RequestError) as caught:
        model.invoke(Request(b"", {}))
    assert caught.value.status == 404
