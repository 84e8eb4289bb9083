"""Only this machine and containers are answered at the address of the engine's network."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from local_test.aws.process.peers import PeerGate


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
