"""The local AWS's process: how containers reach it, and what is logged when they cannot."""

from __future__ import annotations

import pytest

from local_test.aws.process import host
from local_test.runners import engine


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(engine, "reap", lambda: None)
    monkeypatch.setattr(engine, "is_in_virtual_machine", lambda: False)
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
    patch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gateway: str | None,
    reason: str,
) -> None:
    patch.setattr(engine, "find_gateway", lambda: gateway)
    assert host.listen_to_containers(0) == ([], "")
    assert f"containers cannot reach this local AWS: {reason}" in capsys.readouterr().err


def test_an_engine_in_a_virtual_machine_forwards_its_own_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "is_in_virtual_machine", lambda: True)
    assert host.listen_to_containers(0) == ([], "host.docker.internal")
