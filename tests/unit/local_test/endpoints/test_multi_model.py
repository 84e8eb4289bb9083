"""The models of a multi-model server that is played."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from container.errors import RequestError, UserError
from local_test.endpoints.multi_model import ModelCache


class PlayedServer:
    """Holds `room` models and answers 507 to more (MME-2)."""

    def __init__(self, room: int = 2, listed: bytes = b'{"models": []}') -> None:
        self.room = room
        self.listed = listed
        self.names: list[str] = []

    def exchange(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """List, load or unload."""
        if method == "GET":
            return 200, self.listed
        if method == "DELETE":
            self.names.remove(path.removeprefix("/models/"))
            return 200, b""
        if len(self.names) >= self.room:
            return 507, b"no room"
        document = json.loads(body or b"")
        assert document["url"] == f"/opt/ml/models/{document['model_name']}/model"
        self.names.append(document["model_name"])
        return 200, b""


def make_cache(directory: Path, server: PlayedServer) -> ModelCache:
    (directory / "models").mkdir()
    for name in "abc":
        with tarfile.open(directory / f"models/{name}.tar.gz", "w:gz"):
            pass
    return ModelCache(server, f"file://{directory}/models/", directory / "held", "/opt/ml/models")


def test_the_least_recently_used_model_makes_room(tmp_path: Path) -> None:
    server = PlayedServer()
    cache = make_cache(tmp_path, server)

    paths = [cache.path_of(f"{name}.tar.gz") for name in "abac"]

    assert paths[0] == paths[2] != paths[1]
    assert cache.loaded == ["a.tar.gz", "c.tar.gz"]
    assert sorted(server.names) == sorted(path.name for path in (tmp_path / "held").iterdir())


def test_a_model_that_does_not_exist_or_fit_is_refused(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, PlayedServer(room=0))
    for target, status in (("none.tar.gz", 400), ("a.tar.gz", 424)):
        with pytest.raises(RequestError) as refusal:
            cache.path_of(target)
        assert refusal.value.status == status
    assert list((tmp_path / "held").iterdir()) == []


def test_a_new_server_has_to_list_no_models(tmp_path: Path) -> None:
    make_cache(tmp_path, PlayedServer()).check_list_api()
    for listed in (b"[]", b"no JSON", b'{"models": [{}]}', b"[" * 10**5):
        cache = ModelCache(PlayedServer(listed=listed), "file:///", tmp_path, "/opt/ml/models")
        with pytest.raises(UserError, match="GET /models returned 200"):  # MME-3
            cache.check_list_api()


@pytest.mark.parametrize("target", ["../secret.tar.gz", "a/../../secret.tar.gz", ".."])
def test_a_target_leads_nowhere_but_below_the_prefix(target: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "secret.tar.gz", "w:gz"):
        pass
    cache = make_cache(tmp_path, PlayedServer())

    with pytest.raises(RequestError, match="leads out of the prefix") as refusal:
        cache.path_of(target)

    assert refusal.value.status == 400
    assert not (tmp_path / "held").exists()
