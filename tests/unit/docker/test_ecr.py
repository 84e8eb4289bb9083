"""The registry's password goes to the registry, and nowhere else."""

from __future__ import annotations

import contextlib
import http.server
import importlib
import threading
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.support import ROOT


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "docker")
    return importlib.import_module("ecr")


class Host(http.server.ThreadingHTTPServer):
    """Answers every HEAD with one status and headers, and keeps what it was sent."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.seen: list[tuple[str, str | None]] = []
        seen = self.seen

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                seen.append((self.path, self.headers.get("Authorization")))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_HEAD  # noqa: N815 - the library's name
            do_POST = do_HEAD  # noqa: N815 - the library's name

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

        self.address = f"127.0.0.1:{self.server_port}"
        self.place = f"localhost:{self.server_port}"


@contextlib.contextmanager
def listening(status: int, headers: dict[str, str] | None = None) -> Iterator[Host]:
    with Host(status, headers or {}) as host:
        thread = threading.Thread(target=host.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield host
        finally:
            host.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_place_gets_no_password(
    status: int, ecr: ModuleType
) -> None:
    with (
        listening(404) as other,
        listening(status, {"Location": f"http://me:secret@{other.place}/x"}) as registry,
        pytest.raises(Exception, match="name it with --registry") as caught,
    ):
        ecr.fetch_manifest(registry.address, "team/digits", "1", "PASSWORD")

    assert other.seen == []
    assert f"answers {status}" in str(caught.value)
    assert "redirects to localhost, " in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "PASSWORD" not in str(caught.value)


@pytest.mark.parametrize("headers", [{}, {"Location": "/v2/other"}, {"Location": "https://[::1"}])
def test_a_redirect_to_no_other_host_is_reported_too(
    headers: dict[str, str], ecr: ModuleType
) -> None:
    with listening(302, headers) as registry, pytest.raises(Exception, match="answers 302 Found"):
        ecr.fetch_manifest(registry.address, "team/digits", "1", "PASSWORD")
    assert len(registry.seen) == 1


def test_a_proxy_is_not_sent_the_password_of_a_registry_on_loopback(
    ecr: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with listening(404) as proxy, listening(404) as registry:
        for name in ("http_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy.address}")
        assert ecr.fetch_manifest(registry.address, "team/digits", "1", "PASSWORD") is None

    assert proxy.seen == []
    assert registry.seen == [("/v2/team/digits/manifests/1", "Basic QVdTOlBBU1NXT1JE")]


def test_a_manifest_is_read_by_type_and_digest(ecr: ModuleType) -> None:
    headers = {"Content-Type": ecr.DOCKER_MANIFEST, "Docker-Content-Digest": "sha256:abc"}
    with listening(200, headers) as registry:
        found = ecr.fetch_manifest(registry.address, "team/digits", "1", "PASSWORD")

    assert found == (ecr.DOCKER_MANIFEST, "sha256:abc")
