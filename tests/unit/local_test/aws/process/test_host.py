"""The local AWS's process: how containers reach it, and what is logged when they cannot."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from local_test.aws.process import host
from local_test.runners import engine


def describe(name: str = "Engine", url: str = "http+docker://localhost", **info: Any) -> Any:
    """Return a client of an engine, as far as its answers about itself count."""
    return SimpleNamespace(
        version=lambda: {"Components": [{"Name": name}]},
        info=lambda: {"SecurityOptions": ["name=seccomp,profile=default"], **info},
        api=SimpleNamespace(base_url=url),
    )


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(engine, "reap", lambda: None)
    monkeypatch.setattr(engine, "is_in_virtual_machine", lambda: False)
    monkeypatch.setattr(engine, "reach", describe)
    return monkeypatch


def test_it_listens_where_containers_look(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "find_gateway", lambda: "127.0.0.2")
    [listener], name = host.listen_to_containers(0)
    with listener:
        assert name == "127.0.0.2"
        assert listener.getsockname()[0] == "127.0.0.2"


@pytest.mark.parametrize(
    ("gateway", "reason"),
    [
        (None, "the Docker engine's network 'bridge' has no IPv4 address; remove the setting"),
        ("198.51.100.77", "cannot listen on 198.51.100.77:0: Cannot assign requested address"),
    ],
)
def test_containers_that_cannot_reach_it_are_reported(
    patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gateway: str | None, reason: str
) -> None:
    patch.setattr(engine, "find_gateway", lambda: gateway)
    assert host.listen_to_containers(0) == ([], "")
    assert f"containers cannot reach this local AWS: {reason}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("client", "can_listen"),
    [
        (describe("Podman Engine"), True),
        (describe("Podman Engine", url="http://192.0.2.1:8888"), False),
        (describe(), False),
    ],
)
def test_podman_makes_its_network_with_the_first_container(
    patch: pytest.MonkeyPatch, client: Any, *, can_listen: bool
) -> None:
    patch.setattr(engine, "reach", lambda: client)
    patch.setattr(engine, "find_gateway", lambda: "198.51.100.77")
    listeners, name = host.listen_to_containers(0)
    assert (len(listeners), name) == ((1, "198.51.100.77") if can_listen else (0, ""))
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize(
    "client",
    [
        describe("Podman Engine", Rootless=True),
        describe(SecurityOptions=["name=seccomp,profile=default", "name=rootless"]),
    ],
)
def test_a_rootless_engine_is_reported_although_another_one_has_its_address_here(
    patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], client: Any
) -> None:
    patch.setattr(engine, "reach", lambda: client)
    patch.setattr(engine, "find_gateway", lambda: "127.0.0.2")
    assert host.listen_to_containers(0) == ([], "")
    assert "the engine is rootless, and has a network of its own" in capsys.readouterr().err


def test_an_engine_in_a_virtual_machine_forwards_its_own_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "is_in_virtual_machine", lambda: True)
    assert host.listen_to_containers(0) == ([], "host.docker.internal")
