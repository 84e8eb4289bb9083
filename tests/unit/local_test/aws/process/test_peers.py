"""Where containers reach a local AWS, who is answered there, and what is logged if nobody is."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from local_test.aws.process import peers
from local_test.aws.process.peers import PeerGate
from local_test.runners import engine
from local_test.runners.containers import addresses

IS_ROOTLESS = engine.is_rootless


def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [str(environ["REMOTE_ADDR"]).encode()]


def ask(gate: PeerGate, peer: str) -> str:
    seen: list[str] = []
    list(gate({"REMOTE_ADDR": peer}, lambda status, _: seen.append(status)))
    return seen[0]


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        ("127.0.0.1", "200 OK"),
        ("::1", "200 OK"),
        ("172.17.0.1", "200 OK"),
        ("172.17.3.4", "200 OK"),
        ("fd00::7", "200 OK"),
        ("192.168.1.9", "403 Forbidden"),
        ("172.18.0.2", "403 Forbidden"),
        ("fe80::1", "403 Forbidden"),
        ("8.8.8.8", "403 Forbidden"),
        ("", "403 Forbidden"),
        ("unix", "403 Forbidden"),
    ],
)
def test_a_peer_is_answered_if_it_is_here_or_in_a_container(peer: str, status: str) -> None:
    networks = [ipaddress.ip_network("172.17.0.0/16"), ipaddress.ip_network("fd00::/64")]

    assert ask(PeerGate(answer, lambda: networks), peer) == status


def test_a_network_that_a_job_makes_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    networks = [ipaddress.ip_network("172.17.0.0/16")]
    asked: list[float] = []

    def list_networks() -> list[Any]:
        asked.append(now_s[0])
        return [*networks]

    gate = PeerGate(answer, list_networks)
    assert ask(gate, "172.18.0.2") == "403 Forbidden"
    networks.append(ipaddress.ip_network("172.18.0.0/16"))
    assert ask(gate, "172.18.0.2") == "403 Forbidden"  # the engine was asked a moment ago
    now_s[0] += 1

    assert ask(gate, "172.18.0.2") == "200 OK"
    assert asked == [100.0, 101.0]


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
    monkeypatch.setattr(engine, "is_rootless", lambda: False)
    monkeypatch.setattr(engine, "reach", describe)
    return monkeypatch


def test_it_listens_where_containers_look(patch: pytest.MonkeyPatch) -> None:
    networks = [ipaddress.ip_network("127.0.0.0/8")]
    patch.setattr(addresses, "find_gateway", lambda: "127.0.0.2")
    patch.setattr(addresses, "list_networks", lambda: networks)
    access = peers.listen_to_containers(0)
    with access.listeners[0] as listener:
        assert access.host == "127.0.0.2"
        assert listener.getsockname()[0] == "127.0.0.2"
    assert access.list_networks() == networks


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
    patch.setattr(addresses, "find_gateway", lambda: gateway)
    assert peers.listen_to_containers(0) == peers.Access()
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
    patch.setattr(addresses, "find_gateway", lambda: "198.51.100.77")
    access = peers.listen_to_containers(0)
    assert access.host == ("198.51.100.77" if can_listen else "")
    for listener in access.listeners:
        listener.close()


@pytest.fixture
def rootless(patch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    patch.setattr(addresses, "find_gateway", lambda: "127.0.0.2")  # of another engine here
    patch.setattr(addresses, "find_machine_address", lambda: "127.0.0.3")
    patch.setattr(engine, "is_rootless", IS_ROOTLESS.__wrapped__)
    return patch


@pytest.mark.parametrize(
    ("client", "name"),
    [
        (describe("Podman Engine", Rootless=True), "host.containers.internal"),
        (describe(SecurityOptions=["name=seccomp,profile=default", "name=rootless"]), "127.0.0.3"),
    ],
)
def test_a_rootless_engine_reaches_this_machine_at_its_own_address(
    rootless: pytest.MonkeyPatch, client: Any, name: str
) -> None:
    """Nobody but this machine has that address, so requests from no other one are answered."""
    rootless.setattr(engine, "reach", lambda: client)
    access = peers.listen_to_containers(0)
    with access.listeners[0] as listener:
        assert access.host == name
        assert listener.getsockname()[0] == "127.0.0.3"
    gate = PeerGate(answer, access.list_networks)
    assert ask(gate, "192.168.0.3") == "403 Forbidden"
    assert [str(network) for network in access.list_networks()] == ["127.0.0.3/32"]


@pytest.mark.parametrize(
    ("address", "url", "reason"),
    [
        (None, "http+docker://localhost", "the engine is rootless, has a network of its own"),
        ("127.0.0.3", "http://192.0.2.1:8888", "use an engine of this machine"),
        ("198.51.100.77", "http+docker://localhost", "cannot listen on 198.51.100.77:0: Cannot"),
    ],
)
def test_a_rootless_engine_that_cannot_reach_this_machine_is_reported(
    rootless: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    address: str | None,
    url: str,
    reason: str,
) -> None:
    rootless.setattr(engine, "reach", lambda: describe(url=url, Rootless=True))
    rootless.setattr(addresses, "find_machine_address", lambda: address)
    assert peers.listen_to_containers(0) == peers.Access()
    assert reason in capsys.readouterr().err


def test_an_engine_in_a_virtual_machine_forwards_its_own_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "is_in_virtual_machine", lambda: True)
    access = peers.listen_to_containers(0)
    assert (access.host, access.listeners) == ("host.docker.internal", ())
