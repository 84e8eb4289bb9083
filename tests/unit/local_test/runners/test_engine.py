"""The Docker engine: what its descriptions and errors mean."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest
import requests

from container.errors import PlatformError, UserError
from local_test.runners import engine
from local_test.runners.docker import DockerContainer, DockerRunner


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (500, "driver failed programming external connectivity", PlatformError),
        (500, "OCI runtime create failed: exec format error", UserError),
        (400, 'exec: "train": executable file not found in $PATH', UserError),
        (500, 'starting container process caused: exec: "a": permission denied', UserError),
        (500, "exec /opt/train: no such file or directory: unknown", UserError),
        (500, "crun: executable file `train` not found in $PATH: No such file", UserError),
        (500, 'slirp4netns failed: "open(/dev/net/tun): Permission denied"', PlatformError),
        (500, "open /proc/1/ns: permission denied", PlatformError),
        (500, "mount /var/lib/x: no such file or directory", PlatformError),
        (404, "no such image", UserError),
    ],
)
def test_the_engines_own_failure_is_not_the_images(
    status: int, text: str, kind: type[Exception]
) -> None:
    response = requests.Response()
    response.status_code = status

    error = engine.explain_start(docker.errors.APIError("failed", response, text))

    assert type(error) is kind
    assert text in str(error)


def test_an_engine_that_cannot_be_reached_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    engine.connect.cache_clear()
    try:
        with pytest.raises(PlatformError, match="cannot reach the Docker engine"):
            DockerRunner("any")
    finally:
        engine.connect.cache_clear()


@pytest.mark.parametrize(
    ("status", "error"), [(400, UserError), (403, UserError), (500, PlatformError)]
)
def test_a_name_that_the_engine_refuses_is_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, status: int, error: type[Exception]
) -> None:
    def get(name: str) -> Any:
        response = requests.Response()
        response.status_code = status
        said = f"no such image: {name}: invalid reference format"
        raise docker.errors.APIError(said, response=response, explanation=said)

    client = SimpleNamespace(images=SimpleNamespace(get=get))
    monkeypatch.setattr(engine, "reach", lambda: client)
    with pytest.raises(error, match=r"image.*'NoSuch': no such image: NoSuch: invalid reference"):
        engine.find_image("NoSuch")


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers what a client asks of an engine before its first command."""

    def do_GET(self) -> None:
        """Answer a ping or a request for the version."""
        body = b'{"ApiVersion": "1.44"}' if self.path.endswith("/version") else b"OK"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def engine_url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine_url: str) -> Path:
    """Describe a context `colima` whose engine answers, and `away` whose engine does not."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    for name, host in (("colima", engine_url), ("away", "unix:///no/such/socket")):
        place = tmp_path / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
        place.mkdir(parents=True)
        endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
        description = {"Name": name, "Metadata": {}, "Endpoints": endpoints}
        (place / "meta.json").write_text(json.dumps(description))
    return tmp_path


@pytest.mark.parametrize("way", ["configuration", "DOCKER_CONTEXT", "DOCKER_HOST"])
def test_the_engine_is_that_of_the_docker_command(
    contexts: Path, monkeypatch: pytest.MonkeyPatch, engine_url: str, way: str
) -> None:
    current = "colima" if way == "configuration" else "away"
    (contexts / "config.json").write_text(json.dumps({"currentContext": current}))
    if way == "DOCKER_CONTEXT":
        monkeypatch.setenv("DOCKER_CONTEXT", "colima")
    if way == "DOCKER_HOST":
        monkeypatch.setenv("DOCKER_CONTEXT", "away")
        monkeypatch.setenv("DOCKER_HOST", engine_url)
    monkeypatch.setattr(engine.atexit, "register", lambda *_: None)
    engine.connect.cache_clear()
    client = engine.connect()
    engine.connect.cache_clear()
    assert client.ping()
    assert client.api.base_url == engine_url.replace("tcp", "http")
    client.close()


@pytest.mark.parametrize("content", ["[]", "null"])
def test_a_configuration_of_another_form_is_reported(
    contexts: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (contexts / "config.json").write_text(content)
    with pytest.raises(PlatformError, match="cannot reach the Docker engine: "):
        engine.reach()
    (contexts / "config.json").unlink()  # the client then finds no context at all
    monkeypatch.setenv("DOCKER_CONTEXT", "colima")
    with pytest.raises(PlatformError, match=r"'colima': .* has no config\.json"):
        engine.reach()


def test_an_engine_by_ssh_that_does_not_answer_is_reported(
    contexts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert contexts
    monkeypatch.setenv("DOCKER_HOST", "ssh://nobody@127.0.0.1:1")
    with pytest.raises(PlatformError, match="cannot reach the Docker engine: "):
        engine.reach()


@pytest.mark.parametrize("way", ["configuration", "DOCKER_CONTEXT", "damaged"])
def test_a_context_that_cannot_be_used_is_reported(
    contexts: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    name = "colima" if way == "damaged" else "gone"
    (contexts / "config.json").write_text(json.dumps({"currentContext": name}))
    if way == "DOCKER_CONTEXT":
        (contexts / "config.json").write_text("{}")
        monkeypatch.setenv("DOCKER_CONTEXT", name)
    for file in contexts.glob("contexts/meta/*/meta.json"):
        file.write_text("{")
    engine.connect.cache_clear()
    with pytest.raises(PlatformError, match=f"context {name!r}: .*docker context ls"):
        engine.reach()
    monkeypatch.setattr(engine.atexit, "register", lambda *_: None)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")  # it comes first
    with pytest.raises(PlatformError, match="cannot reach the Docker engine"):
        engine.reach()
    engine.connect.cache_clear()


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (
            {"SecurityOptions": ["name=seccomp", "name=selinux"]},
            {"security_opt": ["label=disable"]},
        ),
        ({"SecurityOptions": ["name=seccomp"]}, {}),
        ({"SecurityOptions": None}, {}),
        ({}, {}),
    ],
)
def test_a_container_reads_its_mounts_where_selinux_protects(
    monkeypatch: pytest.MonkeyPatch, described: dict[str, Any], expected: dict[str, Any]
) -> None:
    """No file gets another label: a channel may have hard links of the user's data."""
    monkeypatch.setattr(engine, "connect", lambda: SimpleNamespace(info=lambda: described))
    assert engine.choose_security() == expected


def test_each_directory_of_a_job_is_mounted(tmp_path: Path) -> None:
    for name in ("input", "a:b"):
        (tmp_path / name).mkdir()
    [first, second] = engine.list_mounts(tmp_path, ["input"])
    assert (first["Target"], first["Source"]) == ("/opt/ml/a:b", str(tmp_path / "a:b"))
    assert (first["ReadOnly"], second["ReadOnly"]) == (False, True)


@pytest.mark.parametrize(
    ("platform", "system", "is_virtual"),
    [
        ("linux", "Debian GNU/Linux 12 (bookworm)", False),
        ("linux", "Docker Desktop", True),
        ("darwin", "Alpine Linux v3.20", True),
    ],
)
def test_an_engine_in_a_virtual_machine_is_known(
    monkeypatch: pytest.MonkeyPatch, platform: str, system: str, *, is_virtual: bool
) -> None:
    described = SimpleNamespace(info=lambda: {"OperatingSystem": system})
    monkeypatch.setattr(engine, "reach", lambda: described)
    monkeypatch.setattr(engine.sys, "platform", platform)
    assert engine.is_in_virtual_machine() is is_virtual


@pytest.mark.parametrize(
    ("settings", "is_taken"),
    [
        ({"DeviceRequests": [{"Count": -1}]}, True),
        ({"Devices": [{"PathOnHost": "/dev/nvidia0"}]}, True),
        ({"DeviceRequests": None, "Devices": []}, False),
        ({}, False),
    ],
)
def test_no_container_starts_without_the_gpus_that_were_asked_for(
    settings: dict[str, Any], *, is_taken: bool
) -> None:
    """Podman 4.3 answers a request for GPUs with a container that has none."""
    removed: list[bool] = []
    created = SimpleNamespace(
        attrs={"HostConfig": settings},
        reload=lambda: None,
        remove=lambda **_: removed.append(True),
    )
    with nullcontext() if is_taken else pytest.raises(UserError, match="ignores requests for GPUs"):
        engine.check_gpus(created)
    assert removed == [True] * (not is_taken)


def test_a_container_of_a_virtual_machine_has_no_process_here() -> None:
    """To kill what has the number of its worker would kill a stranger."""
    container = object.__new__(DockerContainer)
    top = {"Processes": [[str(os.getpid())], [str(os.getppid())]]}
    found = SimpleNamespace(id="a" * 64, top=lambda **_: top)
    vars(container)["_container"] = found

    assert container.processes() == []


class PlayedPodman:
    """Podman's client, as far as its networks count."""

    def __init__(self, *, has_names: bool) -> None:
        self.api = self
        self.base_url = "http+docker://localhost"
        self._has_names = has_names

    def version(self) -> dict[str, Any]:
        """Name the engine."""
        return {"Components": [{"Name": "Podman Engine"}]}

    def ping(self) -> None:
        """Answer."""

    def get(self, url: str) -> Any:
        """Describe a network as Podman 4.3 does."""
        assert url == "http+docker://localhost/v4.0.0/libpod/networks/job/json"
        return SimpleNamespace(ok=True, json=lambda: {"dns_enabled": self._has_names})


def test_the_hosts_of_a_job_need_a_network_with_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "connect", lambda: PlayedPodman(has_names=True))
    engine.check_names("job")
    monkeypatch.setattr(engine, "connect", lambda: PlayedPodman(has_names=False))
    with pytest.raises(PlatformError, match="install netavark and aardvark-dns"):
        engine.check_names("job")
